//! The login that a CLI keeps for itself, where it would win over the key that a run is given.
//!
//! Nothing is asked but a file, and nothing is kept of it but what kind of login it is.

use std::path::Path;

use crate::core::run::LoginRule;

/// The largest such file, in bytes.
const LIMIT: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginState {
    /// The login is of the kind that it must be.
    AsItMustBe,
    /// It is not: a sentence with the way out.
    Wrong(String),
}

/// Looks at the login below `home`, the value of the rule's variable; none where that is not set.
pub fn login_state(rule: &LoginRule, home: Option<&Path>) -> LoginState {
    match fault(rule, home) {
        None => LoginState::AsItMustBe,
        Some(why) => LoginState::Wrong(why),
    }
}

fn fault(rule: &LoginRule, home: Option<&Path>) -> Option<String> {
    let LoginRule { home_variable, file, key, must_be, .. } = rule;
    let shown = |home: &str| rule.way_out.replace("{home}", home);
    let Some(home) = home.filter(|home| home.is_absolute()) else {
        return Some(format!(
            "`auth: api` needs a {home_variable} of its own, because a login in the usual one wins over the key: set \
             {home_variable} to an absolute path in the family's `env` in .autometta.yaml, and run `{}` with the key on \
             its standard input",
            shown(&format!("${home_variable}"))
        ));
    };
    let path = home.join(file);
    let way_out = shown(&home.display().to_string());
    let wrong =
        |why: String| Some(format!("{}: {why}; run `{way_out}` with the key on its standard input", path.display()));
    let text = match std::fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= LIMIT => std::fs::read(&path),
        Ok(_) => return wrong("it is not a file of a sensible size".to_owned()),
        Err(error) => Err(error),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return wrong(format!("it is not there, and it must say `{key}: {must_be}`"));
        }
        Err(error) => return wrong(format!("it cannot be read: {error}")),
    };
    match serde_json::from_slice::<serde_json::Value>(&text) {
        Ok(login) => match login.get(key).and_then(serde_json::Value::as_str) {
            Some(kind) if kind == must_be => None,
            Some(kind) => {
                let kind: String = kind.chars().filter(|letter| !letter.is_control()).take(40).collect();
                wrong(format!("it says `{key}: {kind}`, which wins over the key, and it must say `{must_be}`"))
            }
            None => wrong(format!("it does not say `{key}`, and it must say `{must_be}`")),
        },
        // What the parser says may quote the file.
        Err(_) => wrong("it is not JSON".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test writes what a CLI would")]
    fn only_the_right_kind_of_login_passes_and_nothing_of_it_is_shown() {
        let rule = LoginRule {
            home_variable: "X_HOME".to_owned(),
            file: "auth.json".to_owned(),
            key: "auth_mode".to_owned(),
            must_be: "apikey".to_owned(),
            way_out: "X_HOME={home} x login".to_owned(),
        };
        let home = tempfile::tempdir().expect("home");
        let path = home.path().join("auth.json");
        let look = || login_state(&rule, Some(home.path()));
        let wrong = |state: LoginState| match state {
            LoginState::Wrong(why) => why,
            LoginState::AsItMustBe => panic!("it passes"),
        };
        let why = wrong(look());
        assert!(
            why.contains("it is not there") && why.contains(&format!("`X_HOME={} x login`", home.path().display())),
            "{why}"
        );
        for (text, expected) in [
            ("{\"auth_mode\":\"chatgpt\",\"tokens\":{\"id\":\"hunter2\"}}", "it says `auth_mode: chatgpt`"),
            ("{\"OPENAI_API_KEY\":\"hunter2\"}", "it does not say `auth_mode`"),
            ("{\"auth_mode\":null}", "it does not say"),
            ("hunter2", "it is not JSON"),
        ] {
            std::fs::write(&path, text).expect("login");
            let why = wrong(look());
            assert!(why.contains(expected) && !why.contains("hunter2"), "{why}");
        }
        std::fs::write(&path, "{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"hunter2\"}").expect("login");
        assert_eq!(look(), LoginState::AsItMustBe);
        for home in [None, Some(Path::new("relative"))] {
            let why = wrong(login_state(&rule, home));
            assert!(why.contains("needs a X_HOME of its own"), "{why}");
        }
    }
}
