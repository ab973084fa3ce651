//! The settings of the operator and the repository, read as data. Reading them starts no program that they name.

use super::commit::Signature;

/// The settings that decide what bytes a faithful checkout has. Everything else in a repository's configuration is
/// left out of our own git dir, above all whatever names a program.
const FAITHFUL: &[(&str, &[&str])] = &[
    ("core.filemode", BOOL),
    ("core.symlinks", BOOL),
    ("core.ignorecase", BOOL),
    ("core.precomposeunicode", BOOL),
    ("core.autocrlf", &["true", "false", "input"]),
    ("core.eol", &["lf", "crlf", "native"]),
];
const BOOL: &[&str] = &["true", "false"];

/// The settings that anything else here goes by.
const USED: [&str; 6] =
    ["core.worktree", "extensions.objectformat", "user.name", "user.email", "committer.name", "committer.email"];

/// How the repository names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 40 digits, the default.
    Sha1,
    /// 64 digits.
    Sha256,
}

/// Every setting in force, in the order git read them: the last one of a name holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    /// From `git config --list -z`: name, newline, value, NUL. A name without a value means true.
    pub(super) fn parse(listing: &[u8]) -> Self {
        let entries = listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        Self(
            entries
                .map(|entry| {
                    let text = String::from_utf8_lossy(entry);
                    match text.split_once('\n') {
                        Some((name, value)) => (name.to_owned(), value.to_owned()),
                        None => (text.into_owned(), "true".to_owned()),
                    }
                })
                .collect(),
        )
    }

    /// Those that were remembered.
    pub(super) fn of(settings: Vec<(String, String)>) -> Self {
        Self(settings)
    }

    /// Those that anything here goes by. The others may hold what nobody else should read, such as tokens.
    pub(super) fn used(&self) -> Vec<(String, String)> {
        let is_used = |name: &str| {
            let filter = name.strip_prefix("filter.").and_then(|name| name.rsplit_once('.'));
            USED.contains(&name) || FAITHFUL.iter().any(|(known, _)| *known == name) || filter.is_some_and(is_program)
        };
        self.0.iter().filter(|(name, _)| is_used(name)).cloned().collect()
    }

    /// Whether other files are named that are read as well.
    pub(super) fn includes(&self) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with("include.") || name.starts_with("includeif."))
    }

    /// The value of a setting; section and name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The object format of the repository.
    pub(super) fn object_format(&self) -> ObjectFormat {
        match self.get("extensions.objectformat") {
            Some("sha256") => ObjectFormat::Sha256,
            _ => ObjectFormat::Sha1,
        }
    }

    /// Whether the repository's file system takes `A` and `a` for one name.
    pub(super) fn folds_case(&self) -> bool {
        self.get("core.ignorecase").is_some_and(|value| normal(value) == "true")
    }

    /// The configuration of our own git dir: the object format, and what a faithful checkout needs.
    pub(super) fn plain_config(&self) -> String {
        let sha256 = self.object_format() == ObjectFormat::Sha256;
        // What moves our own refs is of no interest, and a log of it would grow for ever.
        let mut text = format!(
            "[core]\n\trepositoryformatversion = {}\n\tbare = false\n\tlogallrefupdates = false\n",
            u8::from(sha256)
        );
        for (name, allowed) in FAITHFUL {
            let value = self.get(name).map(normal);
            if let (Some(value), Some(name)) = (value, name.strip_prefix("core."))
                && allowed.contains(&value.as_str())
            {
                text.extend(["\t", name, " = ", &value, "\n"]);
            }
        }
        if sha256 {
            text.push_str("[extensions]\n\tobjectformat = sha256\n");
        }
        text
    }

    /// The names of the configured filters that would run a program.
    pub(super) fn filters(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .0
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, _)| {
                let filter = name.strip_prefix("filter.")?.rsplit_once('.')?;
                is_program(filter).then(|| filter.0.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whom git would name as committer.
    pub(super) fn committer(&self) -> Option<Signature> {
        let first = |own, general| self.get(own).or_else(|| self.get(general));
        Signature::new(first("committer.name", "user.name")?, first("committer.email", "user.email")?)
    }
}

/// Whether this is a filter's setting that names a program.
fn is_program((_, what): (&str, &str)) -> bool {
    matches!(what, "clean" | "smudge" | "process")
}

fn normal(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "1" => "true".to_owned(),
        "no" | "off" | "0" | "" => "false".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_faithful_checkout_needs_is_carried_over() {
        let settings = Settings::parse(
            b"core.autocrlf\nyes\0core.fsmonitor\n/bin/evil\0core.filemode\0core.eol\nx\n[core]\n\thooksPath = /evil\0\
              filter.lfs.clean\ngit-lfs clean\0filter.lfs.required\ntrue\0extensions.objectformat\nsha256\0",
        );
        assert_eq!(
            settings.plain_config(),
            "[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tlogallrefupdates = false\n\
             \tfilemode = true\n\tautocrlf = true\n[extensions]\n\tobjectformat = sha256\n"
        );
        assert_eq!(settings.filters(), ["lfs"]);
    }

    #[test]
    fn the_last_value_of_a_name_holds_and_the_committer_has_his_own() {
        let settings = Settings::parse(b"user.name\nA\0user.email\na@x\0user.name\nB\0committer.email\nc@x\0");
        assert_eq!(settings.committer(), Signature::new("B", "c@x"));
        assert_eq!(Settings::parse(b"user.name\nA\0").committer(), None);
    }
}
