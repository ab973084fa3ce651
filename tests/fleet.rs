//! One fire over many repositories: none waits for another, whatever hangs there; how many agents they have in flight
//! together; who subscribes; and two homes that serve one repository. Over the real binary.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER, text};

/// A home with repositories of these names, each with one stage queued, in this order.
struct Fleet {
    night: Night,
}

impl Fleet {
    fn of(names: &[&str], worker: &str) -> Self {
        let night = Night::bare();
        night.stub("worker", worker);
        night.stub("verifier", SAY_PASS);
        night.manifest("");
        let fleet = Self { night };
        for (number, name) in names.iter().enumerate() {
            fleet.add(name, number);
            fleet.queue(name, &format!("- **Verifier:** {VERIFIER}"));
        }
        fleet
    }

    fn place(&self, name: &str) -> PathBuf {
        self.night.base().join(name)
    }

    fn git(&self, name: &str, args: &[&str]) {
        let output = Command::new("git").args(args).current_dir(self.place(name)).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", text(&output.stderr));
    }

    fn add(&self, name: &str, weight: usize) {
        let place = self.place(name);
        fs::create_dir_all(place.join("stage-cards")).expect("folder");
        self.git(name, &["init", "-q", "-b", "main"]);
        self.git(name, &["config", "user.name", "Operator"]);
        self.git(name, &["config", "user.email", "operator@local"]);
        self.git(name, &["commit", "-qm", "Begin", "--allow-empty"]);
        fs::copy(self.night.repo.join(".autometta.yaml"), place.join(".autometta.yaml")).expect("manifest");
        self.ok(name, &["init"]);
        self.ok(name, &["subscribe", "--weight", &weight.to_string()]);
    }

    fn queue(&self, name: &str, verifiers: &str) {
        let card = format!(
            "# Stage card 01-work: Do the work\n\n## Metadata\n- **Worker:** {WORKER}\n{verifiers}\n\n## Objective\nDo it.\n\n\
             ## Deliverables\n1. `a.txt`: the work\n\n## Acceptance criteria\n1. it works\n\n\
             ## Acceptance command\n```sh\ntest -s a.txt\n```\n"
        );
        fs::write(self.place(name).join("stage-cards/01-work.md"), card).expect("card");
        self.ok(name, &["add-stage", "stage-cards/01-work.md"]);
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.night.command(args);
        command.current_dir(self.place(name));
        command
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        self.command(name, args).output().expect("the binary runs")
    }

    fn ok(&self, name: &str, args: &[&str]) -> String {
        let output = self.run(name, args);
        assert!(output.status.success(), "{args:?} at {name}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn stage(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.ok(name, &["status", "--json"])).expect("json");
        status["stages"][0].clone()
    }

    fn is(&self, name: &str, status: &str) -> bool {
        self.stage(name)["status"] == status
    }

    /// A fire over all of them, under way.
    fn fire(&self) -> Child {
        let mut command = self.night.command(&["tick", "--json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
    }

    /// What a fire has come to: its exit code, and each repository's name with its entry.
    fn told(fire: Child) -> (Option<i32>, Vec<(String, Value)>) {
        let output = fire.wait_with_output().expect("its end");
        let told: Vec<Value> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
        let name = |entry: &Value| {
            entry["repo"].as_str().expect("repo").rsplit('/').next().expect("name").trim_end_matches(".yaml").to_owned()
        };
        (output.status.code(), told.into_iter().map(|entry| (name(&entry), entry)).collect())
    }

    fn config(&self, text: &str) {
        fs::create_dir_all(&self.night.home).expect("home");
        fs::write(self.night.home.join("config.yaml"), text).expect("config");
    }

    /// A git that comes first in the PATH and does this where it runs in or beside a repository whose name begins with
    /// `hung`.
    fn git_that(&mut self, does: &str) {
        let real = text(&Command::new("/bin/sh").args(["-c", "command -v git"]).output().expect("sh").stdout);
        let folder = self.night.base().join("bin");
        fs::create_dir_all(&folder).expect("folder");
        self.night.stub("git", &format!("case \"$(pwd -P)\" in */hung*) {does};; esac\nexec {} \"$@\"", real.trim()));
        fs::rename(self.night.base().join("stubs/git"), folder.join("git")).expect("git");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("PATH"));
        self.night.set("PATH", &path);
    }
}

fn works() -> String {
    format!("echo work >a.txt\n{HAND_IN}")
}

/// A worker that begins by saying so, and waits to be told to go on.
fn waits() -> String {
    format!("mkdir -p \"$T/in\"; : >\"$T/in/$$\"; while [ ! -e \"$T/go\" ]; do sleep 0.05; done\n{}", works())
}

#[test]
fn scenario_61_git_that_hangs_in_some_repositories_keeps_nobody_else_waiting() {
    let names = ["hung-1", "hung-2", "hung-3", "hung-4", "good-1", "good-2", "good-3"];
    let mut fleet = Fleet::of(&names, &works());
    // More of them than there are cores, and all of them before the others.
    fleet.git_that(&format!("while [ ! -e {}/go ]; do sleep 0.05; done", fleet.night.t().display()));
    let mut fire = fleet.fire();
    for name in &names[4..] {
        fleet.night.wait(name, || fleet.is(name, "completed"));
    }
    assert!(fire.try_wait().expect("it lives").is_none(), "the fire still waits for those that hang");
    fs::write(fleet.night.t().join("go"), "").expect("go");
    let (code, told) = Fleet::told(fire);
    assert_eq!(code, Some(0));
    let order: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(order, names, "by weight, whoever was done first");
}

#[test]
fn scenario_61_git_that_hangs_for_ever_is_ended_with_the_repositorys_time() {
    let mut fleet = Fleet::of(&["hung", "good"], &works());
    fleet.config("tick_timeout: 3s\n");
    fleet.git_that("sleep 1000");
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!(code, Some(1));
    let error = told[0].1["error"].as_str().expect("it is told");
    assert!(error.contains("is not done after 3 s") && told[1].1["error"].is_null(), "{told:#?}");
    assert!(told[0].1["failures"].to_string().contains("was killed after"), "{told:#?}");
    fleet.night.wait("the other", || {
        drop(fleet.run("good", &["tick", "--repo", "."]));
        fleet.is("good", "completed")
    });
    assert!(fleet.night.tick_log().contains("is not done after 3 s"));
}

#[test]
fn scenario_61_what_cannot_even_be_killed_is_left_behind_and_said() {
    let mut fleet = Fleet::of(&["hung", "good"], &works());
    fleet.config("tick_timeout: 4s\n");
    // Out of its process group, with git's own streams: whoever reads them waits for ever, and it has the lock.
    fleet.git_that("setsid -w sleep 1000");
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!(code, Some(1));
    let error = told[0].1["error"].as_str().expect("it is told");
    assert!(error.contains("is not done after 4 s") && error.contains("tick_timeout"), "{error}");
    fleet.night.wait("the other", || {
        drop(fleet.run("good", &["tick", "--repo", "."]));
        fleet.is("good", "completed")
    });
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!((code, &told[0].1["held"]), (Some(0), &json!(true)), "its lock is held while that lives: {told:#?}");
}

#[test]
fn scenario_61_pipes_in_place_of_files_and_folders_hold_no_fire() {
    let names = ["state", "manifest", "state-yaml", "lock", "budget", "beat", "dot-git", "good"];
    let fleet = Fleet::of(&names, &works());
    for (name, path) in [
        ("state", "state"),
        ("manifest", ".autometta.yaml"),
        ("state-yaml", "state/state.yaml"),
        ("lock", "state/.tick.lock"),
        ("budget", "state/budget.json"),
        ("beat", "state/heartbeat.json"),
        ("dot-git", ".git"),
    ] {
        let path = fleet.place(name).join(path);
        if path.exists() {
            fs::rename(&path, fleet.night.base().join(format!("{name}.aside"))).expect("aside");
        }
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    }
    let file = fleet.night.home.join("subscribers/fifo.yaml");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!(code, Some(1));
    for (name, entry) in &told {
        let error = entry["error"].as_str().unwrap_or_default();
        assert!(!error.contains("is not done after"), "{name}: {entry:#}");
        match name.as_str() {
            "state" | "manifest" | "dot-git" | "fifo" => assert!(!error.is_empty(), "{name}: {entry:#}"),
            // What was state is brought back, and what was a pipe is set aside.
            "state-yaml" | "budget" | "good" => assert!(error.is_empty(), "{name}: {entry:#}"),
            _ => {}
        }
    }
    fleet.night.wait("the good one", || fleet.is("good", "completed"));
}

/// What a process of a night has open.
struct Open {
    pid: String,
    words: String,
    cwd: String,
    path: String,
}

/// What every process of a night has open; one that ends meanwhile is left out.
fn open_files(night: &Night) -> Vec<Open> {
    let mark = night.base().display().to_string();
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let (pid, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let words = fs::read(path.join("cmdline")).map(|bytes| text(&bytes).replace('\0', " ")).unwrap_or_default();
        let environment = fs::read(path.join("environ")).map(|bytes| text(&bytes)).unwrap_or_default();
        let Ok(cwd) = fs::read_link(path.join("cwd")) else { continue };
        if pid.parse::<u32>().is_err() || !(words.contains(&mark) || environment.contains(&mark)) {
            continue;
        }
        for descriptor in fs::read_dir(path.join("fd")).into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(descriptor.path()) {
                let (cwd, path) = (cwd.display().to_string(), target.display().to_string());
                open.push(Open { pid: pid.clone(), words: words.clone(), cwd, path });
            }
        }
    }
    open
}

#[test]
fn no_lock_of_a_repository_goes_to_what_another_one_starts_in_the_same_fire() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let fleet = Fleet::of(&names, &waits());
    fleet.config("fleet: {agents_at_once: 100}\n");
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!(code, Some(0), "{told:#?}");
    let begun = || fs::read_dir(fleet.night.t().join("in")).map_or(0, Iterator::count);
    fleet.night.wait("every worker", || begun() == names.len());
    let open = open_files(&fleet.night);
    assert!(open.iter().filter(|one| one.path.ends_with("/run.lock")).count() >= names.len());
    for Open { pid, words, cwd, path } in &open {
        assert!(!path.ends_with("tick.lock") && !path.ends_with("fleet.lock"), "{pid} ({words}) has {path}");
        if path.ends_with("/run.lock") {
            let repo = names.iter().map(|name| fleet.place(name)).find(|repo| Path::new(path).starts_with(repo));
            let repo = repo.expect("of a repository").display().to_string();
            // Supervisors have left every folder and name theirs; agents work in their checkout beside the repository.
            let is_its_own = words.contains(&format!("{repo}/")) || cwd.starts_with(&format!("{repo}.autometta"));
            assert!(is_its_own, "{pid} ({words}) in {cwd} has {path}");
        }
    }
    for name in names {
        let lock = fs::File::open(fleet.place(name).join("state/.tick.lock")).expect("lock");
        assert!(lock.try_lock().is_ok(), "the lock of {name} is free");
    }
    fs::write(fleet.night.t().join("go"), "").expect("go");
    for name in names {
        fleet.night.wait(name, || fleet.is(name, "completed"));
    }
}

#[test]
fn no_more_agents_than_the_fleet_has_places_for_are_in_flight_and_all_get_theirs() {
    let names = ["a", "b", "c", "d"];
    let fleet = Fleet::of(&names, &waits());
    fleet.config("fleet: {agents_at_once: 2}\n");
    // Side by side in one fire, and each by a tick of its own at the same time.
    let fires = [fleet.fire(), fleet.fire()];
    let mut ticks: Vec<Child> = names
        .iter()
        .map(|name| {
            let mut tick = fleet.command(name, &["tick", "--repo", "."]);
            tick.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
        })
        .collect();
    for fire in fires {
        assert_eq!(Fleet::told(fire).0, Some(0));
    }
    for tick in &mut ticks {
        assert!(tick.wait().expect("its end").success());
    }
    let stages: Vec<Value> = names.iter().map(|name| fleet.stage(name)).collect();
    assert_eq!(stages.iter().filter(|stage| stage["status"] == "in_progress").count(), 2, "{stages:#?}");
    let held: Vec<&Value> = stages.iter().filter(|stage| stage["reason"]["code"] == "fleet-agents").collect();
    assert_eq!(held.len(), 2, "{stages:#?}");
    assert!(held.iter().all(|stage| stage["reason"]["detail"].as_str().expect("words").contains("allows 2 agents")));
    let waiting = names.iter().find(|name| fleet.is(name, "pending")).expect("one waits");
    let status = fleet.ok(waiting, &["status"]);
    assert!(status.contains("2 agents at once"), "{status}");
    let sheet: Value = serde_json::from_str(&fleet.ok(waiting, &["budget", "--json"])).expect("json");
    let cap =
        sheet["caps"].as_array().expect("caps").iter().find(|cap| cap["name"] == "fleet-agents").expect("its cap");
    assert_eq!((&cap["cap"], &cap["reserved"], &cap["left"]), (&json!(2), &json!(2), &json!(0)));
    assert!(sheet["held"].as_str().expect("held").contains("2 agents at once"), "{sheet:#}");
    let ledger = fs::read_to_string(fleet.place(waiting).join("state/ledger.jsonl")).expect("ledger");
    fleet.ok(waiting, &["tick", "--repo", "."]);
    assert_eq!(
        fs::read_to_string(fleet.place(waiting).join("state/ledger.jsonl")).expect("ledger"),
        ledger,
        "said once"
    );
    let listed: Vec<Value> = serde_json::from_str(&fleet.ok("a", &["subscribers", "--json"])).expect("json");
    assert_eq!(listed.iter().map(|one| one["agents"].as_u64().expect("agents")).sum::<u64>(), 2);

    fs::write(fleet.night.t().join("go"), "").expect("go");
    fleet.night.wait("all of them", || {
        drop(fleet.fire().wait_with_output().expect("its end"));
        names.iter().all(|name| fleet.is(name, "completed"))
    });
    for share in fs::read_dir(fleet.night.home.join("fleet")).expect("shares").flatten() {
        let share = fs::read_to_string(share.path()).expect("share");
        assert!(!share.contains("agents"), "nobody holds a place: {share}");
    }
}

#[test]
fn the_end_of_an_agent_wakes_those_who_wait_for_its_place_and_nobody_who_is_not_served() {
    let names = ["a", "b", "c", "left-out"];
    let fleet = Fleet::of(&names, &waits());
    fleet.config("fleet: {agents_at_once: 1}\n");
    assert_eq!(Fleet::told(fleet.fire()).0, Some(0));
    let waiting: Vec<&str> = names.into_iter().filter(|name| fleet.is(name, "pending")).collect();
    assert_eq!(waiting.len(), 3);
    let left_out = waiting[0];
    fleet.ok(left_out, &["subscribe", "--disabled"]);
    fs::write(fleet.night.t().join("go"), "").expect("go");
    // Without any fire.
    for name in names.into_iter().filter(|name| *name != left_out) {
        fleet.night.wait(name, || fleet.is(name, "completed"));
    }
    assert!(fleet.is(left_out, "pending"));
    fleet.ok(left_out, &["subscribe"]);
    fleet.night.wait("the last one", || {
        drop(fleet.fire().wait_with_output().expect("its end"));
        fleet.is(left_out, "completed")
    });
}

#[test]
fn a_panel_of_more_seats_than_places_is_asked_in_parts() {
    let fleet = Fleet::of(&[], &works());
    fleet.config("fleet: {agents_at_once: 1}\n");
    let count = "n=$(ls \"$T/judges\" | wc -l); [ \"$n\" -le 1 ] || : >\"$T/too-many\"";
    let judge =
        format!("mkdir -p \"$T/judges\"; : >\"$T/judges/$$\"; {count}; sleep 0.2; {SAY_PASS}; rm \"$T/judges/$$\"");
    fleet.night.stub("verifier", &judge);
    fleet.add("a", 1);
    let two = "Judge Two <judge-2@local>; Judge Three <judge-3@local>";
    fleet.queue("a", &format!("- **Verifier panel:** 2 of {VERIFIER}; {two}"));
    fleet.night.wait("the stage to land", || {
        drop(fleet.fire().wait_with_output().expect("its end"));
        fleet.is("a", "completed")
    });
    assert!(!fleet.night.t().join("too-many").exists(), "two judged at once");
}

#[test]
fn a_tick_that_is_killed_at_any_write_never_leaves_a_share_that_says_too_little() {
    let fleet = Fleet::of(&["a"], &waits());
    fleet.config("fleet: {agents_at_once: 1}\n");
    let faults = fleet.night.base().join("faults");
    let share = || {
        let files = fs::read_dir(fleet.night.home.join("fleet")).into_iter().flatten().flatten();
        let files = files.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        let mut texts = files.map(|entry| fs::read_to_string(entry.path()).expect("share"));
        let share = texts.next().map(|text| serde_json::from_str::<Value>(&text).expect("json"));
        share.map_or(0, |share| share["agents"].as_u64().unwrap_or(0))
    };
    let (mut killed, mut most) = (0, 0);
    for point in ["atomic.rename", "atomic.sync", "run.launch", "atomic.remove"] {
        for occurrence in 1..=8 {
            // Each order counts in a folder of its own; what the tick starts has it too.
            let faults = faults.join(format!("{point}-{occurrence}"));
            fs::create_dir_all(&faults).expect("folder");
            let mut tick = fleet.command("a", &["tick", "--repo", "."]);
            tick.env("AUTOMETTA_FAULT_DIR", &faults).env("AUTOMETTA_FAULT", format!("tick/{point}:{occurrence}:abort"));
            killed += usize::from(tick.output().expect("the binary runs").status.code().is_none());
            let stage = fleet.stage("a");
            let runs = stage["runs"].as_array().map_or(0, |runs| {
                let is_agent = |run: &&Value| run["run"].as_str().is_some_and(|id| !id.contains(".gate"));
                runs.iter().filter(is_agent).count() as u64
            });
            most = most.max(runs);
            assert!(share() >= runs, "{point}:{occurrence}: {} of {runs}: {stage:#}", share());
        }
    }
    assert!(killed >= 6 && most == 1, "{killed} were killed, {most} in flight");
    fs::write(fleet.night.t().join("go"), "").expect("go");
    fleet.night.wait("the stage", || {
        drop(fleet.run("a", &["tick", "--repo", "."]));
        fleet.is("a", "completed")
    });
    drop(fleet.run("a", &["tick", "--repo", "."]));
    assert_eq!(share(), 0);
}

#[test]
fn a_share_that_says_too_much_is_put_right_by_its_own_repository_and_told_where_that_is_gone() {
    let fleet = Fleet::of(&["b"], &works());
    fleet.config("fleet: {agents_at_once: 1}\n");
    fleet.night.wait("one", || {
        drop(fleet.fire().wait_with_output().expect("its end"));
        fleet.is("b", "completed")
    });
    fleet.add("a", 1);
    fleet.queue("a", &format!("- **Verifier:** {VERIFIER}"));
    let shares = || fs::read_dir(fleet.night.home.join("fleet")).expect("shares").flatten().map(|entry| entry.path());
    let of = |name: &str| {
        let repo = fleet.place(name).display().to_string();
        let says = |path: &PathBuf| fs::read_to_string(path).expect("share").contains(&format!("\"{repo}\""));
        shares().find(says).expect("its share")
    };
    // As a tick leaves it that dies before its commit.
    let path = of("b");
    let right = fs::read_to_string(&path).expect("share");
    let mut more: Value = serde_json::from_str(&right).expect("json");
    more["agents"] = json!(1);
    fs::write(&path, more.to_string()).expect("share");
    fleet.ok("a", &["tick", "--repo", "."]);
    assert_eq!(fleet.stage("a")["reason"]["code"], "fleet-agents");
    fleet.ok("b", &["tick", "--repo", "."]);
    assert_eq!(fs::read_to_string(&path).expect("share"), right, "put right with nothing in its queue");

    fs::write(&path, more.to_string()).expect("share");
    fs::remove_dir_all(fleet.place("b")).expect("gone");
    let doctor = text(&fleet.run("a", &["doctor"]).stdout);
    let name = path.file_name().expect("name").to_string_lossy().into_owned();
    let line = doctor.lines().find(|line| line.contains("1 agent")).unwrap_or_else(|| panic!("{doctor}"));
    assert!(doctor.contains(&name) && doctor.contains("rm "), "{line}\n{doctor}");
    fs::remove_file(&path).expect("the way out");
    fleet.night.wait("a again", || {
        drop(fleet.run("a", &["tick", "--repo", "."]));
        fleet.is("a", "completed")
    });
}

#[test]
fn subscribing_listing_and_unsubscribing() {
    let fleet = Fleet::of(&["a", "b", "gone", "broken"], &waits());
    let listed = || -> Vec<Value> { serde_json::from_str(&fleet.ok("a", &["subscribers", "--json"])).expect("json") };
    let names = |listed: &[Value]| -> Vec<String> {
        listed
            .iter()
            .map(|one| one["repo"].as_str().expect("repo").rsplit('/').next().expect("name").to_owned())
            .collect()
    };
    assert_eq!(names(&listed()), ["a", "b", "gone", "broken"]);
    let said = fleet.ok("b", &["subscribe", "--weight", "-5"]);
    assert!(said.contains("weight -5") && said.contains("every fire serves it"), "{said}");
    let said = fleet.ok("a", &["subscribe", &fleet.place("b").display().to_string(), "--disabled"]);
    assert!(said.contains("weight -5") && said.contains("no fire serves it"), "the weight stays: {said}");
    fs::remove_dir_all(fleet.place("gone")).expect("gone");
    fs::write(fleet.place("broken").join("state/state.yaml"), "stages: [").expect("broken");
    fs::write(fleet.night.home.join("subscribers/torn.yaml"), "repo_path: [").expect("torn");
    fleet.ok("a", &["tick", "--repo", "."]);
    let all = listed();
    let find =
        |name: &str| all.iter().find(|one| one["repo"].as_str().unwrap_or_default().ends_with(name)).expect(name);
    assert_eq!((&find("/a")["state"], &find("/a")["in_flight"]), (&json!("ready"), &json!(1)));
    assert_eq!((&find("/b")["enabled"], &find("/b")["weight"]), (&json!(false), &json!(-5)));
    assert_eq!((&find("/gone")["state"], &find("/broken")["state"]), (&json!("gone"), &json!("unreadable")));
    let table = fleet.ok("a", &["subscribers"]);
    let row = |word: &str| table.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{table}"));
    assert!(table.starts_with("SLUG") && row("/a ").ends_with("1 in flight") && row("/gone ").ends_with("gone"));
    assert!(row("torn").contains("unreadable") && row("/b ").contains("-5") && row("/b ").contains("no"), "{table}");
    fleet.ok("a", &["halt", "--reason", "enough"]);
    assert!(fleet.ok("a", &["subscribers"]).contains("halted operator, 1 in flight"));
    fleet.ok("a", &["resume"]);

    let before = fs::read(fleet.place("a").join("state/state.yaml")).expect("state");
    let said = fleet.ok("b", &["unsubscribe", "../a"]);
    assert!(said.contains("01-work.1.worker") && said.contains("no fire of"), "{said}");
    assert_eq!(fs::read(fleet.place("a").join("state/state.yaml")).expect("state"), before, "untouched");
    let said = fleet.ok("b", &["unsubscribe", &fleet.place("gone").display().to_string()]);
    assert!(said.contains("is gone"), "{said}");
    fleet.ok("b", &["unsubscribe", "torn"]);
    fleet.ok("broken", &["unsubscribe"]);
    assert_eq!(names(&listed()), ["b"]);
    let refused = fleet.run("b", &["unsubscribe", "no-such"]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("autometta subscribers"));
    let (code, told) = Fleet::told(fleet.fire());
    assert!(code == Some(0) && told.is_empty(), "the only one left is disabled: {told:#?}");
    fs::write(fleet.night.t().join("go"), "").expect("go");
    fleet.night.wait("its run to end by itself", || fleet.is("a", "completed"));
    let plain = fleet.night.base().join("plain");
    fs::create_dir(&plain).expect("folder");
    let refused = fleet.run("b", &["subscribe", &plain.display().to_string()]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("not a git repository"));
}

#[test]
fn two_homes_that_serve_one_repository_are_safe_and_told() {
    let mut fleet = Fleet::of(&["a"], &works());
    let first = fleet.night.home.display().to_string();
    let second = fleet.night.base().join("home-2").display().to_string();
    assert!(!fleet.ok("a", &["status"]).contains("homes serve"));
    let (_, told) = Fleet::told(fleet.fire());
    assert!(told[0].1["warnings"].is_null(), "{told:#?}");
    fleet.night.set("AUTOMETTA_HOME", &second);
    fleet.ok("a", &["subscribe"]);
    // The ticks of the stage's own runs may have the lock.
    let fire = || loop {
        let (_, told) = Fleet::told(fleet.fire());
        if told[0].1["held"] != true {
            return told;
        }
    };
    let told = fire();
    let says = told[0].1["warnings"][0].as_str().unwrap_or_else(|| panic!("it is told: {told:#?}")).to_owned();
    assert!(says.contains(&format!("{first} (")) && says.contains(&format!("{second} (")), "{says}");
    assert!(says.contains("autometta unsubscribe"), "{says}");
    let told = fire();
    assert!(told[0].1["warnings"].is_null(), "once: {told:#?}");
    assert!(fleet.ok("a", &["status"]).contains("2 homes serve"));
    assert!(text(&fleet.run("a", &["doctor"]).stdout).contains("2 homes serve"));
    fleet.night.set("AUTOMETTA_HOME", &first);
    let output = fleet.run("a", &["tick"]);
    assert!(text(&output.stderr).contains("2 homes serve"), "the first is told as well");
    // Both go on firing at once; nothing happens twice.
    fleet.night.wait("the stage", || {
        let one = fleet.fire();
        let mut other = fleet.night.command(&["tick", "--json"]);
        drop(other.env("AUTOMETTA_HOME", &second).output().expect("the binary runs"));
        drop(one.wait_with_output().expect("its end"));
        fleet.is("a", "completed")
    });
    let ledger = fs::read_to_string(fleet.place("a").join("state/ledger.jsonl")).expect("ledger");
    assert_eq!(ledger.lines().filter(|line| line.contains("\"dispatched\"")).count(), 3, "worker, gate, verifier");
    fleet.ok("a", &["log", "--verify"]);
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_and_holds_no_fire() {
    let fleet = Fleet::of(&["a"], &works());
    fleet.config("tick_timeout: soon\n");
    let (code, told) = Fleet::told(fleet.fire());
    assert_eq!((code, told.len()), (Some(1), 2));
    assert!(told[0].1["error"].as_str().expect("it is told").contains("config.yaml"), "{told:#?}");
    assert!(told[1].1["error"].is_null(), "{told:#?}");
}
