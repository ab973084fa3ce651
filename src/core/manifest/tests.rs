//! Defaults, layers and checks of the manifest.

use serde_json::json;

use super::*;

fn manifest(value: Value) -> Manifest {
    serde_json::from_value(value).expect("manifest")
}

#[test]
fn an_empty_manifest_has_the_documented_defaults() {
    let empty = manifest(json!({}));
    assert_eq!(empty, Manifest::default());
    assert!(empty.validate().is_empty(), "{}", empty.validate());
    assert_eq!(empty.state_dir.as_str(), "state");
    assert_eq!(empty.worktrees_for("greeter"), "../greeter.autometta");
    assert_eq!(empty.defaults.worker_wall_clock.seconds(), Seconds(3600));
    assert_eq!((empty.retry.work, empty.retry.verifier, empty.retry.infrastructure), (1, 3, 3));
    assert_eq!(empty.retry.patience.seconds(), Seconds(180));
    assert_eq!((empty.defaults.worker_tokens, empty.defaults.verifier_tokens), (None, None));
}

#[test]
fn a_full_manifest_survives_the_round_trip() {
    let full = manifest(json!({
        "version": 1,
        "state_dir": "./state/",
        "stage_cards": ["cards/**/*.md"],
        "base_branch": "main",
        "worktrees": "/var/tmp/{repo}",
        "max_parallel": 4,
        "link": ["node_modules", "web/node_modules"],
        "setup": "npm ci",
        "setup_timeout": "15 minutes",
        "gates": [{"name": "tests", "run": "npm test", "timeout": "1h30m"}, {"name": "lint", "run": "npm run lint"}],
        "retry": {"work": 2},
        "families": {
            "claude": {"auth": "subscription", "models": {"claude-sonnet-5": "sonnet"}},
            "codex": {"auth": "api", "env": {"OPENAI_API_KEY": "op://vault/item/field"}},
            "aider": {"command": ["aider", "--yes"], "decoder": "plain", "identities": ["Aider*"], "auth": "none"}
        },
        "notify": ["terminal-notifier", "-message", "{message}"],
        "defaults": {"worker_cost": 5.5, "gate_timeout": "90s"},
        "caps": {"tokens": 12_000_000, "wall_clock": "8h"}
    }));
    assert!(full.validate().is_empty(), "{}", full.validate());
    assert_eq!(full.state_dir.as_str(), "state", "`./` and a last `/` mean nothing");
    assert_eq!(full.retry, Retry { work: 2, ..Retry::default() });
    assert_eq!(full.timeout_of(&full.gates[0]), Seconds(5400));
    assert_eq!(full.timeout_of(&full.gates[1]), Seconds(90));
    assert_eq!(full.defaults.worker_cost, Some(MicroUsd(5_500_000)));
    let text = serde_json::to_value(&full).expect("value");
    assert_eq!(manifest(text), full);
}

#[test]
fn what_is_not_understood_is_refused() {
    for value in [
        json!({"gate": []}),
        json!({"gates": [{"name": "tests"}]}),
        json!({"gates": [{"name": "tests", "run": "x", "timeout": "soon"}]}),
        json!({"setup_timeout": "0s"}),
        json!({"state_dir": "../state"}),
        json!({"state_dir": "/var/state"}),
        json!({"state_dir": "~/state"}),
        json!({"state_dir": "."}),
        json!({"state_dir": ""}),
        json!({"state_dir": ".git/state"}),
        json!({"link": ["a/../../b"]}),
        json!({"stage_cards": "stage-cards/*.md"}),
        json!({"families": {"Claude": {}}}),
        json!({"families": {"claude": {"auth": "free"}}}),
        json!({"families": {"claude": {"comand": []}}}),
        json!({"defaults": {"worker_cost": -1}}),
    ] {
        assert!(serde_json::from_value::<Manifest>(value.clone()).is_err(), "{value}");
    }
}

#[test]
fn paths_and_times_agree_with_their_own_schemas() {
    let agrees = |schema: &Value, text: &str, accepted: bool| {
        let valid = jsonschema::is_valid(schema, &json!(text));
        assert!(valid || !accepted, "{text}: its schema is stricter than the type");
        valid == accepted
    };
    let paths = schemars::schema_for!(RepoPath).to_value();
    for text in [
        "state",
        "./a/",
        "a/./b",
        "a/*.md",
        "..a",
        "a..",
        ".gitignore",
        "",
        ".",
        "./",
        "..",
        "a/..",
        "../a",
        "/",
        "~a",
        ".git",
        "a/.GIT/b",
        "a\nb",
    ] {
        assert!(agrees(&paths, text, RepoPath::try_from(text.to_owned()).is_ok()), "{text:?}");
    }
    let times = schemars::schema_for!(TimeLimit).to_value();
    for text in ["90s", "10 minutes", "1h30m", " 1 hour ", "", "90", "soon", "-5m", "1.5h"] {
        assert!(agrees(&times, text, TimeLimit::try_from(text.to_owned()).is_ok()), "{text:?}");
    }
}

#[test]
fn each_contradiction_is_reported_at_its_place() {
    for (value, places) in [
        (json!({"version": 2}), vec!["/version"]),
        (json!({"max_parallel": 0}), vec!["/max_parallel"]),
        (json!({"max_parallel": 65}), vec!["/max_parallel"]),
        (json!({"max_parallel": 64}), vec![]),
        (json!({"base_branch": "-d"}), vec!["/base_branch"]),
        (json!({"setup": " "}), vec!["/setup"]),
        (json!({"notify": [""]}), vec!["/notify/0"]),
        (json!({"retry": {"work": 21, "infrastructure": 99}}), vec!["/retry/work", "/retry/infrastructure"]),
        (json!({"worktrees": "../{name}"}), vec!["/worktrees"]),
        (json!({"worktrees": "../{repo"}), vec!["/worktrees"]),
        (json!({"worktrees": "worktrees"}), vec!["/worktrees"]),
        (json!({"worktrees": "../"}), vec!["/worktrees"]),
        (json!({"worktrees": "/"}), vec!["/worktrees"]),
        (json!({"worktrees": "/srv/{repo}/{repo}"}), vec![]),
        (
            json!({"gates": [
                {"name": "tests", "run": "a"}, {"name": "tests", "run": "b"},
                {"name": "acceptance", "run": "c"}, {"name": " ", "run": " "}
            ]}),
            vec!["/gates/1/name", "/gates/2/name", "/gates/3/name", "/gates/3/run"],
        ),
    ] {
        let found: Vec<_> = manifest(value.clone()).validate().0.into_iter().map(|fault| fault.place).collect();
        assert_eq!(found, places, "{value}");
    }
}

#[test]
fn the_local_layer_wins_key_by_key_and_replaces_lists_whole() {
    let base = json!({
        "max_parallel": 2,
        "link": ["node_modules", "target"],
        "families": {"claude": {"auth": "api", "env": {"A": "1", "B": "2"}}}
    });
    let local = json!({
        "link": ["vendor"],
        "base_branch": "dev",
        "families": {"claude": {"auth": "subscription", "env": {"B": "3"}}, "codex": {"auth": "api"}}
    });
    let merged = Manifest::merged(base.clone(), local).expect("manifest");
    assert_eq!((merged.max_parallel, merged.base_branch.as_deref()), (2, Some("dev")));
    assert_eq!(merged.link.iter().map(RepoPath::as_str).collect::<Vec<_>>(), ["vendor"]);
    let claude = &merged.families[&"claude".parse::<FamilyName>().expect("name")];
    assert_eq!(claude.auth, Some(AuthMode::Subscription));
    assert_eq!(
        claude.env.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        ["A=1", "B=3"]
    );
    assert_eq!(merged.families.len(), 2);

    assert_eq!(overlay(base.clone(), json!({})), base);
    assert!(Manifest::merged(base, json!({"max_parallel": "many"})).is_err());
}
