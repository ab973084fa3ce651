//! Twelve secrets in every place that secrets come from, a night of agents that give them away in every way that they can,
//! and not a byte of them afterwards in anything that is kept.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::night::Night;

/// The variables of the parent that no agent is to see.
const PARENTS: [&str; 4] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GITHUB_TOKEN"];
/// The variables that the worker gets.
const WORKERS: [&str; 6] = ["FROM_ENV", "FROM_FILE", "FROM_COMMAND", "FROM_OP", "LITERAL_TOKEN", "SERVICE_TOKEN"];

/// A secret: what it is for, and a value that needs escapes in JSON.
struct Secret {
    name: &'static str,
    value: String,
}

fn secrets() -> Vec<Secret> {
    let names = PARENTS.iter().chain(&WORKERS).chain(&["PROXY_PASSWORD", "JUDGE_KEY"]);
    let value = |number: usize, name: &str| match name {
        // What stands in an address cannot hold a quote.
        "PROXY_PASSWORD" => format!("pw{number}-Vd9Kx3Lq7RzTm2"),
        _ => format!("se{number}/\"Qx7\\Rt2+{}{number}", "Lm9Kd4Wz".repeat(number % 5 + 1)),
    };
    names.enumerate().map(|(number, name)| Secret { name, value: value(number, name) }).collect()
}

/// How a value may be written: as it is, as JSON writes it, in base64 at each offset, in hexadecimal.
fn forms(value: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let core = |before: usize| {
        let text = STANDARD.encode(format!("{}{value}", "x".repeat(before)));
        text[(before * 8).div_ceil(6)..(before + value.len()) * 8 / 6].to_owned()
    };
    let hex = value
        .bytes()
        .flat_map(|byte| [byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])))
        .collect();
    let mut forms = BTreeSet::from([value.to_owned(), json, hex]);
    forms.extend((0..3).map(core));
    forms
}

/// Fails where a secret stands in these bytes, and says whose.
fn assert_clean(place: &str, bytes: &[u8], secrets: &[Secret]) {
    for secret in secrets {
        for form in forms(&secret.value) {
            let found = bytes.windows(form.len()).position(|window| window == form.as_bytes());
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(80)..(at + form.len() + 40).min(bytes.len())];
                panic!("{place} holds {} as {form}: …{}…", secret.name, String::from_utf8_lossy(around));
            }
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) if meta.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Watches the arguments of every process of the machine until it is told to end; gives those that held a secret.
fn watch_arguments(values: Vec<String>, over: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        while !over.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
                let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let words = String::from_utf8_lossy(&words).into_owned();
                if values.iter().any(|value| words.contains(value.as_str())) {
                    seen.push(words);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        seen
    })
}

/// Gives every variable away: whole, in two writes, in JSON, in base64, in hexadecimal, on both streams.
const TELL: &str = r#"escaped() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }
tell() {
  printf 'plain %s\n' "$1"; printf 'plain %s\n' "$1" >&2
  half=$(printf '%s' "$1" | head -c 7); printf 'split %s' "$half"; sleep 0.05; printf '%s\n' "${1#"$half"}"
  printf '{"said":"%s"}\n' "$(escaped "$1")"
  printf '%s' "$1" | base64; printf 'x%s' "$1" | base64 -w 0; echo; printf 'Bearer: %s\n' "$1" | base64 >&2
  printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; echo
}
"#;

fn worker() -> String {
    let told: Vec<String> = WORKERS.iter().map(|name| format!("tell \"${name}\"")).collect();
    let quoted: Vec<String> = WORKERS.iter().map(|name| format!("$(escaped \"${name}\")")).collect();
    let (told, quoted) = (told.join("\n"), quoted.join(" and "));
    format!(
        "{TELL}env >\"$T/env-worker\"\n{told}\nenv\nfor name in a.txt; do echo work >$name; done\nstatus=pass; more=\n\
         case \"$1\" in\n\
         02-question) status=blocked; more=\",\\\"question\\\":\\\"Is $(escaped \"$FROM_FILE\") right?\\\"\";;\n\
         03-file) printf 'key = %s\\n' \"$FROM_COMMAND\" >>a.txt;;\n\
         04-encoded) mkdir -p deep/er; printf 'Bearer: %s' \"$FROM_OP\" | base64 -w 0 >deep/er/blob.txt;;\n\
         05-lost) printf '%s' \"$LITERAL_TOKEN\" >a.txt; [ -e \"$T/died\" ] || {{ touch \"$T/died\"; kill -9 $PPID; kill -9 $$; }}; echo clean >a.txt;;\n\
         esac\n\
         printf '{{\"stage_id\":\"%s\",\"status\":\"%s\",\"deliverables\":[],\"notes\":\"%s\"%s}}' \"$1\" $status \"{quoted}\" \
         \"$more\" >.autometta/outbox/handoff.json"
    )
}

fn verifier() -> String {
    format!(
        "{TELL}env >\"$T/env-verifier\"\ntell \"$JUDGE_KEY\"\n\
         printf '{{\"stage_id\":\"%s\",\"overall\":\"PASS\",\"headline\":\"It works with %s\",\"criteria\":[{{\"id\":1,\
         \"name\":\"it works\",\"verdict\":\"PASS\",\"evidence\":\"a.txt:1 %s\"}}],\"additional_findings\":\"%s\"}}' \"$1\" \
         \"$(escaped \"$JUDGE_KEY\")\" \"$(escaped \"$JUDGE_KEY\")\" \"$(escaped \"$JUDGE_KEY\")\" \
         >.autometta/outbox/verdict.json"
    )
}

/// A night with every secret in its place.
fn night(secrets: &[Secret]) -> Night {
    let value = |name: &str| &secrets.iter().find(|secret| secret.name == name).expect("secret").value;
    let mut night = Night::bare();
    for name in PARENTS.iter().chain(&["SERVICE_TOKEN"]) {
        night.set(name, value(name));
    }
    night.set("SOURCE_OF_FROM_ENV", value("FROM_ENV"));
    night.set("HTTPS_PROXY", &format!("http://me:{}@127.0.0.1:9", value("PROXY_PASSWORD")));
    let vault = night.base().join("vault");
    fs::create_dir_all(&vault).expect("vault");
    for name in ["FROM_FILE", "FROM_COMMAND", "FROM_OP", "JUDGE_KEY"] {
        let path = vault.join(name);
        fs::write(&path, format!("{}\n", value(name))).expect("secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    }
    night.stub(
        "op",
        &format!(
            "env >\"$T/env-op\"\n[ \"$*\" = 'read --no-newline op://v/i/f' ] && cat '{}'",
            vault.join("FROM_OP").display()
        ),
    );
    let path = std::env::var("PATH").expect("PATH");
    night.set("PATH", &format!("{}:{path}", night.base().join("stubs").display()));
    night.stub("worker", &worker());
    night.stub("verifier", &verifier());
    night.stub("notify", "env >>\"$T/env-notify\"\nprintf '%s\\n' \"$*\" >>\"$T/notices\"");
    let (stubs, vault) = (night.base().join("stubs"), vault.display());
    let stubs = stubs.display();
    night.write(
        ".autometta.yaml",
        &format!(
            "version: 1\nbase_branch: main\nfamilies:\n  \
             stub:\n    identities: [\"Stub*\"]\n    command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"]\n    \
             auth: api\n    pass_env: [T, SERVICE_TOKEN]\n    env:\n      FROM_ENV: \"env:SOURCE_OF_FROM_ENV\"\n      \
             FROM_FILE: \"file:{vault}/FROM_FILE\"\n      FROM_COMMAND: \"cmd:env >$T/env-cmd; cat {vault}/FROM_COMMAND\"\n      \
             FROM_OP: \"op://v/i/f\"\n  \
             judge:\n    identities: [\"Judge*\"]\n    command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"]\n    \
             auth: api\n    pass_env: [T]\n    env: {{JUDGE_KEY: \"file:{vault}/JUDGE_KEY\"}}\n\
             notify: [\"{stubs}/notify\", \"{{message}}\"]\n"
        ),
    );
    let literal = serde_json::json!({"families": {"stub": {"env": {"LITERAL_TOKEN": value("LITERAL_TOKEN")}}}});
    night.write(".autometta.local.yaml", &literal.to_string());
    night.ok(&["init"]);
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Subscribe"]);
    night
}

fn queue(night: &Night, stage: &str, deliverables: &str) {
    night.card_with(
        stage,
        "",
        deliverables,
        &format!("env | tee {}/env-gate; env >&2; test -s a.txt", night.t().display()),
    );
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

/// The names of the secrets whose values a child was given, by what it wrote down of its environment.
fn seen_by<'a>(night: &Night, child: &str, secrets: &'a [Secret]) -> BTreeSet<&'a str> {
    let env = night.read(format!("t/env-{child}"));
    secrets.iter().filter(|secret| env.contains(&secret.value)).map(|secret| secret.name).collect()
}

#[test]
fn no_byte_of_a_secret_is_kept_anywhere_after_a_night_that_gives_all_of_them_away() {
    let secrets = secrets();
    assert_eq!(secrets.len(), 12);
    let over = Arc::new(AtomicBool::new(false));
    let values = secrets.iter().map(|secret| secret.value.clone()).collect();
    let watch = watch_arguments(values, Arc::clone(&over));
    let night = night(&secrets);

    queue(&night, "01-work", "1. `a.txt`: the work");
    night.tick_until("01-work", "completed");
    queue(&night, "02-question", "1. `a.txt`: the work");
    night.tick_until("02-question", "blocked");
    for (stage, deliverables, file, variable) in [
        ("03-file", "1. `a.txt`: the work", "a.txt", "FROM_COMMAND"),
        ("04-encoded", "1. `a.txt`: the work\n2. `deep/`: more", "deep/er/blob.txt", "FROM_OP"),
    ] {
        queue(&night, stage, deliverables);
        let failed = night.tick_until(stage, "failed");
        let reason = &failed["reason"];
        let detail = reason["detail"].as_str().expect("detail");
        assert_eq!(reason["code"], "secret-in-work", "{detail}");
        assert!(detail.contains(&format!("{file} holds the value of {variable}")), "{detail}");
        for _ in 0..3 {
            assert!(night.tick().status.success());
        }
        let left = night.worktrees().join(format!("{stage}.1.worker"));
        assert!(left.join(file).exists(), "the checkout is left for a person");
        let kept = night.git_raw(&["rev-parse", "--verify", &format!("wip/{stage}-attempt-1")]);
        assert!(!kept.status.success(), "nothing was made of it");
    }
    // A lost run took its values along; they are resolved once more before anything is made of its checkout.
    queue(&night, "05-lost", "1. `a.txt`: the work");
    let lost = night.tick_until("05-lost", "failed");
    assert_eq!((&lost["reason"]["code"], &lost["history"][0]["outcome"]), (&"secret-in-work".into(), &"lost".into()));
    let detail = lost["reason"]["detail"].as_str().expect("detail");
    assert!(detail.starts_with("a.txt holds the value of LITERAL_TOKEN"), "{detail}");
    let left = night.worktrees().join("05-lost.1.worker");
    assert!(detail.contains(&format!("`git worktree remove --force {}`", left.display())), "{detail}");
    night.git(&["worktree", "remove", "--force", &left.display().to_string()]);
    night.ok(&["requeue", "05-lost"]);
    // Three failures in a row have halted the night.
    night.ok(&["resume"]);
    night.tick_until("05-lost", "completed");
    night.wait("the notices are told", || {
        let told = fs::read_to_string(night.t().join("notices")).unwrap_or_default();
        told.contains("02-question") && told.contains("03-file")
    });
    night.ok(&["report"]);

    for place in [night.repo.join("state"), night.home.clone()] {
        for path in files_below(&place) {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap_or_default(), &secrets);
        }
    }
    let objects = night.git_raw(&["cat-file", "--batch-all-objects", "--batch"]);
    assert!(objects.status.success() && !objects.stdout.is_empty());
    assert_clean("git's objects", &objects.stdout, &secrets);
    for args in [
        &["log"][..],
        &["status", "--json"],
        &["show", "03-file"],
        &["inbox"],
        &["auth", "status"],
        &["auth", "check", "stub"],
    ] {
        assert_clean(&args.join(" "), night.ok(args).as_bytes(), &secrets);
    }
    assert_clean("the notices", night.read("t/notices").as_bytes(), &secrets);

    let stdout = night.read("repo/state/runs/01-work.1.worker/stdout.log");
    for name in WORKERS {
        let told = stdout.matches(&format!("[redacted {name}]")).count();
        assert!(told >= 6, "{name} was told {told} times:\n{stdout}");
    }
    let handoff = night.read("repo/state/runs/01-work.1.worker/outbox/handoff.json");
    assert!(handoff.contains("[redacted FROM_OP]"), "{handoff}");

    let worker: BTreeSet<&str> = WORKERS.into_iter().chain(["PROXY_PASSWORD"]).collect();
    assert_eq!(seen_by(&night, "worker", &secrets), worker);
    assert_eq!(seen_by(&night, "verifier", &secrets), BTreeSet::from(["JUDGE_KEY", "PROXY_PASSWORD"]));
    assert_eq!(seen_by(&night, "gate", &secrets), BTreeSet::from(["PROXY_PASSWORD"]));
    // What is the operator's own runs with the operator's own environment, but for what the agents' keys come from.
    for child in ["op", "cmd", "notify"] {
        assert_eq!(seen_by(&night, child, &secrets), BTreeSet::from(["GITHUB_TOKEN", "PROXY_PASSWORD"]), "{child}");
    }

    over.store(true, Ordering::Relaxed);
    assert_eq!(watch.join().expect("the watch"), Vec::<String>::new(), "a secret stood in a process's arguments");
}

#[test]
fn the_looks_of_this_test_find_what_is_there() {
    let secrets = secrets();
    for secret in &secrets {
        for form in forms(&secret.value) {
            let text = format!("before{form}behind");
            let looked = std::panic::catch_unwind(|| assert_clean("it", text.as_bytes(), &secrets));
            assert!(looked.is_err(), "{form}");
        }
    }
}
