//! Scenarios of dispatch, over the real binary with stub agents.

mod support;

use support::night::{HAND_IN, Night, SAY_PASS};

#[test]
fn scenario_01_an_agent_that_reads_its_stdin_to_the_end_gets_the_prompt_and_eof() {
    let night = Night::with(&format!("cat >\"$T/prompt\"\necho work >a.txt\n{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    let prompt = night.read("t/prompt");
    assert!(prompt.contains("01-work") && prompt.contains("Do it."), "{prompt}");
}
