//! The families that need no manifest entry, as a table.
//!
//! Every argument here was run against the versions in `tested_versions`, as root and as an ordinary user. Reasons
//! for the less obvious ones:
//! - claude `--setting-sources user`, `--strict-mcp-config`: otherwise a run executes the hooks and MCP servers of the
//!   checkout, which a candidate can plant. This also leaves out the checkout's `CLAUDE.md`; the prompt names that file.
//! - claude without `CLAUDE_CODE_SUBPROCESS_ENV_SCRUB`: it needs bubblewrap, turns permission prompts back on, and
//!   leaves a dozen empty files in the checkout.
//! - codex `projects={…untrusted…}`: trust in the main checkout extends to its worktrees, and a trusted checkout's
//!   `.codex/config.toml` starts MCP servers outside the sandbox. It also leaves out `AGENTS.md`; the prompt names it.
//! - codex `shell_environment_policy.ignore_default_excludes=false`: keeps `*KEY*`, `*SECRET*` and `*TOKEN*` variables,
//!   its own API key among them, out of the commands that the model runs.
//! - codex `workspace-write` for verifiers too: `read-only` cannot even write a compiler's output. A verifier's
//!   checkout is thrown away.

use super::reach::{Reach, Settings};
use super::spec::{ApiLogin, ModelUse, PromptInput};
use crate::core::family::Word;
use crate::core::family::{AuthMode, DecoderKind};
use crate::core::weather::Endpoint;

/// A family as the table writes it. [`super::Families::new`] checks it together with the manifest's overrides.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub name: &'static str,
    pub identities: &'static [&'static str],
    pub worker: Vec<Word>,
    pub verifier: Vec<Word>,
    pub decoder: DecoderKind,
    pub auth: AuthMode,
    pub api_keys: &'static [&'static str],
    pub key_aliases: &'static [(&'static str, &'static str)],
    pub pass_env: &'static [&'static str],
    pub subscription_env: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    pub root_env: &'static [(&'static str, &'static str)],
    pub model_use: ModelUse,
    pub stdin: PromptInput,
    pub version_command: &'static [&'static str],
    pub tested_versions: &'static [&'static str],
    pub login_command: &'static [&'static str],
    pub api_login: Option<ApiLogin>,
    pub sandbox_command: &'static [&'static str],
    pub reach: Reach,
}

/// Writes a command: a text is a word that is always there, a bracketed list a group that may vanish.
macro_rules! command {
    (@word [$($word:literal),+ $(,)?]) => { Word::Optional(vec![$($word.to_owned()),+]) };
    (@word $word:literal) => { Word::Always($word.to_owned()) };
    ($($word:tt),+ $(,)?) => { vec![$(command!(@word $word)),+] };
}

/// The built-in families.
pub(super) fn known() -> Vec<Known> {
    vec![claude(), codex(), gemini(), shell("script", &["Script*"]), shell("check", &["Check*"])]
}

fn claude() -> Known {
    Known {
        name: "claude",
        identities: &["Claude*"],
        worker: command![
            "claude",
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--model",
            "{model}",
            "--session-id",
            "{session_id}",
            "--setting-sources",
            "user",
            "--strict-mcp-config",
            ["--max-budget-usd", "{budget_usd}"],
            ["--effort", "{effort}"],
            "--dangerously-skip-permissions",
        ],
        verifier: command![
            "claude",
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--model",
            "{model}",
            "--session-id",
            "{session_id}",
            "--setting-sources",
            "user",
            "--strict-mcp-config",
            ["--json-schema", "{schema}"],
            ["--max-budget-usd", "{budget_usd}"],
            ["--effort", "{effort}"],
            "--dangerously-skip-permissions",
        ],
        decoder: DecoderKind::Claude,
        auth: AuthMode::Subscription,
        api_keys: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"],
        key_aliases: &[],
        pass_env: &["CLAUDE_CONFIG_DIR"],
        subscription_env: &["CLAUDE_CODE_OAUTH_TOKEN"],
        env: &[
            ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
        ],
        // As root it refuses `--dangerously-skip-permissions` without this.
        root_env: &[("IS_SANDBOX", "1")],
        model_use: ModelUse::Calls,
        stdin: PromptInput::PromptFile,
        version_command: &["claude", "--version"],
        tested_versions: &["2.1.197", "2.1.329"],
        // Exits 1 and says `"loggedIn": false` where nobody is; asks no server.
        login_command: &["claude", "auth", "status"],
        api_login: None,
        sandbox_command: &[],
        reach: reach(
            &[(AuthMode::Subscription, "api.anthropic.com"), (AuthMode::Api, "api.anthropic.com")],
            &["ANTHROPIC_BASE_URL"],
            &["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"],
            Some(settings(
                "CLAUDE_CONFIG_DIR",
                ".claude",
                "settings.json",
                &["_BASE_URL", "CLAUDE_CODE_USE_", "_PROXY"],
            )),
        ),
    }
}

fn codex() -> Known {
    Known {
        name: "codex",
        identities: &["GPT*", "Codex*"],
        worker: command![
            "codex",
            "exec",
            "--json",
            "-s",
            "{sandbox}",
            "-C",
            "{worktree}",
            "--skip-git-repo-check",
            "--ignore-rules",
            "-c",
            "projects={{worktree_quoted}={trust_level=\"untrusted\"}}",
            "-c",
            "shell_environment_policy.ignore_default_excludes=false",
            "-m",
            "{model}",
            ["-c", "model_reasoning_effort={effort}"],
            ["-o", "{last_message}"],
            "-",
        ],
        verifier: command![
            "codex",
            "exec",
            "--json",
            "-s",
            "{sandbox}",
            "-C",
            "{worktree}",
            "--skip-git-repo-check",
            "--ignore-rules",
            "-c",
            "projects={{worktree_quoted}={trust_level=\"untrusted\"}}",
            "-c",
            "shell_environment_policy.ignore_default_excludes=false",
            "-m",
            "{model}",
            ["-c", "model_reasoning_effort={effort}"],
            ["--output-schema", "{schema_file}"],
            ["-o", "{last_message}"],
            "-",
        ],
        decoder: DecoderKind::Codex,
        auth: AuthMode::Subscription,
        // `OPENAI_API_KEY` alone is not used by the built-in provider, and a ChatGPT login wins over it;
        // `CODEX_API_KEY` wins over both. A provider of one's own names its variable in `config.toml`.
        api_keys: &["CODEX_API_KEY", "OPENAI_API_KEY"],
        key_aliases: &[("OPENAI_API_KEY", "CODEX_API_KEY")],
        pass_env: &["CODEX_HOME"],
        subscription_env: &[],
        env: &[],
        root_env: &[],
        model_use: ModelUse::Calls,
        stdin: PromptInput::PromptFile,
        version_command: &["codex", "--version"],
        tested_versions: &["0.169.0"],
        // Exits 1 where nobody is; asks no server.
        login_command: &["codex", "login", "status"],
        api_login: Some(ApiLogin {
            home_variable: "CODEX_HOME",
            file: "auth.json",
            key: "auth_mode",
            must_be: "apikey",
            way_out: "mkdir -p {home} && CODEX_HOME={home} codex login --with-api-key",
        }),
        // Runs one command the way its model's commands are run.
        sandbox_command: &["codex", "sandbox", "--", "true"],
        reach: reach(
            &[(AuthMode::Subscription, "chatgpt.com"), (AuthMode::Api, "api.openai.com")],
            &["OPENAI_BASE_URL"],
            &[],
            Some(settings("CODEX_HOME", ".codex", "config.toml", &["model_provider", "base_url"])),
        ),
    }
}

/// Gemini takes its prompt from standard input when it is given none; its stream is not decoded yet, so its usage is
/// unknown and every run is charged at its reservation.
fn gemini() -> Known {
    let command = command!["gemini", "-m", "{model}", "-o", "stream-json", "--approval-mode", "yolo", "--skip-trust"];
    Known {
        name: "gemini",
        identities: &["Gemini*"],
        worker: command.clone(),
        verifier: command,
        decoder: DecoderKind::Plain,
        auth: AuthMode::Subscription,
        api_keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        key_aliases: &[],
        pass_env: &[],
        subscription_env: &[],
        env: &[],
        root_env: &[],
        model_use: ModelUse::Calls,
        stdin: PromptInput::PromptFile,
        version_command: &["gemini", "--version"],
        tested_versions: &["0.61.0"],
        login_command: &[],
        api_login: None,
        sandbox_command: &[],
        reach: reach(
            &[
                (AuthMode::Subscription, "cloudcode-pa.googleapis.com"),
                (AuthMode::Api, "generativelanguage.googleapis.com"),
            ],
            &["GOOGLE_GEMINI_BASE_URL", "CODE_ASSIST_ENDPOINT"],
            &["GOOGLE_GENAI_USE_VERTEXAI"],
            None,
        ),
    }
}

/// A family that runs the card's own shell text and calls no model.
fn shell(name: &'static str, identities: &'static [&'static str]) -> Known {
    Known {
        name,
        identities,
        worker: command!["sh", "{script}"],
        verifier: command!["sh", "{script}"],
        decoder: DecoderKind::Plain,
        auth: AuthMode::None,
        api_keys: &[],
        key_aliases: &[],
        pass_env: &[],
        subscription_env: &[],
        env: &[],
        root_env: &[],
        model_use: ModelUse::Never,
        stdin: PromptInput::Nothing,
        version_command: &[],
        tested_versions: &[],
        login_command: &[],
        api_login: None,
        sandbox_command: &[],
        reach: Reach::default(),
    }
}

/// Where a provider is reached: its own host under TLS, by who pays, and what leads elsewhere.
fn reach(hosts: &[(AuthMode, &str)], base_urls: &[&str], detours: &[&str], settings: Option<Settings>) -> Reach {
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Reach {
        hosts: hosts.iter().map(|(auth, host)| (*auth, Endpoint::secure(host, 443))).collect(),
        base_urls: texts(base_urls),
        detours: texts(detours),
        settings,
        rule: None,
    }
}

fn settings(folder_variable: &str, folder: &str, file: &str, keys: &[&str]) -> Settings {
    Settings {
        folder_variable: folder_variable.to_owned(),
        folder: folder.to_owned(),
        file: file.to_owned(),
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
    }
}
