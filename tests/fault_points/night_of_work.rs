//! The reference night: work that fails its gate, is refused, asks, is answered, rebased and landed; and a second stage.

use std::fs;
use std::path::Path;

use super::support::night::Night;
use super::world::{Act, Story, World, forget_settings};

/// The night of a stage that has everything go wrong that work can do wrong, and of one that depends on it.
pub const STORY: Story = Story { name: "work", build, next, hand, note, pauses: true };

const SECOND: &str = "stage-cards/02-next.md";

/// The stubs speak as Claude Code does, so that what they use is known: 2000 tokens for a worker, 300 for a verifier.
pub const SPEAK: &str = r#"say() { printf '{"type":"result","subtype":"success","is_error":false,"result":"done %s","total_cost_usd":%s,"usage":{"input_tokens":%s,"output_tokens":0},"modelUsage":{"m":{"inputTokens":%s,"outputTokens":0,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":%s}}}\n' "$3" $2 $1 $1 $2; }
hand() { printf '{"stage_id":"%s","status":"%s","deliverables":[],"notes":"n"%s}' "$stage" "$1" "$2" >.autometta/outbox/handoff.json; }
judge() { printf '{"stage_id":"%s","overall":"%s","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"%s","evidence":"a.txt:1"}],"additional_findings":""}' "$stage" "$1" "$1" >.autometta/outbox/verdict.json; }
stage=$1
"#;

/// 1 fails its gate, 2 is refused by both verifiers, 3 asks, and once answered it passes.
const WORKER: &str = r#"
if [ "$stage" = 02-next ]; then mkdir -p n; echo next >n/b.txt; rm gone.txt; hand pass
elif [ -e "$T/../repo/state/answers/01-work.md" ]; then echo 'good and answered' >a.txt; hand pass
else case $2 in
  *.1.worker*) echo wrong >a.txt; hand pass ;;
  *.2.worker*) echo 'good but refused' >a.txt; hand pass ;;
  *) hand blocked ',"question":"Which?"' ;;
esac; fi
say 2000 0.02"#;

const VERIFIER: &str = "if grep -qs refused a.txt; then judge FAIL; else judge PASS; fi\nsay 300 0.003";

pub fn card(stage: &str, metadata: &str, deliverables: &str, gate: &str) -> String {
    format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** Stub Worker <stub@local>\n{metadata}\n\
         ## Objective\nDo it.\n\n## Deliverables\n{deliverables}\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\n{gate}\n```\n"
    )
}

fn build(folder: &Path) -> Night {
    let night = Night::bare_in(folder);
    forget_settings(&night);
    let stubs = night.base().join("stubs").display().to_string();
    night.stub("worker", &format!("{SPEAK}{WORKER}"));
    night.stub("verifier", &format!("{SPEAK}{VERIFIER}"));
    // What names a folder of this night is not committed, so that trees are the same in every world.
    let local = format!(
        "families:\n  \
         stub: {{identities: [\"Stub*\"], decoder: claude, command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n  \
         judge: {{identities: [\"Judge*\"], decoder: claude, command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n"
    );
    night.write(".autometta.local.yaml", &local);
    night.write(
        ".autometta.yaml",
        "version: 1\nbase_branch: main\ndefaults: {worker_tokens: 50000, verifier_tokens: 20000}\n\
         retry: {work: 4, verifier: 4, infrastructure: 4}\nretention: {finished_stages: 1}\nlink: [linked]\n\
         caps: {tokens: 2000000, ticks: 10000, consecutive_failures: 100}\n\
         notify: [sh, -c, 'echo \"$1\" >>\"$T/told\"', sh, \"{kind}\"]\n",
    );
    night.write(".gitignore", "/state/\n/.autometta.local.yaml\n/linked\n");
    night.write("gone.txt", "goes\n");
    night.write("linked/kept", "");
    let panel = "- **Verifier panel:** 2 of Judge One <one@local>; Judge Two <two@local>\n";
    night.write("stage-cards/01-work.md", &card("01-work", panel, "1. `a.txt`: the work", "grep -q good a.txt"));
    let one = "- **Verifier:** Judge One <one@local>\n- **Depends on:** 01-work\n- **Path claims:** n/, gone.txt\n";
    night.write(SECOND, &card("02-next", one, "1. `n/b.txt`", "test -s n/b.txt"));
    night.ok(&["init"]);
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Cards"]);
    night
}

fn next(world: &World, idle: bool) -> Option<Act> {
    let command = |words: &[&str]| Some(Act::Command(words.iter().map(|word| (*word).to_owned()).collect(), 0));
    let answered = world.night.t().join("answered").exists();
    let moved = world.night.repo.join("theirs.txt").exists();
    if world.read("state/budget.json").contains("\"halted\": true") {
        // A program that could not be started, or the operator's own halt: whoever has looked lets the night go on.
        return command(&["resume"]);
    }
    let known = |id: &str| world.told(&format!("\"stage\":\"{id}\",\"event\":\"queued\""));
    if !known("01-work") {
        return command(&["add-stage", "stage-cards/01-work.md"]);
    }
    if !known("02-next") && answered {
        return command(&["add-stage", SECOND]);
    }
    let work = world.stage("01-work");
    if work["status"] == "blocked" && !answered {
        return command(&["answer", "01-work", "--text", "This one."]);
    }
    if work["phase"] == "verifying" && answered && !moved {
        return Some(Act::Hand("their commit"));
    }
    (!idle).then_some(Act::Tick)
}

/// The operator commits something on the base.
fn hand(world: &World, _: &str) {
    world.night.write("theirs.txt", "theirs\n");
    for words in [&["add", "theirs.txt"][..], &["commit", "-qm", "Theirs"][..]] {
        let _ = world.git(words);
    }
}

fn note(world: &World) {
    if world.night.repo.join("state/answers/01-work.md").exists()
        && !world.read("state/state.yaml").contains("status: blocked")
    {
        fs::write(world.night.t().join("answered"), "").expect("file");
    }
}
