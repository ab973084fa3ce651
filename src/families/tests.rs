//! The built-in table, the overrides over it, and the calls that come out.

use std::collections::BTreeMap;

use super::invocation::BASE_ENV;
use super::*;
use crate::core::family::FamilyOverride;
use crate::core::fault::Faults;
use crate::core::ids::{FamilyName, Identity, RunId};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::secrecy::API_KEYS;

fn families(overrides: &serde_json::Value) -> Result<Families, Faults> {
    let overrides: BTreeMap<FamilyName, FamilyOverride> = serde_json::from_value(overrides.clone()).expect("overrides");
    Families::new(&overrides)
}

fn builtin() -> Families {
    families(&serde_json::json!({})).expect("the built-in table")
}

fn identity(name: &str) -> Identity {
    format!("{name} <{}@local>", name.to_lowercase().replace([' ', '.'], "-")).parse().expect("identity")
}

fn call(families: &Families, name: &str, role: AgentRole, change: impl FnOnce(&mut Ask<'_>)) -> Invocation {
    let identity = identity(name);
    let run: RunId = "01-a.1.worker".parse().expect("run");
    let family = families.of(&identity).expect("family");
    let model = family.resolve(&identity).expect("model");
    let mut ask = Ask {
        role,
        model: &model,
        run: &run,
        worktree: "/w/my \"tree",
        prompt_file: "/r/prompt.md",
        outbox: "/w/my \"tree/.autometta/outbox",
        session_id: "0a0b0c0d-0000-4000-8000-000000000001",
        schema: None,
        last_message: None,
        effort: None,
        budget: None,
        max_tokens: None,
        script: None,
        user: LaunchUser::Ordinary,
    };
    change(&mut ask);
    family.invocation(&ask).expect("invocation")
}

fn value<'a>(invocation: &'a Invocation, name: &str) -> Option<&'a EnvSource> {
    invocation.env.iter().find(|entry| entry.name == name).map(|entry| &entry.source)
}

#[test]
fn the_default_patterns_know_their_identities() {
    let families = builtin();
    for (name, family) in [
        ("Claude Sonnet 5", "claude"),
        ("gpt-5.6 Sol", "codex"),
        ("Codex", "codex"),
        ("Gemini 3 Pro", "gemini"),
        ("Script", "script"),
        ("Check links", "check"),
    ] {
        assert_eq!(families.of(&identity(name)).expect(name).name.as_str(), family);
    }
    assert!(families.of(&identity("Somebody")).is_none());
    assert_eq!(families.iter().count(), 5);
}

#[test]
fn a_claude_worker_is_called_as_tested() {
    let invocation = call(&builtin(), "Claude Sonnet 5", AgentRole::Worker, |ask| {
        ask.effort = Some("high");
        ask.budget = Some(MicroUsd(2_500_000));
        ask.schema = Some(SchemaRef { text: "{}", file: "/r/schema.json" });
    });
    let expected = "claude -p --output-format stream-json --verbose --model claude-sonnet-5 \
                    --session-id 0a0b0c0d-0000-4000-8000-000000000001 --setting-sources user --strict-mcp-config \
                    --max-budget-usd 2.5 --effort high --dangerously-skip-permissions";
    assert_eq!(invocation.argv.join(" "), expected);
    assert_eq!(invocation.stdin, PromptInput::PromptFile);
}

#[test]
fn a_claude_verifier_passes_the_schema_as_one_argument() {
    let schema = r#"{"type": "object"}"#;
    let invocation = call(&builtin(), "Claude Opus 5", AgentRole::Verifier, |ask| {
        ask.schema = Some(SchemaRef { text: schema, file: "/r/schema.json" });
    });
    let at = invocation.argv.iter().position(|word| word == "--json-schema").expect("option");
    assert_eq!(invocation.argv[at + 1], schema);
    assert!(!invocation.argv.iter().any(|word| word.contains("effort") || word.contains("budget")));
}

#[test]
fn codex_is_called_as_tested() {
    let families =
        families(&serde_json::json!({"codex": {"models": {"gpt-5-6-sol": "gpt-5.6-sol"}}})).expect("families");
    let invocation = call(&families, "GPT-5.6 Sol", AgentRole::Verifier, |ask| {
        ask.schema = Some(SchemaRef { text: "{}", file: "/r/schema.json" });
        ask.last_message = Some("/r/last.txt");
        ask.effort = Some("high");
    });
    let expected = [
        "codex",
        "exec",
        "--json",
        "-s",
        "workspace-write",
        "-C",
        "/w/my \"tree",
        "--skip-git-repo-check",
        "--ignore-rules",
        "-c",
        "projects={\"/w/my \\\"tree\"={trust_level=\"untrusted\"}}",
        "-c",
        "shell_environment_policy.ignore_default_excludes=false",
        "-m",
        "gpt-5.6-sol",
        "-c",
        "model_reasoning_effort=high",
        "--output-schema",
        "/r/schema.json",
        "-o",
        "/r/last.txt",
        "-",
    ];
    assert_eq!(invocation.argv, expected);
    let worker = call(&families, "GPT-5.6 Sol", AgentRole::Worker, |_| ());
    assert!(!worker.argv.iter().any(|word| word == "--output-schema" || word == "-o"));
}

#[test]
fn the_sandbox_of_codex_can_be_switched_off() {
    let families = families(&serde_json::json!({"codex": {"sandbox": "danger-full-access"}})).expect("families");
    let argv = call(&families, "Codex", AgentRole::Worker, |_| ()).argv;
    assert_eq!(argv[3..5], ["-s", "danger-full-access"]);
}

#[test]
fn scripts_run_what_the_caller_prepared_and_call_no_model() {
    let families = builtin();
    let invocation = call(&families, "Script", AgentRole::Worker, |ask| ask.script = Some("/r/script.sh"));
    assert_eq!((invocation.argv.join(" ").as_str(), invocation.stdin), ("sh /r/script.sh", PromptInput::Nothing));
    let spec = families.of(&identity("Script")).expect("family");
    assert_eq!(spec.decoder().usage(), crate::core::exit::Usage::none());
}

#[test]
fn a_value_that_the_run_does_not_have_is_a_refusal_that_names_the_way_out() {
    let families = builtin();
    let identity = identity("Script");
    let run: RunId = "01-a.1.worker".parse().expect("run");
    let ask = Ask {
        role: AgentRole::Worker,
        model: "script",
        run: &run,
        worktree: "/w",
        prompt_file: "/p",
        outbox: "/o",
        session_id: "s",
        schema: None,
        last_message: None,
        effort: None,
        budget: None,
        max_tokens: Some(Tokens(7)),
        script: None,
        user: LaunchUser::Ordinary,
    };
    let error = families.of(&identity).expect("family").invocation(&ask).expect_err("no script");
    assert_eq!(
        error.to_string(),
        "run 01-a.1.worker: the script command needs {script}, which this run does not have; put the word into an \
         inner list in `families.script`, so that it can be left out"
    );
}

#[test]
fn no_api_key_reaches_a_subscription() {
    let families = builtin();
    for name in ["Claude", "Codex", "Gemini", "Script", "Check"] {
        let invocation = call(&families, name, AgentRole::Worker, |ask| ask.script = Some("/r/s.sh"));
        for key in API_KEYS {
            assert_eq!(value(&invocation, key), None, "{name} {key}");
        }
        for base in BASE_ENV {
            assert_eq!(value(&invocation, base), Some(&EnvSource::Parent), "{name} {base}");
        }
        let names: Vec<&str> = invocation.env.iter().map(|entry| entry.name.as_str()).collect();
        assert!(names.is_sorted_by(|one, other| one < other), "{name}: sorted, each name once");
    }
    let claude = call(&families, "Claude", AgentRole::Worker, |_| ());
    assert_eq!(value(&claude, "CLAUDE_CODE_OAUTH_TOKEN"), Some(&EnvSource::Parent));
    assert_eq!(value(&claude, "DISABLE_AUTOUPDATER"), Some(&EnvSource::Literal("1".into())));
}

#[test]
fn an_api_key_reaches_only_the_family_that_names_it() {
    let secret = EnvSource::Secret(SecretRef::OnePassword("op://vault/item/field".into()));
    let families = families(&serde_json::json!({
        "codex": {"auth": "api", "env": {"OPENAI_API_KEY": "op://vault/item/field"}},
        "claude": {"auth": "api", "env": {"ANTHROPIC_API_KEY": "env:MY_KEY"}},
    }))
    .expect("families");
    let codex = call(&families, "Codex", AgentRole::Worker, |_| ());
    assert_eq!(value(&codex, "OPENAI_API_KEY"), Some(&secret));
    assert_eq!(value(&codex, "CODEX_API_KEY"), Some(&secret), "the variable that codex prefers to a login");
    assert_eq!(value(&codex, "ANTHROPIC_API_KEY"), None);
    let claude = call(&families, "Claude", AgentRole::Worker, |_| ());
    assert_eq!(value(&claude, "ANTHROPIC_API_KEY"), Some(&EnvSource::Secret(SecretRef::Env("MY_KEY".into()))));
    assert_eq!(value(&claude, "CLAUDE_CODE_OAUTH_TOKEN"), None, "a token would be a second payer");
}

#[test]
fn root_is_told_to_claude_only_when_it_is_so() {
    let families = builtin();
    let ordinary = call(&families, "Claude", AgentRole::Worker, |_| ());
    assert_eq!(value(&ordinary, "IS_SANDBOX"), None);
    let root = call(&families, "Claude", AgentRole::Worker, |ask| ask.user = LaunchUser::Root);
    assert_eq!(value(&root, "IS_SANDBOX"), Some(&EnvSource::Literal("1".into())));
}

#[test]
fn a_third_family_is_a_manifest_entry() {
    let families = families(&serde_json::json!({
        "opencode": {
            "identities": ["OpenCode*", "Claude via OpenCode*"],
            "command": ["opencode", "run", "--format", "json", "-m", "{model}", ["--effort", "{effort}"]],
            "auth": "local",
            "env": {"OPENAI_API_KEY": "unused"},
            "pass_env": ["OPENCODE_CONFIG"],
            "models": {"opencode": "ollama/llama3"},
        },
    }))
    .expect("families");
    let invocation = call(&families, "OpenCode", AgentRole::Verifier, |_| ());
    assert_eq!(invocation.argv.join(" "), "opencode run --format json -m ollama/llama3");
    assert_eq!(value(&invocation, "OPENCODE_CONFIG"), Some(&EnvSource::Parent));
    assert_eq!(value(&invocation, "OPENAI_API_KEY"), Some(&EnvSource::Literal("unused".into())));
    let longest = families.of(&identity("Claude via OpenCode")).expect("family");
    assert_eq!(longest.name.as_str(), "opencode", "the pattern that fixes more of the name wins");
}

#[test]
fn every_fault_of_the_overrides_is_reported_at_once() {
    let faults = families(&serde_json::json!({
        "new": {"command": ["agent", "{modle}"]},
        "other": {"identities": ["gpt*"], "command": ["agent"]},
        "codex": {"auth": "api", "pass_env": ["OPENAI_API_KEY", "A B"]},
        "claude": {"env": {"ANTHROPIC_API_KEY": "sk", "1X": "y", "Z": "env:"}, "identities": [""], "models": {"m": "--yolo"}},
    }))
    .expect_err("faults");
    let places: Vec<&str> = faults.0.iter().map(|fault| fault.place.as_str()).collect();
    let expected = [
        "/families/claude/identities",
        "/families/claude/env/1X",
        "/families/claude/env/Z",
        "/families/claude/models/m",
        "/families/claude/env/ANTHROPIC_API_KEY",
        "/families/codex/pass_env",
        "/families/codex/pass_env",
        "/families/codex/auth",
        "/families/new",
        "/families/new/command",
        "/families/other/identities",
    ];
    assert_eq!(places, expected, "{faults}");
    assert!(!faults.to_string().contains("sk\""), "a key never stands in a message");
}

#[test]
fn unknown_keys_of_an_override_are_refused() {
    for json in [r#"{"comand": ["x"]}"#, r#"{"auth": "free"}"#, r#"{"decoder": "xml"}"#, r#"{"command": [1]}"#] {
        assert!(serde_json::from_str::<FamilyOverride>(json).is_err(), "{json}");
    }
}
