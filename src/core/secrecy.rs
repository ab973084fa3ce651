//! Which variables hold secrets, by their names: what no run may inherit, and what no record may show.

/// Variables that carry an API key of any provider. None of them is ever taken from the parent.
pub const API_KEYS: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "AZURE_OPENAI_API_KEY",
    "CODEX_API_KEY",
    "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "XAI_API_KEY",
];

/// How the variable begins by which a tick hands a key that stands in the manifest itself to the supervisor: what goes
/// through the environment is written to no file.
pub const GIVEN_PREFIX: &str = "AUTOMETTA_GIVEN_";

/// How the reference in an order begins that stands for such a key; the rest is the name of its own variable.
pub const GIVEN_SCHEME: &str = "given:";

/// How words of a variable's name end that holds a secret.
const SECRET_WORDS: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE"];

/// Whether a variable carries an API key.
pub fn is_api_key(name: &str) -> bool {
    API_KEYS.contains(&name)
}

/// Whether a variable of this name holds a secret, as far as its name tells. `MAX_TOKENS` holds a number.
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| word == "PAT" || SECRET_WORDS.iter().any(|end| word.ends_with(end)))
}

/// Whether a variable says where a provider's requests go. Whoever sets it in a shell redirects what is paid elsewhere.
pub fn redirects(name: &str) -> bool {
    const ENDS: [&str; 4] = ["_BASE_URL", "_API_BASE", "_API_URL", "_ENDPOINT"];
    let provider_switch = name.starts_with("CLAUDE_CODE_USE_") || name == "GOOGLE_GENAI_USE_VERTEXAI";
    provider_switch || ENDS.iter().any(|end| name.ends_with(end))
}

/// The password in the address of a proxy, if it has one.
pub fn password_in_url(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user_info, _) = authority.rsplit_once('@')?;
    let (_, password) = user_info.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets_from_settings() {
        for name in
            ["OPENAI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "GITHUB_PAT", "db_password", "APIKEY", "AWS_ACCESS_KEY_ID"]
        {
            assert!(names_secret(name), "{name}");
        }
        for name in ["MAX_THINKING_TOKENS", "PATH", "KEYBOARD", "CODEX_HOME", "SSL_CERT_FILE", "TERM", "PATTERN"] {
            assert!(!names_secret(name), "{name}");
        }
        assert!(API_KEYS.iter().all(|name| names_secret(name)));
        for (name, expected) in [
            ("ANTHROPIC_BASE_URL", true),
            ("OPENAI_API_BASE", true),
            ("CLAUDE_CODE_USE_BEDROCK", true),
            ("CODEX_HOME", false),
            ("HTTPS_PROXY", false),
        ] {
            assert_eq!(redirects(name), expected, "{name}");
        }
    }

    #[test]
    fn a_proxy_may_carry_a_password() {
        for (url, password) in [
            ("http://me:p%40ss@proxy:3128", Some("p%40ss")),
            ("http://me:a@b@proxy/x", Some("a@b")),
            ("http://me@proxy", None),
            ("http://me:@proxy", None),
            ("http://proxy:3128/a:b@c", None),
            ("proxy:3128", None),
        ] {
            assert_eq!(password_in_url(url), password, "{url}");
        }
    }
}
