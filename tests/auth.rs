//! `auth` and the routes over the real binary: what each mode demands before it starts, what is shown, and what is refused.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER};

/// A `codex` that is logged in where `auth.json` is, and works.
const CODEX: &str = "case \"$*\" in --version) echo 'codex-cli 0.169.0'; exit;; 'login status') test -e \"$CODEX_HOME/auth.json\"; exit;; esac\necho \"key $OPENAI_API_KEY\"\necho work >a.txt\nset -- 01-work";

/// A night whose worker is a stub of codex, with this entry of the manifest besides.
fn night(entry: &str, more: &str) -> Night {
    let mut night = Night::bare();
    let path = std::env::var("PATH").expect("PATH");
    night.set("PATH", &format!("{}:{path}", night.base().join("stubs").display()));
    night.stub("codex", &format!("{CODEX}\n{HAND_IN}"));
    night.stub("worker", "exit 9");
    night.stub("verifier", SAY_PASS);
    night.manifest(&format!("  codex: {{command: [codex, exec], decoder: plain, {entry}}}\n{more}"));
    night.ok(&["init"]);
    night
}

fn queue(night: &Night) {
    night.card("01-work");
    let card = night.read("repo/stage-cards/01-work.md").replace(WORKER, "GPT-5.6 Sol <gpt-5-6-sol@local>");
    assert!(card.contains(VERIFIER));
    night.write("stage-cards/01-work.md", &card);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
}

fn home(night: &Night) -> PathBuf {
    night.base().join("codex-home")
}

fn json_of(night: &Night, args: &[&str], code: i32) -> Value {
    let output = night.run(args);
    let said = support::night::text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}{}", support::night::text(&output.stderr));
    serde_json::from_str(&said).expect("json")
}

/// Whether some finding at this level says all of these words, in what it says or in what mends it.
fn finds(document: &Value, level: &str, words: &[&str]) -> bool {
    document["findings"].as_array().expect("findings").iter().any(|finding| {
        let text = format!("{} {}", finding["says"], finding["mend"]);
        finding["level"] == level && words.iter().all(|word| text.contains(word))
    })
}

#[test]
fn codex_in_api_mode_does_not_start_without_a_home_whose_login_is_a_key() {
    for (login, words) in [
        (None, "it is not there"),
        (Some(r#"{"auth_mode":"chatgpt","tokens":{"access_token":"the-tokens"}}"#), "it says `auth_mode: chatgpt`"),
    ] {
        let mut night = night("auth: api, env: {OPENAI_API_KEY: \"env:MY_KEY\", CODEX_HOME: HOME_OF_CODEX}", "");
        night.set("MY_KEY", "the-key-of-mine");
        let manifest = night.read("repo/.autometta.yaml").replace("HOME_OF_CODEX", &home(&night).display().to_string());
        night.write(".autometta.yaml", &manifest);
        fs::create_dir_all(home(&night)).expect("home");
        if let Some(login) = login {
            fs::write(home(&night).join("auth.json"), login).expect("login");
        }
        queue(&night);
        night.tick_until_that("01-work", |_| night.budget()["halted"] == true);
        let budget = night.budget();
        let way_out = format!("CODEX_HOME={} codex login --with-api-key", home(&night).display());
        let halt = budget["halt_reasons"].to_string();
        assert_eq!(budget["halt_reason"], "dispatch-configuration-fault", "{budget}");
        assert!(halt.contains(words) && halt.contains(&way_out) && !halt.contains("the-"), "{halt}");
        assert_eq!(night.stage("01-work")["attempt"].as_u64().unwrap_or(1), 1);
        let check = json_of(&night, &["auth", "check", "codex", "--json"], 1);
        assert!(check["fit"] == false && finds(&check, "fault", &[words, &way_out]), "{check:#}");

        let login = r#"{"auth_mode":"apikey","OPENAI_API_KEY":"the-key-of-mine"}"#;
        fs::write(home(&night).join("auth.json"), login).expect("login");
        let check = json_of(&night, &["auth", "check", "codex", "--json"], 0);
        assert!(check["fit"] == true && finds(&check, "ok", &["OPENAI_API_KEY resolves (env:MY_KEY)"]), "{check:#}");
        night.ok(&["resume"]);
        night.tick_until("01-work", "completed");
        let stdout = night.read("repo/state/runs/01-work.1.worker.r1/stdout.log");
        assert_eq!(stdout, "key [redacted CODEX_API_KEY]\n", "its alias, which comes first");
    }
}

#[test]
fn codex_in_api_mode_does_not_use_the_home_of_a_person() {
    let mut night = night("auth: api, env: {OPENAI_API_KEY: \"env:MY_KEY\"}", "");
    night.set("MY_KEY", "the-key-of-mine");
    let usual = night.base().join("user/.codex");
    fs::create_dir_all(&usual).expect("home");
    fs::write(usual.join("auth.json"), r#"{"auth_mode":"apikey"}"#).expect("login");
    queue(&night);
    night.tick_until_that("01-work", |_| night.budget()["halted"] == true);
    let halt = night.budget()["halt_reasons"].to_string();
    assert!(halt.contains("needs a CODEX_HOME of its own"), "{halt}");
}

#[test]
fn status_shows_the_route_of_each_family_and_where_its_variables_come_from() {
    let mut night = night("auth: subscription", "max_parallel: 2\n");
    let key = night.base().join("key");
    fs::write(&key, "the-key-of-mine\n").expect("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("mode");
    let entry = format!(
        "  other: {{identities: [\"Other*\"], command: [codex, exec], auth: api, pass_env: [SERVICE_TOKEN], env: {{A_KEY: \"file:{}\", \
         B_KEY: \"env:SET\", C_KEY: \"env:UNSET\", D_KEY: \"cmd:echo the-command\", E_KEY: \"the-literal\"}}}}\nmax_parallel: 2\n",
        key.display()
    );
    let manifest = night.read("repo/.autometta.yaml").replace("max_parallel: 2\n", &entry);
    night.write(".autometta.yaml", &manifest);
    night.set("SET", "the-value-of-set");
    night.set("OPENAI_API_KEY", "the-parents-key");
    night.set("ANTHROPIC_BASE_URL", "http://elsewhere");
    let status = json_of(&night, &["auth", "status", "--json"], 0);
    let family = |name: &str| {
        let families = status["families"].as_array().expect("families");
        families.iter().find(|family| family["family"] == name).expect(name).clone()
    };
    let (codex, other) = (family("codex"), family("other"));
    assert_eq!((&codex["mode"], &other["mode"]), (&json!("subscription"), &json!("api")));
    assert_eq!(codex["version"], "codex-cli 0.169.0");
    assert_eq!(codex["withheld"], json!(["ANTHROPIC_BASE_URL", "OPENAI_API_KEY"]));
    assert!(finds(&codex, "warning", &["refresh token", "max_parallel"]), "{codex:#}");
    let from = |name: &str| {
        let variable = other["variables"].as_array().expect("variables").iter().find(|one| one["name"] == name);
        variable.map(|one| (one["from"].as_str().expect("from").to_owned(), one["present"].clone()))
    };
    for (name, expected, present) in [
        ("A_KEY", format!("file:{} (mode 640)", key.display()), Value::Null),
        ("B_KEY", "env:SET".to_owned(), json!(true)),
        ("C_KEY", "env:UNSET".to_owned(), json!(false)),
        ("D_KEY", "a command (cmd:…)".to_owned(), Value::Null),
        ("E_KEY", "the manifest".to_owned(), json!(true)),
        ("SERVICE_TOKEN", "the environment".to_owned(), json!(false)),
    ] {
        assert_eq!(from(name), Some((expected, present)), "{name}");
    }
    assert!(finds(&other, "fault", &["C_KEY", "env:UNSET", "not set where ticks run"]), "{other:#}");
    assert!(finds(&other, "fault", &["A_KEY", "others may read", "chmod 600"]), "{other:#}");
    assert!(finds(&other, "warning", &["E_KEY", "in the manifest itself"]), "{other:#}");

    let check = json_of(&night, &["auth", "check", "other", "--json"], 1);
    assert!(finds(&check, "ok", &["B_KEY resolves"]) && finds(&check, "ok", &["D_KEY resolves"]), "{check:#}");
    let text = night.ok(&["auth", "status"]);
    for part in [text, status.to_string(), check.to_string(), night.fails(&["auth", "check", "other"], 1)] {
        for value in ["the-key", "the-value", "the-command", "the-literal", "the-parents"] {
            assert!(!part.contains(value), "{value}: {part}");
        }
    }
    let refused = night.fails(&["auth", "check", "nobody"], 3);
    assert!(refused.contains("there is no family nobody; there are check, claude, codex"), "{refused}");
}

#[test]
fn a_subscription_is_not_sent_elsewhere_by_a_variable_of_the_shell() {
    let night = night("auth: subscription", "");
    let manifest = night.read("repo/.autometta.yaml");
    let redirected = manifest.replace("auth: subscription", "auth: subscription, pass_env: [OPENAI_BASE_URL]");
    night.write(".autometta.yaml", &redirected);
    let said = night.fails(&["auth", "status"], 1);
    assert!(said.contains("OPENAI_BASE_URL") && said.contains("to another server"), "{said}");
}

#[test]
fn check_says_that_a_keychain_is_a_part_of_macos_and_that_nobody_is_logged_in() {
    let night = night("auth: subscription, env: {X_TOKEN: \"keychain:api/me\"}", "");
    let check = json_of(&night, &["auth", "check", "codex", "--json"], 1);
    if !cfg!(target_os = "macos") {
        assert!(finds(&check, "fault", &["keychain:api/me", "macOS"]), "{check:#}");
    }
    assert!(finds(&check, "fault", &["codex is not logged in", "codex login"]), "{check:#}");
}
