//! Whether a command line starts a tick, and of which home: for finding timers that somebody else made.
//!
//! This reads shell text the way a person skims it: words, quotes, variables that are known, `env`, `sh -c '…'`, and
//! scripts one level deep. It does not run anything, and where a home cannot be told it says so instead of guessing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::search;

/// How deep commands within commands are followed: `sh -c` in a script.
const DEPTH: usize = 3;
/// Scripts that are longer are no wrappers of a tick.
const LONGEST_SCRIPT: u64 = 64 * 1024;

/// The home that a command ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This one.
    Home(PathBuf),
    /// It depends on what is known only when the command runs.
    Unclear,
}

/// This program, to be recognised under other names.
#[derive(Debug)]
pub(super) struct Program<'a> {
    exe: &'a Path,
}

impl<'a> Program<'a> {
    /// The program at this path, which has no links in it.
    pub(super) fn new(exe: &'a Path) -> Self {
        Self { exe }
    }

    /// Whether a word names it: by its name, by a link to it, or by a copy of it.
    fn is(&self, word: &str, path: &str) -> bool {
        let found = if word.contains('/') { Some(PathBuf::from(word)) } else { search::find(word, OsStr::new(path)) };
        if Path::new(word).file_name() == Some(OsStr::new("autometta")) {
            // `make -C /srv/autometta tick` names a folder.
            return !found.is_some_and(|found| found.is_dir());
        }
        found.is_some_and(|found| self.is_same(&found))
    }

    /// Whether this file is the program, or has the same bytes.
    pub(super) fn is_same(&self, other: &Path) -> bool {
        let Ok(real) = fs::canonicalize(other) else { return false };
        if real == self.exe {
            return true;
        }
        let length = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|meta| meta.len());
        let (ours, theirs) = (length(self.exe), length(&real));
        ours.is_some()
            && ours == theirs
            && matches!((fs::read(self.exe), fs::read(&real)), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

/// The variables that a command finds when it starts.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The variables of a job of a user with this folder of their own.
    pub(super) fn of(home: Option<&Path>) -> Self {
        let mut variables = Self(BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]));
        if let Some(home) = home {
            variables.set("HOME", &home.to_string_lossy());
        }
        variables
    }

    /// Sets one.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn target(&self) -> Target {
        let home = match self.get("AUTOMETTA_HOME").filter(|home| !home.is_empty()) {
            Some(home) => Some(PathBuf::from(home)),
            None => self.get("HOME").map(|home| Path::new(home).join(".autometta")),
        };
        let is_clear = |home: &PathBuf| home.is_absolute() && !home.to_string_lossy().contains(['$', '`']);
        home.filter(is_clear).map_or(Target::Unclear, Target::Home)
    }
}

/// The home that this shell text ticks; none where it starts no tick.
pub(super) fn of_text(text: &str, variables: &Variables, program: &Program) -> Option<Target> {
    within(text, &mut variables.clone(), program, DEPTH)
}

/// The same for a command that is a list of words, as launchd has it.
pub(super) fn of_words(words: &[String], variables: &Variables, program: &Program) -> Option<Target> {
    simple(words, &mut variables.clone(), program, DEPTH)
}

fn within(text: &str, variables: &mut Variables, program: &Program, depth: usize) -> Option<Target> {
    let mut reader = Reader { rest: text.chars().peekable() };
    while let Some(words) = reader.command(variables) {
        if let Some(target) = simple(&words, variables, program, depth) {
            return Some(target);
        }
    }
    None
}

/// One command without operators. What it assigns stays set: `export X=1; …` is common, `X=1 a; b` is not.
fn simple(words: &[String], variables: &mut Variables, program: &Program, depth: usize) -> Option<Target> {
    for (index, word) in words.iter().enumerate() {
        // Behind `sh -c`, `bash -lc` and their like stands a command, which may well begin with an assignment.
        let is_text = index > 0 && words[index - 1].starts_with('-') && words[index - 1].ends_with('c');
        if let Some((name, value)) = assignment(word).filter(|_| !is_text) {
            variables.set(name, value);
            continue;
        }
        let rest = &words[index + 1..];
        let path = variables.get("PATH").unwrap_or_default();
        // With `--plan` it only looks.
        let ticks = rest.iter().any(|arg| arg == "tick") && !rest.iter().any(|arg| arg == "--plan");
        if ticks && program.is(word, path) {
            return Some(variables.target());
        }
        if depth == 0 {
            continue;
        }
        let inner = if word.contains(char::is_whitespace) { Some(word.clone()) } else { script(word) };
        if let Some(target) = inner.and_then(|inner| within(&inner, &mut variables.clone(), program, depth - 1)) {
            return Some(target);
        }
    }
    None
}

/// `NAME=value`
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    (begins && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')).then_some((name, value))
}

/// The text of a script that a word names.
fn script(word: &str) -> Option<String> {
    if !word.starts_with('/') {
        return None;
    }
    let mut file = fs::File::open(word).ok()?;
    let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= LONGEST_SCRIPT)?;
    let mut text = String::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.read_to_string(&mut text).ok()?;
    text.starts_with("#!").then_some(text)
}

/// Reads shell text command by command.
struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Reader<'_> {
    /// The words of the next command; none at the end of the text. Redirections are left out.
    fn command(&mut self, variables: &Variables) -> Option<Vec<String>> {
        let mut words = Vec::new();
        let mut is_target = false;
        loop {
            match self.rest.peek().copied() {
                None if words.is_empty() => return None,
                None => return Some(words),
                Some(';' | '&' | '|' | '(' | ')' | '\n') => {
                    self.rest.next();
                    if !words.is_empty() {
                        return Some(words);
                    }
                }
                Some('#') => while self.rest.next_if(|letter| *letter != '\n').is_some() {},
                Some('<' | '>') => {
                    while self.rest.next_if(|letter| "<>&|".contains(*letter)).is_some() {}
                    // The number of a descriptor is no word: `2>>file`.
                    words.pop_if(|word: &mut String| word.chars().all(|letter| letter.is_ascii_digit()));
                    is_target = true;
                }
                Some(letter) if letter.is_whitespace() => drop(self.rest.next()),
                Some(_) => {
                    let word = self.word(variables);
                    if !std::mem::take(&mut is_target) {
                        words.push(word);
                    }
                }
            }
        }
    }

    fn word(&mut self, variables: &Variables) -> String {
        let mut word = String::new();
        while let Some(letter) = self.rest.next_if(|letter| !letter.is_whitespace() && !";&|()<>".contains(*letter)) {
            match letter {
                '\'' => word.extend(std::iter::from_fn(|| self.rest.next().filter(|letter| *letter != '\''))),
                '"' => self.double_quoted(&mut word, variables),
                '\\' => word.extend(self.rest.next().filter(|letter| *letter != '\n')),
                '$' => self.variable(&mut word, variables),
                '~' if (word.is_empty() || word.ends_with(['=', ':'])) && self.at_tilde_end() => {
                    word.push_str(variables.get("HOME").unwrap_or("~"));
                }
                letter => word.push(letter),
            }
        }
        word
    }

    fn at_tilde_end(&mut self) -> bool {
        self.rest.peek().is_none_or(|letter| *letter == '/' || letter.is_whitespace())
    }

    fn double_quoted(&mut self, word: &mut String, variables: &Variables) {
        while let Some(letter) = self.rest.next().filter(|letter| *letter != '"') {
            match letter {
                '\\' => match self.rest.next() {
                    Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                    Some('\n') | None => {}
                    Some(next) => word.extend(['\\', next]),
                },
                '$' => self.variable(word, variables),
                letter => word.push(letter),
            }
        }
    }

    /// A variable that is known becomes its value; anything else stays as it is written.
    fn variable(&mut self, word: &mut String, variables: &Variables) {
        let braced = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
            name.push(letter);
        }
        let closed = !braced || self.rest.next_if_eq(&'}').is_some();
        match variables.get(&name).filter(|_| closed) {
            Some(value) => word.push_str(value),
            None => word.push_str(&format!(
                "${}{name}{}",
                if braced { "{" } else { "" },
                if braced && closed { "}" } else { "" }
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::prelude::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A folder with our program, a link to it, a copy of it, something else, and two scripts.
    fn folder() -> assert_fs::TempDir {
        let dir = assert_fs::TempDir::new().expect("dir");
        dir.child("bin/am").write_str("our program").expect("file");
        dir.child("bin/copied").write_str("our program").expect("file");
        dir.child("bin/other").write_str("another one").expect("file");
        symlink(dir.path().join("bin/am"), dir.path().join("bin/night")).expect("link");
        for (name, text) in [
            ("wrapper", "#!/bin/sh\n# fires it\nexport AUTOMETTA_HOME=\"$HOME/second\"\nexec autometta tick\n"),
            ("talks", "#!/bin/sh\n# autometta tick is what this does not do\necho 'autometta' is fine\n"),
        ] {
            dir.child("bin").child(name).write_str(text).expect("file");
        }
        for name in ["am", "copied", "other", "wrapper", "talks"] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join("bin").join(name), mode).expect("mode");
        }
        dir
    }

    #[test]
    fn ticks_are_recognised_however_they_are_written() {
        let dir = folder();
        let exe = dir.path().join("bin/am").canonicalize().expect("path");
        let bin = exe.parent().expect("folder").display().to_string();
        let usual = || Some(Target::Home(PathBuf::from("/home/you/.autometta")));
        let at = |home: &str| Some(Target::Home(PathBuf::from(home)));
        let mut variables = Variables::of(Some(Path::new("/home/you")));
        for (text, expected) in [
            ("autometta tick", usual()),
            ("/opt/autometta tick >/dev/null 2>&1", usual()),
            ("cd /srv && nice -n 10 autometta --repo /srv/x tick --json", usual()),
            ("env -i A=1 autometta tick", usual()),
            ("AUTOMETTA_HOME=/other autometta tick", at("/other")),
            ("AUTOMETTA_HOME=\"$HOME/x y\" autometta tick", at("/home/you/x y")),
            ("AUTOMETTA_HOME=~/x autometta tick", at("/home/you/x")),
            ("export AUTOMETTA_HOME=/other; autometta tick", at("/other")),
            ("AUTOMETTA_HOME=$SOMEWHERE autometta tick", Some(Target::Unclear)),
            ("AUTOMETTA_HOME=`pwd` autometta tick", Some(Target::Unclear)),
            ("HOME=/root autometta tick", at("/root/.autometta")),
            ("sh -c 'AUTOMETTA_HOME=/other exec autometta tick'", at("/other")),
            ("bash -lc \"flock -n /tmp/l sh -c 'autometta tick'\"", usual()),
            ("BIN/night tick", usual()),
            ("BIN/copied tick", usual()),
            ("PATH=BIN:/bin copied tick", usual()),
            ("BIN/wrapper", at("/home/you/second")),
            ("BIN/other tick", None),
            ("BIN/talks", None),
            ("autometta tick --plan", None),
            ("autometta status", None),
            ("echo autometta; echo tick", None),
            ("# autometta tick", None),
            ("make -C /usr tick", None),
            ("echo \"never closed", None),
            ("", None),
        ] {
            let text = text.replace("BIN", &bin);
            assert_eq!(of_text(&text, &variables, &Program::new(&exe)), expected, "{text}");
        }
        dir.child("autometta/Makefile").write_str("tick:\n").expect("file");
        let text = format!("make -C {} tick", dir.path().join("autometta").display());
        assert_eq!(of_text(&text, &variables, &Program::new(&exe)), None, "a folder of that name");
        variables.set("AUTOMETTA_HOME", "/set/before");
        assert_eq!(of_text("autometta tick", &variables, &Program::new(&exe)), at("/set/before"));
        let words = ["/bin/sh", "-c", "autometta tick"].map(str::to_owned);
        assert_eq!(of_words(&words, &Variables::default(), &Program::new(&exe)), Some(Target::Unclear));
    }
}
