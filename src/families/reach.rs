//! Where a family's provider is reached, so that it can be asked whether it answers before money is spent on a launch.
//!
//! Nobody is asked where the address is not known for certain: a command of one's own, or settings of the CLI that lead
//! elsewhere. The manifest's `endpoint` names it then.

use std::collections::BTreeMap;

use super::invocation::EnvSource;
use super::spec::FamilySpec;
use crate::core::family::AuthMode;
use crate::core::weather::{Endpoint, EndpointRule};

/// Where a family's provider is reached, as far as a table can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The provider's own host, by who pays.
    pub hosts: Vec<(AuthMode, Endpoint)>,
    /// Variables that name another address, best first.
    pub base_urls: Vec<String>,
    /// Variables that lead to another provider altogether.
    pub detours: Vec<String>,
    /// The CLI's own settings, which may do either.
    pub settings: Option<Settings>,
    /// What the manifest says.
    pub rule: Option<EndpointRule>,
}

/// A settings file of a CLI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The variable that names its folder.
    pub folder_variable: String,
    /// Its folder below the home directory, where that variable is not set.
    pub folder: String,
    /// Its name.
    pub file: String,
    /// Keys that name another address. Where any of them stands in it, nobody is asked.
    pub keys: Vec<String>,
}

impl Settings {
    /// Where it stands in this environment.
    pub fn path(&self, environment: &BTreeMap<String, String>) -> Option<String> {
        let named = environment.get(&self.folder_variable).filter(|folder| !folder.is_empty());
        let folder = match named {
            Some(folder) => folder.clone(),
            None => format!("{}/{}", environment.get("HOME")?, self.folder),
        };
        Some(format!("{folder}/{}", self.file))
    }

    /// Whether a text of it names another address.
    pub fn lead_elsewhere(&self, text: &str) -> bool {
        self.keys.iter().any(|key| text.contains(key.as_str()))
    }
}

impl FamilySpec {
    /// What is asked before a launch with this environment: the endpoint, or the proxy before it; none where nobody is.
    /// `settings` reads the CLI's own settings from their path.
    ///
    /// # Errors
    /// A variable that names an address does not; the sentence says which one.
    pub fn asked(
        &self,
        environment: &BTreeMap<String, String>,
        settings: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Option<Endpoint>, String> {
        match self.provider(environment, settings)? {
            None => Ok(None),
            // A proxy whose address is a secret is not known here.
            Some(_) if self.env.iter().any(|(name, value)| is_proxy(name) && is_secret(value)) => Ok(None),
            Some(provider) => Ok(Some(provider.route(environment)?)),
        }
    }

    fn provider(
        &self,
        environment: &BTreeMap<String, String>,
        settings: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Option<Endpoint>, String> {
        let reach = &self.reach;
        match &reach.rule {
            Some(EndpointRule::Nobody) => return Ok(None),
            Some(EndpointRule::At(endpoint, _)) => return Ok(Some(endpoint.clone())),
            None => {}
        }
        let value = |name: &String| environment.get(name).filter(|value| !value.trim().is_empty());
        if reach.base_urls.iter().any(|name| self.env.get(name).is_some_and(is_secret)) {
            return Ok(None);
        }
        if reach.detours.iter().any(|name| value(name).is_some()) {
            return Ok(None);
        }
        if let Some((name, text)) = reach.base_urls.iter().find_map(|name| Some((name, value(name)?))) {
            // A URL may hold a password, and is not repeated.
            return text.parse().map(Some).map_err(|_| format!("{name} is not an address"));
        }
        let Some((_, host)) = reach.hosts.iter().find(|(auth, _)| *auth == self.auth) else { return Ok(None) };
        if let Some(known) = &reach.settings
            && let Some(text) = known.path(environment).and_then(|path| settings(&path))
            && known.lead_elsewhere(&text)
        {
            return Ok(None);
        }
        Ok(Some(host.clone()))
    }
}

fn is_secret(source: &EnvSource) -> bool {
    matches!(source, EnvSource::Secret(_))
}

fn is_proxy(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;

    /// Who is asked for a family whose entry this is, in an environment, with these settings of the CLI.
    fn asked(
        family: &str,
        entry: &str,
        environment: &[(&str, &str)],
        settings: &str,
    ) -> Result<Option<String>, String> {
        let overrides =
            BTreeMap::from([(family.parse().expect("family"), serde_json::from_str(entry).expect("entry"))]);
        let families = Families::new(&overrides).expect("families");
        let spec = families.get(&family.parse().expect("family")).expect("spec");
        let mut map: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        map.insert("HOME".to_owned(), "/home/me".to_owned());
        for (name, source) in &spec.env {
            if let EnvSource::Literal(text) = source {
                map.insert(name.clone(), text.clone());
            }
        }
        let read = |path: &str| (path.starts_with("/home/me/.") && !settings.is_empty()).then(|| settings.to_owned());
        Ok(spec.asked(&map, read)?.map(|endpoint| endpoint.to_string()))
    }

    #[test]
    fn the_provider_is_that_of_who_pays() {
        let api = |key: &str| format!(r#"{{"auth":"api","env":{{"{key}":"k"}}}}"#);
        for (family, entry, expected) in [
            ("claude", "{}".to_owned(), Some("api.anthropic.com:443")),
            ("claude", api("ANTHROPIC_API_KEY"), Some("api.anthropic.com:443")),
            ("claude", r#"{"auth":"local"}"#.to_owned(), None),
            ("codex", "{}".to_owned(), Some("chatgpt.com:443")),
            ("codex", api("OPENAI_API_KEY"), Some("api.openai.com:443")),
            ("gemini", "{}".to_owned(), Some("cloudcode-pa.googleapis.com:443")),
            ("gemini", api("GEMINI_API_KEY"), Some("generativelanguage.googleapis.com:443")),
            ("script", "{}".to_owned(), None),
            ("check", "{}".to_owned(), None),
        ] {
            assert_eq!(asked(family, &entry, &[], "").expect(family).as_deref(), expected, "{family} {entry}");
        }
    }

    #[test]
    fn an_address_of_ones_own_takes_its_place_and_what_is_not_known_is_not_asked() {
        let of =
            |entry: &str, environment: &[(&str, &str)], settings: &str| asked("claude", entry, environment, settings);
        let base = r#"{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:8080/x"}}"#;
        assert_eq!(of(base, &[], "").expect("asked").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(
            of(r#"{"auth":"local","env":{"ANTHROPIC_BASE_URL":"http://h"}}"#, &[], "").expect("asked").as_deref(),
            Some("h:80")
        );
        assert_eq!(of(r#"{"env":{"ANTHROPIC_BASE_URL":"env:URL"}}"#, &[], ""), Ok(None));
        assert_eq!(of(r#"{"endpoint":"none"}"#, &[], ""), Ok(None));
        assert_eq!(of(r#"{"endpoint":"h:1","command":["x"]}"#, &[], "").expect("asked").as_deref(), Some("h:1"));
        assert_eq!(of(r#"{"command":["x"]}"#, &[], ""), Ok(None));
        assert_eq!(of("{}", &[("CLAUDE_CODE_USE_BEDROCK", "1")], ""), Ok(None));
        assert_eq!(of("{}", &[], r#"{"env":{"ANTHROPIC_BASE_URL":"x"}}"#), Ok(None));
        assert_eq!(of("{}", &[], "{}").expect("asked").as_deref(), Some("api.anthropic.com:443"));
        assert_eq!(asked("codex", "{}", &[], "model_provider = \"mock\""), Ok(None));
        assert_eq!(of("{}", &[("HTTPS_PROXY", "http://p:3128")], "").expect("asked").as_deref(), Some("p:3128"));
        assert_eq!(of(r#"{"env":{"HTTPS_PROXY":"env:P"}}"#, &[], ""), Ok(None));
        let why = of(r#"{"env":{"ANTHROPIC_BASE_URL":"hunter2"}}"#, &[], "").expect_err("no address");
        assert!(why.contains("ANTHROPIC_BASE_URL") && !why.contains("hunter2"), "{why}");
    }
}
