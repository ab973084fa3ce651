//! Patterns over a repository's paths, and the question whether two paths may be one file.
//!
//! What is protected has to stay so on every machine that the repository is checked out on, and some file systems tell
//! neither `README` from `readme` nor one way to write `é` from another. What is compared here are therefore *folded*
//! paths, never bytes.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a pattern of paths: {why}")]
pub struct PatternError {
    pattern: String,
    why: String,
}

/// Some patterns. Each means what it matches and, where that is a folder, all that lies in it. `*` and `?` stay within
/// one component of a path, `**` does not.
#[derive(Debug, Clone)]
pub struct PathPatterns {
    patterns: Vec<String>,
    set: GlobSet,
}

impl PathPatterns {
    /// Patterns from their texts.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, PatternError> {
        let fault = |pattern: &str, error: &globset::Error| PatternError {
            pattern: pattern.to_owned(),
            why: error.kind().to_string(),
        };
        let mut patterns = Vec::new();
        let mut set = GlobSetBuilder::new();
        for text in texts {
            let folded = fold(text.trim_end_matches('/'));
            let glob = GlobBuilder::new(&folded).literal_separator(true).backslash_escape(true).build();
            set.add(glob.map_err(|error| fault(text, &error))?);
            patterns.push(text.to_owned());
        }
        let all = patterns.join(", ");
        Ok(Self { set: set.build().map_err(|error| fault(&all, &error))?, patterns })
    }

    /// The first pattern that means this path or a folder above it.
    pub fn matching(&self, path: &str) -> Option<&str> {
        let folded = fold(path.trim_end_matches('/'));
        let ends = folded.match_indices('/').map(|(at, _)| at).chain([folded.len()]);
        let first = ends.filter_map(|end| self.set.matches(&folded[..end]).into_iter().min()).min()?;
        self.patterns.get(first).map(String::as_str)
    }

    /// The first pattern that means this path and, where it is a folder (with a `/` at its end), everything that could
    /// ever lie in it.
    pub fn covering(&self, path: &str) -> Option<&str> {
        let Some(folder) = path.strip_suffix('/') else { return self.matching(path) };
        // `docs/**` matches every file below `docs`, and not the folder itself.
        let all_below =
            |pattern: &&String| pattern.strip_suffix("/**").is_some_and(|above| fold(above) == fold(folder));
        self.matching(folder).or_else(|| self.patterns.iter().find(all_below).map(String::as_str))
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// A path without what some file system does not see: case, the way in which a letter and its accents are put
/// together, and characters without width.
#[must_use]
pub fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let visible = path.nfd().filter(|c| !is_ignorable(*c)).collect::<String>();
    // Through capitals and back, because `ſ` and `ß` have no lower case but themselves.
    visible.to_uppercase().to_lowercase().nfc().collect()
}

/// The characters that HFS+ leaves out when it compares names; git refuses `.git` with any of them for that reason.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_it_matches_and_all_below() {
        for (pattern, path, meant) in [
            ("stage-cards/", "stage-cards/01-a.md", true),
            ("stage-cards", "stage-cards/deep/er.md", true),
            ("stage-cards", "stage-cards.md", false),
            (".autometta.yaml", ".autometta.yaml", true),
            (".autometta.yaml", "sub/.autometta.yaml", false),
            (".autometta.yaml", ".AutoMetta.YAML", true),
            ("docs/*.md", "docs/a.md", true),
            ("docs/*.md", "docs/a/b.md", false),
            ("docs/**/*.md", "docs/a/b.md", true),
            ("docs/**", "docs/a/b", true),
            ("**/secret", "a/b/secret/c", true),
            ("caf\u{e9}/", "Cafe\u{301}/menu", true),
            ("src/straße", "SRC/STRASSE", true),
            ("a", "a\u{200d}", true),
        ] {
            let patterns = PathPatterns::new([pattern]).expect(pattern);
            assert_eq!(patterns.matching(path).is_some(), meant, "{pattern} over {path}");
        }
        assert!(PathPatterns::new(["a[b"]).expect_err("no pattern").to_string().contains("a[b"));
    }

    #[test]
    fn a_folder_is_covered_only_whole() {
        for (pattern, path, covered) in [
            ("docs", "docs/", true),
            ("docs", "docs/api/", true),
            ("docs/**", "docs/", true),
            ("docs/*.md", "docs/", false),
            ("docs/*.md", "docs/a.md", true),
            ("docs", "src/", false),
        ] {
            let patterns = PathPatterns::new([pattern]).expect(pattern);
            assert_eq!(patterns.covering(path).is_some(), covered, "{pattern} over {path}");
        }
    }
}
