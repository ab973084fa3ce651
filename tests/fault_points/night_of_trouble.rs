//! The night of trouble: a repository that is subscribed in it, work that is stopped at its cap, a secret that is given
//! away, a program that is not there, a stranger where a run will be, a state that is damaged, and a ledger that is torn.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::night_of_work::{SPEAK, card};
use super::processes;
use super::support::night::Night;
use super::world::{Act, Story, World, forget_settings};

/// The night in which everything goes wrong around the work.
pub const STORY: Story = Story { name: "trouble", build, next, hand, note, pauses: false };

/// The first attempt uses more than it may and hangs; the second gives its secret away and leaves a process behind.
const WORKER: &str = r#"
if [ "$1" = --version ]; then echo stub 1; exit; fi
echo good >a.txt
case $2 in
*.1.worker*) if [ "$stage" = 01-stop ]; then say 60000 0.6; exec sleep 1000; fi ;;
*) (exec sleep 1000) & ;;
esac
[ "$stage" = 01-stop ] || { mkdir -p n; echo next >n/b.txt; }
hand pass
say 2000 0.02 "$KEY""#;

const VERIFIER: &str = "judge PASS\nsay 300 0.003";

/// How long work may take: longer than any that ends by itself, and no longer than somebody waits for an agent that hangs
/// and that nobody follows any more.
const WALL_CLOCK: Duration = Duration::from_secs(10);

/// How a command ends that has been carried out already, by a process that died before it could say so.
const REFUSED: i32 = 3;

fn build(folder: &Path) -> Night {
    let mut night = Night::bare_in(folder);
    forget_settings(&night);
    let stubs = night.base().join("stubs").display().to_string();
    night.set("AUTOMETTA_HOME", &night.base().join("home").display().to_string());
    night.stub("worker", &format!("{SPEAK}{WORKER}"));
    night.stub("verifier", &format!("{SPEAK}{VERIFIER}"));
    let key = night.base().join("stubs/key");
    fs::write(&key, "s3cret-of-the-night\n").expect("key");
    let key = key.display();
    let family = |name: &str, who: &str, program: &str, more: &str| {
        format!(
            "  {name}: {{identities: [\"{who}*\"], decoder: claude, command: [\"{stubs}/{program}\", \"{{stage}}\", \"{{run}}\"], \
             pass_env: [T]{more}}}\n"
        )
    };
    let secret =
        format!(", auth: api, env: {{KEY: \"cmd:cat {key}\"}}, version_command: [\"{stubs}/worker\", \"--version\"]");
    let local = format!(
        "families:\n{}{}{}",
        family("stub", "Stub", "worker", &secret),
        family("late", "Late", "late", ""),
        family("judge", "Judge", "verifier", "")
    );
    night.write(".autometta.local.yaml", &local);
    night.write(
        ".autometta.yaml",
        "version: 1\nbase_branch: main\ndefaults: {worker_tokens: 50000, verifier_tokens: 20000}\n\
         retry: {work: 4, verifier: 4, infrastructure: 4}\n\
         caps: {tokens: 2000000, ticks: 10000, consecutive_failures: 100}\n\
         notify: [sh, -c, 'echo \"$1\" >>\"$T/told\"; test \"$1\" != halt', sh, \"{kind}\"]\n",
    );
    let judge = "- **Verifier:** Judge One <one@local>\n";
    let stop = card("01-stop", judge, "1. `a.txt`: the work", "test -s a.txt");
    let budget = format!("\n## Budget\n- **Worker wall-clock:** {} seconds\n", WALL_CLOCK.as_secs());
    night.write("stage-cards/01-stop.md", &(stop + &budget));
    let late = card("02-late", judge, "1. `n/b.txt`\n2. `a.txt`", "test -s n/b.txt");
    night.write("stage-cards/02-late.md", &late.replace("Stub Worker <stub@local>", "Late Worker <late@local>"));
    night.write("stage-cards/03-idle.md", &card("03-idle", judge, "1. `a.txt`", "true"));
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Cards"]);
    night.git(&["update-index", "--split-index"]);
    night
}

fn next(world: &World, idle: bool) -> Option<Act> {
    let command = |words: &[&str]| Some(Act::Command(words.iter().map(|word| (*word).to_owned()).collect(), REFUSED));
    let t = |name: &str| world.night.t().join(name).exists();
    let happened = |stage: &str, event: &str| world.told(&format!("\"stage\":\"{stage}\",\"event\":\"{event}\""));
    let budget = world.read("state/budget.json");
    let is_subscribed = fs::read_dir(world.night.home.join("subscribers")).is_ok_and(|mut all| {
        all.any(|entry| entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.')))
    });
    if !is_subscribed || !world.told("\"event\":\"initialised\"") {
        return command(&["init"]);
    }
    let is_halted = budget.contains("\"halted\": true");
    let is_damaged = world.read("state/state.yaml").starts_with("damaged");
    let ledger = world.read("state/ledger.jsonl");
    let is_torn = !ledger.ends_with("}\n") && !ledger.is_empty();
    if (is_damaged && is_halted) || (is_torn && t("torn")) {
        return command(&["doctor", "--restore", "--yes"]);
    }
    if is_halted && budget.contains("could not be started for 02-late") && !t("program") {
        return Some(Act::Hand("program"));
    }
    if !happened("01-stop", "queued") {
        return command(&["add-stage", "stage-cards/01-stop.md"]);
    }
    if !world.told("\"event\":\"halted\",\"detail\":\"operator") {
        return command(&["halt"]);
    }
    if is_halted {
        return command(&["resume"]);
    }
    if !happened("03-idle", "queued") {
        return command(&["add-stage", "stage-cards/03-idle.md"]);
    }
    if world.stage("03-idle")["status"] == "pending" {
        return command(&["skip", "03-idle"]);
    }
    if !happened("03-idle", "requeued") {
        return command(&["requeue", "03-idle"]);
    }
    if world.stage("01-stop")["status"] == "stalled" {
        return command(&["requeue", "01-stop"]);
    }
    if world.stage("01-stop")["status"] == "completed" {
        if !t("stranger") {
            return Some(Act::Hand("stranger"));
        }
        if !happened("02-late", "queued") {
            return command(&["add-stage", "stage-cards/02-late.md"]);
        }
        let late = world.stage("02-late");
        let is_judged = late["phase"] == "gating" || late["phase"] == "verifying";
        // Damage that comes before the state was copied is two faults at once, and a person's to judge.
        let is_copied = || {
            world.read("state/.txn.json").is_empty()
                && world.git(&["show", "refs/autometta/state:ledger.jsonl"]) == ledger
        };
        if is_judged && !t("damage") && is_copied() {
            return Some(Act::Hand("damage"));
        }
        if late["status"] == "completed" && !t("torn") && is_copied() {
            return Some(Act::Hand("torn"));
        }
    }
    if idle && processes::left() > 0 {
        return Some(Act::Hand("time"));
    }
    (!idle).then_some(Act::Tick)
}

fn hand(world: &World, name: &str) {
    let night = &world.night;
    if name == "time" {
        std::thread::sleep(WALL_CLOCK);
        return;
    }
    fs::write(night.t().join(name), "").expect("file");
    match name {
        // Somebody installs the program that is missing.
        "program" => {
            let path = night.base().join("stubs/late");
            night.stub("late", &format!("{SPEAK}{WORKER}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        "stranger" => night.write("state/runs/02-late.1.worker/strange.txt", "what is this?\n"),
        "damage" => night.write("state/state.yaml", "damaged\n"),
        "torn" => {
            let ledger = world.read("state/ledger.jsonl");
            night.write("state/ledger.jsonl", &ledger[..ledger.len() - 20]);
        }
        other => panic!("nobody does {other}"),
    }
}

fn note(_: &World) {}
