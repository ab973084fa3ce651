//! The weather before spending: where a family's provider is reached, whether it answers, and how long to wait where it
//! does not.
//!
//! Who asks the network is `runs/`; here is which address is asked, and what its answer is called.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A host and a port that a connection is made to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// Whether its address says that it is spoken to in the clear; it decides which proxy stands before it.
    plain: bool,
    /// The name or the address; one of version 6 without its brackets.
    host: String,
    port: u16,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint such as `https://api.example.com` or `127.0.0.1:8080`")]
pub struct EndpointError(String);

impl Endpoint {
    /// One that is spoken to under TLS.
    pub fn secure(host: &str, port: u16) -> Self {
        Self { plain: false, host: host.to_owned(), port }
    }

    /// The name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is this machine itself.
    fn is_loopback(&self) -> bool {
        let is_number = self.host.chars().all(|c| c.is_ascii_digit() || c == '.');
        self.host.eq_ignore_ascii_case("localhost")
            || self.host == "::1"
            || (is_number && self.host.starts_with("127."))
    }

    /// Whether a `NO_PROXY` list excepts it from proxies: by `*`, its name, or a domain above it.
    fn is_excepted(&self, list: &str) -> bool {
        let host = self.host.to_ascii_lowercase();
        list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
            |entry| {
                let (name, port) = match entry.rsplit_once(':') {
                    Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
                    _ => (entry.as_str(), None),
                };
                let name = name.trim_start_matches("*.").trim_start_matches('.');
                let same =
                    name == "*" || host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
                same && port.is_none_or(|port| port == self.port)
            },
        )
    }

    /// What is asked in its place: the proxy that this environment puts before it, else itself.
    ///
    /// # Errors
    /// The variable that holds a proxy which is no address.
    pub fn route(&self, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let value = |name: &str| environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let either = |low: &'static str, high: &'static str| {
            value(low).map(|text| (low, text)).or_else(|| value(high).map(|text| (high, text)))
        };
        let excepted = either("no_proxy", "NO_PROXY").is_some_and(|(_, list)| self.is_excepted(list));
        if excepted || self.is_loopback() {
            return Ok(self.clone());
        }
        let own = if self.plain { either("http_proxy", "HTTP_PROXY") } else { either("https_proxy", "HTTPS_PROXY") };
        match own.or_else(|| either("all_proxy", "ALL_PROXY")) {
            None => Ok(self.clone()),
            // Its value may hold a password, and is not repeated.
            Some((name, text)) => {
                text.parse().map_err(|_: EndpointError| format!("{name} is not the address of a proxy"))
            }
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads a URL or `host:port`. What a URL says beside host and port is left out.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = || EndpointError(text.to_owned());
        let (scheme, rest) = match text.trim().split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text.trim()),
        };
        let default = match scheme.as_deref() {
            None => None,
            Some("https") => Some(443),
            Some("http") => Some(80),
            Some("socks" | "socks4" | "socks4a" | "socks5" | "socks5h") => Some(1080),
            Some(_) => return Err(fail()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(fail)?;
                (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")).ok_or_else(fail)?)
            }
            None => place.split_once(':').unwrap_or((place, "")),
        };
        let port = if port.is_empty() { default } else { port.parse().ok() };
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        match port {
            Some(port) if port > 0 && !host.is_empty() && host.chars().all(fits) => {
                Ok(Self { plain: scheme.as_deref() == Some("http"), host: host.to_owned(), port })
            }
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a family's provider is reached, as the manifest says it: an address, or `none` for a family that is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EndpointRule {
    /// Nobody is asked.
    Nobody,
    /// This endpoint is.
    At(Endpoint, String),
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        let scheme = if endpoint.plain { "http://" } else { "https://" };
        format!("{scheme}{endpoint}")
    }
}

impl TryFrom<String> for EndpointRule {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        if text.trim() == "none" { Ok(Self::Nobody) } else { Ok(Self::At(text.parse()?, text)) }
    }
}

impl From<EndpointRule> for String {
    fn from(rule: EndpointRule) -> Self {
        match rule {
            EndpointRule::Nobody => "none".to_owned(),
            EndpointRule::At(_, text) => text,
        }
    }
}

impl JsonSchema for EndpointRule {
    fn schema_name() -> Cow<'static, str> {
        "EndpointRule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "an address such as `https://api.example.com` or `127.0.0.1:8080`, or `none`"
        })
    }
}

/// What came of asking for a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weather {
    /// It answers, or there is nobody to ask.
    Fair,
    /// It does not; the text says what was asked and what came of it.
    Offline(String),
}

/// How long to put a family off that has been unreachable since then: a minute at first, then as long again as it has
/// been already, half an hour at most.
pub fn patience(since: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    now.signed_duration_since(since).clamp(TimeDelta::minutes(1), TimeDelta::minutes(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_are_read_down_to_host_and_port() {
        for (text, shown) in [
            ("https://api.anthropic.com", "api.anthropic.com:443"),
            ("http://localhost/v1", "localhost:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://user:p%40ss@proxy.example:3128/", "proxy.example:3128"),
            ("https://[::1]:8443/x", "[::1]:8443"),
            ("https://[2001:db8::1]", "[2001:db8::1]:443"),
            ("socks5h://127.0.0.1", "127.0.0.1:1080"),
        ] {
            assert_eq!(endpoint(text).to_string(), shown);
            assert_eq!(endpoint(&String::from(endpoint(text))).to_string(), shown);
        }
        for text in [
            "",
            "api.example.com",
            "ftp://a",
            "https://",
            "a:0",
            "a:99999",
            "[::1:80",
            "https://[::1]x",
            "a b:80",
            "https://a:b",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_asked_in_place_of_what_is_behind_it() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(&str, Pairs<'_>, &str)] = &[
            ("https://api.x.com", &[], "api.x.com:443"),
            ("https://api.x.com", &[("HTTPS_PROXY", "http://p:3128")], "p:3128"),
            ("https://api.x.com", &[("HTTPS_PROXY", "http://p:3128"), ("https_proxy", "q:1")], "q:1"),
            ("https://api.x.com", &[("HTTPS_PROXY", " ")], "api.x.com:443"),
            ("https://api.x.com", &[("HTTP_PROXY", "p:1")], "api.x.com:443"),
            ("http://api.x.com", &[("HTTP_PROXY", "p:1"), ("HTTPS_PROXY", "q:1")], "p:1"),
            ("http://api.x.com", &[("ALL_PROXY", "socks5://s")], "s:1080"),
            ("https://api.x.com", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "a, .x.com")], "api.x.com:443"),
            ("https://api.x.com", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "*")], "api.x.com:443"),
            ("https://api.x.com", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "api.x.com:80")], "p:1"),
            ("https://api.x.com", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "i.x.com")], "p:1"),
            ("http://127.0.0.1:8080", &[("HTTP_PROXY", "p:1")], "127.0.0.1:8080"),
        ];
        for (text, environment, asked) in cases {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let environment = environment.iter().map(pair).collect();
            assert_eq!(endpoint(text).route(&environment).expect(text).to_string(), *asked, "{text} {environment:?}");
        }
        let secret = BTreeMap::from([("HTTPS_PROXY".to_owned(), "hunter2".to_owned())]);
        let why = endpoint("https://a").route(&secret).expect_err("no address");
        assert!(why.contains("HTTPS_PROXY") && !why.contains("hunter2"), "{why}");
    }

    #[test]
    fn patience_doubles_up_to_half_an_hour() {
        let since = DateTime::UNIX_EPOCH;
        let mut now = since;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = patience(since, now);
            waits.push(wait.num_minutes());
            now += wait;
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_rule_is_an_address_or_none() {
        assert_eq!(EndpointRule::try_from("none".to_owned()), Ok(EndpointRule::Nobody));
        assert!(matches!(EndpointRule::try_from("h:1".to_owned()), Ok(EndpointRule::At(..))));
        assert!(EndpointRule::try_from("nobody".to_owned()).is_err());
    }
}
