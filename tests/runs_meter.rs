//! Caps that depend on what the output means, with a meter that counts lines: this test binary is the supervisor.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a broken world is a failed test")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use autometta::core::exit::{
    EndedBy, Outbox, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage, UsageSource,
};
use autometta::core::quantity::{MicroUsd, Tokens};
use autometta::core::run::{ModelUse, OutboxOrder, ProcessStamp, Started, StopReason};
use autometta::runs::{Hurry, MeterResult, Refused, Sighting, StreamMeter, launch, probe, reap_lost, stop, supervise};
use runs_support::{World, wait_for};

/// A hundred tokens and ten cents a line; the line `refused` is a refusal, the line `verdict` a returned value.
#[derive(Default)]
struct LineMeter {
    lines: u64,
    refused: bool,
    returned: bool,
}

impl StreamMeter for LineMeter {
    fn feed_stdout(&mut self, line: &[u8]) {
        self.lines += 1;
        self.returned |= line == b"verdict";
    }

    fn feed_stderr(&mut self, line: &[u8]) {
        self.refused |= line == b"refused";
    }

    fn usage(&self) -> Usage {
        Usage {
            output_tokens: Tokens(self.lines * 100),
            cost_usd: Some(MicroUsd(self.lines * 100_000)),
            source: UsageSource::Stream,
            ..Usage::default()
        }
        .totalled()
    }

    fn refused(&self) -> Option<Refused> {
        let refusal = Refusal { class: RefusalClass::Auth, scope: RefusalScope::Family, line: "401".to_owned() };
        self.refused.then_some(Refused { refusal, hurry: Hurry::Now, refusals: 1, answers: 0 })
    }

    fn finish(self: Box<Self>, end: ProcessEnd, _ago: Duration) -> MeterResult {
        MeterResult {
            usage: self.usage(),
            provider: ProviderReport::default(),
            succeeded: end == ProcessEnd::Code(0),
            structured: self.returned.then(|| serde_json::json!({"overall": "PASS"})),
            own_cap: None,
        }
    }
}

/// Not a test by itself: the supervisor of the ones below, which launch this binary with its arguments.
#[test]
fn __supervise() {
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, hidden, run_dir] = words.as_slice()
        && hidden == "__supervise"
    {
        let _ = supervise(Path::new(run_dir), &|_| Box::<LineMeter>::default());
        std::process::exit(0);
    }
}

fn world(script: &str) -> World {
    let mut world = World::agent(script);
    world.order.uses_model = ModelUse::Model;
    world
}

fn start(world: &World) {
    world.write_order();
    let exe = std::env::current_exe().expect("exe");
    // What it says is mixed with the test harness's own words; the claim tells.
    launch(&world.run_dir(), &exe).expect("launch");
    wait_for("the claim", || world.dir().started().expect("readable").is_some());
}

#[test]
fn token_and_cost_caps_and_refusals_stop_the_run_and_are_charged_as_metered() {
    for (script, tokens, cost, expected) in [
        ("for i in 1 2 3 4 5; do echo $i; done; sleep 600", Some(500), None, EndedBy::TokenCap),
        ("for i in 1 2 3 4 5; do echo $i; done; sleep 600", None, Some(500_000), EndedBy::CostCap),
        ("for i in 1 2 3 4 5; do echo $i; done; echo refused >&2; sleep 600", None, None, EndedBy::Refused),
        ("for i in 1 2 3 4; do echo $i; done; printf 5", Some(600), Some(600_000), EndedBy::Exit),
    ] {
        let mut world = world(script);
        world.order.caps.tokens = tokens.map(Tokens);
        world.order.caps.cost_usd = cost.map(MicroUsd);
        start(&world);
        let record = world.exited();
        assert_eq!(record.ended_by, expected);
        assert_eq!((record.usage.total_tokens, record.usage.cost_usd), (Tokens(500), Some(MicroUsd(500_000))));
        let class = record.provider.refusal.map(|refusal| refusal.class);
        assert_eq!(class, (expected == EndedBy::Refused).then_some(RefusalClass::Auth));
    }
}

#[test]
fn a_returned_verdict_comes_before_the_file() {
    for (returned, expected) in [("echo verdict", r#"{"overall":"PASS"}"#), ("", "from the file\n")] {
        let mut world = world(&format!("echo from the file > verdict.json; {returned}"));
        world.order.outbox = Some(OutboxOrder { kind: Outbox::Verdict, path: "verdict.json".into() });
        start(&world);
        assert_eq!(world.exited().outbox, Some(Outbox::Verdict));
        let copy = fs::read_to_string(world.dir().outbox_file(Outbox::Verdict)).expect("copy");
        assert_eq!(copy, expected);
    }
}

#[test]
fn a_lost_run_is_charged_by_what_its_logs_tell() {
    let world = world("echo 1; echo 2; echo $$ > $T/pid; sleep 600");
    start(&world);
    world.pid("pid");
    world.kill_supervisor();
    stop(&world.run_dir(), StopReason::Timeout).expect("stop");
    let Sighting::Lost(lost) = probe(&world.run_dir(), &|_| Box::<LineMeter>::default()) else { panic!("lost") };
    assert_eq!(lost.usage.total_tokens, Tokens(200));
    reap_lost(&world.run_dir()).expect("reaped");
}

/// Which boot of the machine this is.
#[cfg(target_os = "linux")]
fn this_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot").trim().to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_lost_at_any_step_of_its_start_is_charged_for_what_it_can_have_used() {
    let nothing = Usage::none();
    let unknown = Usage::default();
    let metered = LineMeter { lines: 1, ..LineMeter::default() }.usage();
    for (files, expected) in [
        (&[][..], nothing),
        (&["stdout.log"], nothing),
        (&["stdout.log", "stderr.log"], metered),
        (&["stdout.log", "stderr.log", "agent.json"], metered),
        // Somebody deleted the evidence.
        (&["stdout.log", "agent.json"], unknown),
        (&["agent.json"], unknown),
    ] {
        // Nobody syncs logs: where the power was cut since, they tell nothing for certain.
        for (boot_id, expected) in [(this_boot(), expected), ("another boot".to_owned(), unknown)] {
            let world = world("exit 0");
            world.write_order();
            let started = Started {
                run_id: world.order.run_id.clone(),
                supervisor: ProcessStamp { pid: 1, start: "never".to_owned() },
                token: "no-process-has-this".to_owned(),
                boot_id: boot_id.clone(),
                awake_ns: 0,
                started_at: world.order.created_at,
            };
            fs::write(world.dir().started_file(), serde_json::to_vec(&started).expect("json")).expect("claim");
            for file in files {
                fs::write(world.run_dir().join(file), "one line\n").expect("file");
            }
            let sighting = probe(&world.run_dir(), &|_| Box::<LineMeter>::default());
            let Sighting::Lost(lost) = sighting else { panic!("{files:?}: {sighting:?}") };
            assert_eq!(lost.usage, expected, "{files:?} of {boot_id}");
            reap_lost(&world.run_dir()).expect("reaped");
        }
    }
}
