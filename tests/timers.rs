//! `timer` over the real binary, with schedulers that write down what they are told: what is installed, what is
//! refused, what is shown. `timer_cron.rs` and `timer_systemd.rs` have the real ones.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::night::Night;

/// `crontab` as Debian has it, on a file of the test's own.
const CRONTAB: &str = r#"file=$T/crontab
case $1 in
-l) [ -e "$file" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; cat "$file" ;;
-r) rm "$file" ;;
-) cat >"$T/crontab.new"
   [ ! -s "$T/crontab.new" ] || [ -z "$(tail -c 1 "$T/crontab.new")" ] ||
     { echo "new crontab file is missing newline before EOF, can't install." >&2; exit 1; }
   mv "$T/crontab.new" "$file" ;;
*) exit 64 ;;
esac"#;

/// `launchctl` that knows one agent, loaded or not.
const LAUNCHCTL: &str = r#"printf '%s\n' "$*" >>"$T/calls"
case $1 in
print) [ -e "$T/loaded" ] ;;
bootstrap) touch "$T/loaded" ;;
bootout) rm "$T/loaded" ;;
esac"#;

/// `systemctl --user` that knows one timer.
const SYSTEMCTL: &str = r#"printf '%s\n' "$*" >>"$T/calls"
case $2 in
is-active) [ -e "$T/active" ] ;;
restart) touch "$T/active" ;;
disable) rm "$T/active" ;;
esac"#;

/// A night whose home is the usual one and whose schedulers are these stubs.
fn night() -> Night {
    let mut night = Night::bare();
    let base = night.base();
    for (name, text) in [("crontab", CRONTAB), ("launchctl", LAUNCHCTL), ("systemctl", SYSTEMCTL), ("claude", "exit 1")]
    {
        night.stub(name, text);
    }
    night.set("AUTOMETTA_HOME", &base.join("user/.autometta").display().to_string());
    night.set("PATH", &format!("{}:relative:/usr/bin:/bin:/usr/bin", base.join("stubs").display()));
    night.set("XDG_RUNTIME_DIR", &night.t().display().to_string());
    night
}

fn crontab(night: &Night) -> Option<Vec<u8>> {
    fs::read(night.t().join("crontab")).ok()
}

/// The calls since the last time, without those that only ask.
fn calls(night: &Night) -> Vec<String> {
    let path = night.t().join("calls");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    let asks = |call: &&str| !call.starts_with("print ") && !call.contains(" is-");
    text.lines().filter(asks).map(str::to_owned).collect()
}

fn record(night: &Night) -> Option<Value> {
    let text = fs::read_to_string(night.base().join("user/.autometta/timer.json")).ok()?;
    Some(serde_json::from_str(&text).expect("json"))
}

fn status(night: &Night) -> Value {
    serde_json::from_str(&night.ok(&["timer", "status", "--json"])).expect("json")
}

/// What a person reads, held against a file; `UPDATE_SNAPSHOTS=1` writes it anew.
fn snapshot(night: &Night, name: &str, said: &str) {
    let uid = nix::unistd::Uid::effective();
    let user = nix::unistd::User::from_uid(uid).expect("users").expect("user").name;
    let said = said
        .replace(env!("CARGO_BIN_EXE_autometta"), "/opt/autometta")
        .replace(&night.base().display().to_string(), "/BASE")
        .replace(&format!("crontab of {user}"), "crontab of USER")
        .replace(&format!("gui/{uid}"), "gui/UID");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/timer").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(&path, &said).expect("snapshot");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, expected, "{}: UPDATE_SNAPSHOTS=1 accepts it", path.display());
}

#[test]
fn print_shows_what_would_be_installed_and_changes_nothing() {
    let night = night();
    fs::write(night.t().join("crontab"), "# mine\n").expect("crontab");
    for scheduler in ["cron", "launchd", "systemd"] {
        snapshot(&night, &format!("print-{scheduler}"), &night.ok(&["timer", "print", "--scheduler", scheduler]));
    }
    assert_eq!(crontab(&night), Some(b"# mine\n".to_vec()));
    assert_eq!(calls(&night), Vec::<String>::new());
    assert_eq!(fs::read_dir(night.base().join("user")).expect("user").count(), 0);
    // What is printed is what is installed, to the byte.
    for (scheduler, file) in
        [("cron", "t/crontab"), ("launchd", "user/Library/LaunchAgents/local.autometta.timer.plist")]
    {
        let plan: Value =
            serde_json::from_str(&night.ok(&["timer", "print", "--scheduler", scheduler, "--json"])).expect("json");
        night.ok(&["timer", "install", "--scheduler", scheduler]);
        let text = plan["pieces"][0]["text"].as_str().expect("text");
        assert_eq!(night.read(file).replacen("# mine\n", "", 1), text);
    }
}

#[test]
fn a_crontab_comes_back_as_it_was() {
    for before in
        [None, Some(&b""[..]), Some(b"0 0 1 1 * true\n"), Some(b"A=1\r\n0 0 1 1 * \xff\r\n"), Some(b"0 0 1 1 * open")]
    {
        let night = night();
        if let Some(bytes) = before {
            fs::write(night.t().join("crontab"), bytes).expect("crontab");
        }
        let install = |every: &str| night.ok(&["timer", "install", "--scheduler", "cron", "--every", every]);
        assert!(install("5m").starts_with("installed: a tick every 5m by cron"));
        let (first, at) = (crontab(&night), record(&night));
        assert!(install("5m").starts_with("installed already"));
        assert_eq!((crontab(&night), record(&night)), (first, at), "installing twice is once");
        assert!(install("10 minutes").starts_with("installed, in place of what was there"));
        let record = record(&night).expect("a record");
        assert_eq!((&record["every_seconds"], &record["scheduler"]), (&json!(600), &json!("cron")));
        assert!(night.ok(&["timer", "uninstall"]).starts_with("removed from the crontab of "));
        // Debian's crontab takes no open end, so that one comes back closed.
        let expected =
            before.map(|bytes| if bytes.ends_with(b"open") { b"0 0 1 1 * open\n".to_vec() } else { bytes.to_vec() });
        assert_eq!(crontab(&night), expected);
        assert!(!night.base().join("user/.autometta/timer.json").exists());
        assert_eq!(night.ok(&["timer", "uninstall"]), "no timer of ours was installed\n");
    }
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let night = night();
    let long = format!("/{}", "x".repeat(1200));
    for (args, words) in [
        (&["--scheduler", "cron", "--every", "7m"][..], &["cron cannot fire every 7m", "6m and 10m"][..]),
        (&["--scheduler", "cron", "--path", "bin:/usr/bin"], &["`bin`", "not absolute"]),
        (&["--scheduler", "cron", "--path", &long], &["cron takes 998", "--path"]),
        (&["--scheduler", "cron", "--path", "/a\nb"], &["line break"]),
        (&["--scheduler", "systemd"], &["no systemd user manager runs", "loginctl enable-linger", "--scheduler cron"]),
    ] {
        let said = night.fails(&[&["timer", "install"], args].concat(), 3);
        for word in words {
            assert!(said.contains(word), "{args:?} should say `{word}`:\n{said}");
        }
        assert_eq!((crontab(&night), record(&night), calls(&night)), (None, None, Vec::new()), "{args:?}");
        assert_eq!(fs::read_dir(night.base().join("user")).expect("user").count(), 0, "{args:?}");
    }
    let said = night.fails(&["timer", "install", "--every", "soon"], 2);
    assert!(said.contains("say a time such as 5m"), "{said}");
}

#[test]
fn one_timer_serves_a_home_whatever_the_other_is_called() {
    let night = night();
    let base = night.base();
    let link = base.join("stubs/nightly");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_autometta"), &link).expect("link");
    let link = link.display();
    for (line, is_rival) in [
        ("*/5 * * * * autometta tick".to_owned(), true),
        (format!("@hourly env AUTOMETTA_HOME={}/user/.autometta {link} tick", base.display()), true),
        (format!("@hourly sh -c '{link} tick'"), true),
        ("*/5 * * * * AUTOMETTA_HOME=/other autometta tick".to_owned(), false),
        ("# */5 * * * * autometta tick".to_owned(), false),
        ("0 9 * * * autometta status".to_owned(), false),
    ] {
        let before = format!("{line}\n").into_bytes();
        fs::write(night.t().join("crontab"), &before).expect("crontab");
        if is_rival {
            let said = night.fails(&["timer", "install", "--scheduler", "cron"], 3);
            assert!(said.contains("the crontab of ") && said.contains("remove that entry"), "{said}");
            let others = status(&night)["others"].as_array().expect("others").len();
            assert_eq!((others, record(&night)), (1, None));
            assert_eq!(crontab(&night), Some(before), "{line}");
        } else {
            night.ok(&["timer", "install", "--scheduler", "cron"]);
            night.ok(&["timer", "uninstall"]);
        }
    }
    fs::remove_file(night.t().join("crontab")).expect("crontab");
    let units = base.join("user/.config/systemd/user");
    fs::create_dir_all(&units).expect("units");
    fs::write(units.join("mine.service"), "[Service]\nExecStart=/usr/bin/autometta tick\n").expect("unit");
    let said = night.fails(&["timer", "install", "--scheduler", "launchd"], 3);
    assert!(said.contains("mine.service ticks this home already"), "{said}");
}

#[test]
fn a_crash_between_entry_and_record_is_repaired_by_the_next_command() {
    let night = night();
    let install = || night.ok(&["timer", "install", "--scheduler", "cron"]);
    let path = night.base().join("user/.autometta/timer.json");
    install();
    fs::remove_file(&path).expect("record");
    assert!(night.ok(&["timer", "status"]).contains("the entry has no record"));
    assert!(install().starts_with("installed already"));
    assert!(path.exists());
    fs::remove_file(night.t().join("crontab")).expect("crontab");
    assert!(night.ok(&["timer", "status"]).contains("its entry is gone"));
    assert_eq!(night.ok(&["timer", "uninstall"]), "no timer of ours was installed\n");
    assert!(!path.exists(), "a record without an entry goes as well");
    // Half a block is for a person to look at.
    install();
    let torn = night.read("t/crontab").replace("# <<<", "# <");
    fs::write(night.t().join("crontab"), &torn).expect("crontab");
    for args in [&["timer", "install", "--scheduler", "cron"][..], &["timer", "uninstall"]] {
        assert!(night.fails(args, 3).contains("crontab -e"));
        assert_eq!(night.read("t/crontab"), torn);
    }
}

#[test]
fn launchd_gets_an_agent_and_exactly_these_calls() {
    let night = night();
    let target = format!("gui/{}/local.autometta.timer", nix::unistd::Uid::effective());
    let (domain, _) = target.rsplit_once('/').expect("a domain");
    let path = night.base().join("user/Library/LaunchAgents/local.autometta.timer.plist");
    let load = [format!("enable {target}"), format!("bootstrap {domain} {}", path.display())];
    night.ok(&["timer", "install", "--scheduler", "launchd", "--every", "90s"]);
    assert_eq!(calls(&night), load);
    let list = plist::Value::from_file(&path).expect("a property list").into_dictionary().expect("a dictionary");
    let text = |key: &str| list.get(key).and_then(plist::Value::as_string).unwrap_or_default().to_owned();
    assert_eq!(text("Label"), "local.autometta.timer");
    assert_eq!(text("StandardErrorPath"), night.base().join("user/.autometta/log/timer.err").display().to_string());
    assert_eq!(list.get("StartInterval").and_then(plist::Value::as_signed_integer), Some(90));
    for key in ["RunAtLoad", "AbandonProcessGroup"] {
        assert_eq!(list.get(key).and_then(plist::Value::as_boolean), Some(true), "{key}");
    }
    let words = list.get("ProgramArguments").and_then(plist::Value::as_array).expect("words");
    let words: Vec<&str> = words.iter().filter_map(plist::Value::as_string).collect();
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_autometta")).canonicalize().expect("path").display().to_string();
    assert_eq!(words, [exe.as_str(), "tick"]);
    let env = list.get("EnvironmentVariables").and_then(plist::Value::as_dictionary).expect("variables");
    assert_eq!(env.keys().collect::<Vec<_>>(), ["AUTOMETTA_HOME", "PATH"], "and no secret");
    assert!(status(&night)["installed"][0]["loaded"].as_bool().expect("loaded"));
    calls(&night);
    assert!(
        night.ok(&["timer", "install", "--scheduler", "launchd", "--every", "90s"]).starts_with("installed already")
    );
    assert_eq!(calls(&night), Vec::<String>::new());
    night.ok(&["timer", "install", "--scheduler", "launchd"]);
    assert_eq!(calls(&night), [&[format!("bootout {target}")][..], &load].concat());
    // Another scheduler takes its place, and never two fire.
    let said = night.ok(&["timer", "install", "--scheduler", "cron"]);
    assert!(said.contains(&format!("removed from {}", path.display())), "{said}");
    assert_eq!((calls(&night), path.exists()), (vec![format!("bootout {target}")], false));
    assert_eq!(record(&night).expect("a record")["scheduler"], "cron");
}

#[test]
fn a_running_user_manager_is_chosen_and_gets_exactly_these_calls() {
    let night = night();
    fs::create_dir(night.t().join("systemd")).expect("folder");
    let _manager = UnixListener::bind(night.t().join("systemd/private")).expect("socket");
    let said = night.ok(&["timer", "install"]);
    assert!(said.starts_with("installed: a tick every 5m by systemd"), "{said}");
    assert_eq!(
        calls(&night),
        ["--user daemon-reload", "--user enable autometta.timer", "--user restart autometta.timer"]
    );
    assert!(night.ok(&["timer", "install"]).starts_with("installed already"));
    assert_eq!(calls(&night), Vec::<String>::new());
    let units = night.base().join("user/.config/systemd/user");
    assert_eq!(fs::read_dir(&units).expect("units").count(), 2);
    let said = night.ok(&["timer", "uninstall"]);
    assert!(said.starts_with("removed from") && said.contains("autometta.timer"), "{said}");
    assert_eq!(calls(&night), ["--user disable --now autometta.timer", "--user daemon-reload"]);
    assert_eq!(fs::read_dir(&units).expect("units").count(), 0);
}

#[test]
fn status_says_what_is_wrong_and_what_to_do() {
    let mut night = night();
    snapshot(&night, "status-none", &night.ok(&["timer", "status"]));
    night.ok(&["timer", "install", "--scheduler", "launchd"]);
    night.ok(&["init"]);
    fs::remove_file(night.t().join("loaded")).expect("loaded");
    // Two intervals and a minute without a tick.
    night.set("AUTOMETTA_CLOCK_OFFSET", "700");
    let path = night.base().join("user/.autometta/timer.json");
    let text = fs::read_to_string(&path).expect("record");
    fs::write(&path, text.replace(env!("CARGO_BIN_EXE_autometta"), "/gone/autometta")).expect("record");
    snapshot(&night, "status-trouble", &night.ok(&["timer", "status"]));
    let found = status(&night);
    assert_eq!((&found["late"], &found["program"]), (&json!(true), &json!("missing")), "{found:#}");
    night.ok(&["tick"]);
    let found = status(&night);
    assert_eq!(found["late"], false, "{found:#}");
    assert!(night.ok(&["timer", "status"]).contains("last tick  0s ago"));
    let schema = schemars::schema_for!(autometta::timers::status::Status).to_value();
    assert!(jsonschema::is_valid(&schema, &found), "{found:#}");
}

#[test]
fn init_hints_at_the_timer_or_installs_it() {
    let night = night();
    let said = night.ok(&["init"]);
    assert!(said.ends_with("then `autometta timer install`, and the queue is worked through without you\n"), "{said}");
    let said = night.ok(&["init", "--timer"]);
    assert!(said.contains("installed: a tick every 5m by "), "{said}");
    assert!(night.ok(&["init", "--timer"]).contains("the timer is installed already, in "));
    assert!(!night.ok(&["init"]).contains("timer install"));
    night.ok(&["timer", "uninstall"]);
    fs::write(night.t().join("crontab"), "@hourly autometta tick\n").expect("crontab");
    let said = night.ok(&["init", "--timer"]);
    assert!(said.contains("ticks this home already") && said.contains("it serves this repository as well"), "{said}");
    assert_eq!(record(&night), None);
}
