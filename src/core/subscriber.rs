//! `subscribers/<slug>.yaml`: a repository that the timer serves.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fault::Faults;

/// The longest readable part of a slug, in characters.
const MAX_NAME: usize = 40;
/// Bytes of the path's hash in a slug: with 32 bits, two of a thousand repositories meet once in ten thousand homes.
const HASH_BYTES: usize = 4;

/// One repository that `tick` serves when it is not told which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// The repository's absolute path.
    pub repo_path: PathBuf,
    /// Its place in the order: lower comes first. Default 100.
    #[serde(default = "default_weight")]
    pub weight: i64,
    /// Whether it is served. Default true.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
}

fn default_weight() -> i64 {
    100
}

fn default_enabled() -> bool {
    true
}

impl Subscriber {
    /// A subscriber with the default weight, served.
    pub fn new(repo_path: impl Into<PathBuf>) -> Self {
        Self { repo_path: repo_path.into(), weight: default_weight(), enabled: default_enabled() }
    }

    /// What is wrong beyond the shape. Places are JSON pointers.
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::default();
        if !self.repo_path.is_absolute() {
            let message = format!("`{}` is not an absolute path", self.repo_path.display());
            faults.add(None, "/repo_path", message);
        }
        faults
    }
}

/// The name of a subscriber's file, without `.yaml`: `greeter-1f2e3d4c`.
///
/// It is readable, safe as a file name everywhere, and different for different paths that end alike. The same path
/// always has the same slug, so subscribing twice finds the first subscription; the caller makes the path canonical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// The slug of the repository at this path.
    pub fn of(repo_path: &Path) -> Self {
        let name = repo_path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let mut slug = String::new();
        for letter in name.chars() {
            if slug.len() >= MAX_NAME {
                break;
            }
            if letter.is_ascii_alphanumeric() {
                slug.push(letter);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let mut slug = slug.trim_end_matches('-').to_owned();
        if slug.is_empty() {
            slug.push_str("repo");
        }
        slug.push('-');
        for byte in Sha256::digest(repo_path.as_os_str().as_encoded_bytes()).iter().take(HASH_BYTES) {
            // Writing into a String cannot fail.
            let _ = write!(slug, "{byte:02x}");
        }
        Self(slug)
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_readable_safe_and_different() {
        for (path, name) in [
            ("/home/ada/greeter", "greeter-"),
            ("/home/ada/My Repo (2)", "my-repo-2-"),
            ("/home/ada/.dotfiles", "dotfiles-"),
            ("/home/ada/日本", "repo-"),
            ("/", "repo-"),
            (
                "/home/ada/a-very-long-name-that-goes-on-and-on-and-on-for-ever",
                "a-very-long-name-that-goes-on-and-on-and-",
            ),
        ] {
            let slug = Slug::of(Path::new(path));
            assert!(slug.as_str().starts_with(name), "{slug}");
            assert!(slug.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{slug}");
            assert_eq!(slug, Slug::of(Path::new(path)));
        }
        assert_ne!(Slug::of(Path::new("/a/greeter")), Slug::of(Path::new("/b/greeter")));
        assert_ne!(Slug::of(Path::new("/a/日本")), Slug::of(Path::new("/a/中国")));
        assert_eq!(Slug::of(Path::new("/home/ada/greeter")).as_str(), "greeter-2ee19759");
    }

    #[test]
    fn only_the_path_is_required() {
        let short: Subscriber = serde_json::from_str(r#"{"repo_path":"/r"}"#).expect("subscriber");
        assert_eq!(short, Subscriber::new("/r"));
        assert!((short.weight, short.enabled) == (100, true) && short.validate().is_empty());
        assert!(serde_json::from_str::<Subscriber>(r#"{"repo_path":"/r","wight":1}"#).is_err());
        assert!(serde_json::from_str::<Subscriber>("{}").is_err());
        assert_eq!(Subscriber::new("r").validate().0[0].place, "/repo_path");
    }
}
