//! Starting git: a cleared environment, fixed options, a time limit, and nothing that a repository can redirect.
//!
//! Every git process of Autometta starts here. What the process is asked to do never stands here.
#![expect(clippy::disallowed_methods, reason = "this is the one place that starts git and reads PATH and HOME")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};

use super::error::GitError;
use super::pipes::{Came, Pipes};
use crate::fault;

/// How long one git command may take before it is killed.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How much of a failed command's words an error carries, in bytes.
const STDERR_TAIL: usize = 2000;

/// Options of every call. A command-line option outranks every configuration file, so these hold even where the
/// repository's own configuration has to be read.
///
/// `core.fsync`: objects and refs must survive a power cut; indexes can be built again. `batch` makes the many loose
/// objects of one capture cost one disk flush instead of one each.
const OPTIONS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "core.pager=cat",
    "core.fsync=committed,reference",
    "core.fsyncMethod=batch",
    "pack.compression=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "submodule.recurse=false",
    "log.showSignature=false",
];

/// Commands that change nothing.
const LOOKS: [&str; 10] =
    ["cat-file", "config", "diff-tree", "log", "ls-files", "ls-tree", "merge-base", "rev-list", "rev-parse", "version"];

/// The environment of every call, beside `PATH`. The identity is the one reflogs are written under.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", ":"),
    ("GIT_AUTHOR_NAME", "autometta"),
    ("GIT_AUTHOR_EMAIL", "autometta@local"),
    ("GIT_COMMITTER_NAME", "autometta"),
    ("GIT_COMMITTER_EMAIL", "autometta@local"),
];

/// A version of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Version {
    /// The oldest git that has everything used here: batched fsync came with 2.36, and 2.38 is what is tested from.
    pub const MINIMUM: Self = Self { major: 2, minor: 38 };
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = GitError;

    /// From what `git version` prints: `git version 2.47.3`, `git version 2.39.5 (Apple Git-154)`.
    fn from_str(text: &str) -> Result<Self, GitError> {
        let puzzling = || GitError::Puzzling { command: "git version", answer: text.to_owned() };
        let numbers = text.strip_prefix("git version ").ok_or_else(puzzling)?;
        let mut numbers = numbers.split('.').map(|part| part.trim().parse().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(puzzling()),
        }
    }
}

/// The git program, and how it is started.
#[derive(Debug)]
pub struct Git {
    program: OsString,
    /// Where it was found.
    found: OnceLock<OsString>,
    path: OsString,
    home: Vec<(&'static str, OsString)>,
    guard: Option<File>,
    limit: Duration,
    deadline: Option<Instant>,
    started: AtomicUsize,
}

impl Git {
    /// The `git` on this process's `PATH`. `HOME` is used only where the operator's own settings are wanted.
    pub fn from_environment() -> Self {
        let home = ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"]
            .into_iter()
            .filter_map(|name| env::var_os(name).map(|value| (name, value)))
            .collect();
        Self {
            program: "git".into(),
            found: OnceLock::new(),
            path: env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            home,
            guard: None,
            limit: TIME_LIMIT,
            deadline: None,
            started: AtomicUsize::new(0),
        }
    }

    /// With another home directory for the operator's settings.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Self {
        self.home = vec![("HOME", home.into())];
        self
    }

    /// With another program in place of `git`.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = program.into();
        self.found = OnceLock::new();
        self
    }

    /// With a file that every child which reads no input gets as its stdin. Handed the tick's lock file, it keeps
    /// the lock held until the last git of a killed tick is gone.
    #[must_use]
    pub fn with_guard(mut self, guard: File) -> Self {
        self.guard = Some(guard);
        self
    }

    /// With another time limit per command.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// With a moment at which every command ends, however long it might have taken.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// The program by its path; by its name where it is not found, so that its start says so.
    fn program(&self) -> &OsStr {
        self.found.get_or_init(|| locate(&self.program, &self.path).unwrap_or_else(|| self.program.clone()))
    }

    /// The files that the operator's own settings are read from, whether they exist or not.
    pub(super) fn settings_files(&self) -> Vec<PathBuf> {
        let value = |name: &str| {
            self.home
                .iter()
                .find(|(known, value)| *known == name && !value.is_empty())
                .map(|(_, value)| PathBuf::from(value))
        };
        if let Some(global) = value("GIT_CONFIG_GLOBAL") {
            return vec![global];
        }
        let home = value("HOME");
        let general = value("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let general = general.map(|folder| folder.join("git/config"));
        general.into_iter().chain(home.map(|home| home.join(".gitconfig"))).collect()
    }

    /// How many git processes were started so far.
    pub fn processes(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    /// The version of the installed git.
    pub fn version(&self) -> Result<Version, GitError> {
        let mut call = self.call(Path::new("/"));
        call.arg("version");
        call.run()?.text("git version")?.parse()
    }

    /// The version, where it is new enough.
    pub fn check(&self) -> Result<Version, GitError> {
        let found = self.version()?;
        if found < Version::MINIMUM { Err(GitError::TooOld { found }) } else { Ok(found) }
    }

    /// A call that runs in `dir`.
    pub(super) fn call(&self, dir: &Path) -> Call<'_> {
        Call {
            git: self,
            dir: dir.to_owned(),
            arguments: Vec::new(),
            environment: vec![("GIT_CONFIG_GLOBAL", "/dev/null".into())],
            input: None,
            fine: &[0],
            most: usize::MAX,
        }
    }
}

/// One git command being put together.
#[derive(Debug)]
#[must_use]
pub(super) struct Call<'g> {
    git: &'g Git,
    dir: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    input: Option<Vec<u8>>,
    fine: &'static [i32],
    most: usize,
}

/// What a git command said.
#[derive(Debug)]
pub(super) struct Said {
    /// Its exit code; zero where it was stopped for having said enough.
    pub(super) code: i32,
    /// Its output.
    pub(super) stdout: Vec<u8>,
    /// Its complaints.
    pub(super) stderr: String,
    /// Whether the output goes on after what is here.
    pub(super) cut: bool,
}

impl Said {
    /// The output as one line of text.
    pub(super) fn text(&self, command: &'static str) -> Result<&str, GitError> {
        std::str::from_utf8(&self.stdout)
            .map(str::trim_end)
            .map_err(|_| GitError::Puzzling { command, answer: String::from_utf8_lossy(&self.stdout).into_owned() })
    }
}

impl Call<'_> {
    /// One more argument.
    pub(super) fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub(super) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(&mut self, arguments: I) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable, in place of an earlier value.
    pub(super) fn env(&mut self, name: &'static str, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Lets this call read the operator's own settings.
    pub(super) fn with_operator_settings(&mut self) -> &mut Self {
        self.environment.retain(|(known, _)| *known != "GIT_CONFIG_GLOBAL");
        let home = self.git.home.clone();
        self.environment.extend(home);
        self
    }

    /// Gives the command this input; without it the command gets the guard file, or nothing.
    pub(super) fn input(&mut self, bytes: Vec<u8>) -> &mut Self {
        self.input = Some(bytes);
        self
    }

    /// The exit codes that are an answer and not a failure.
    pub(super) fn fine(&mut self, codes: &'static [i32]) -> &mut Self {
        self.fine = codes;
        self
    }

    /// Stops the command once it has said this many bytes.
    pub(super) fn most(&mut self, bytes: usize) -> &mut Self {
        self.most = bytes;
        self
    }

    fn words(&self) -> String {
        let words: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
        format!("git {}", words.join(" "))
    }

    fn stdin(&self) -> Result<Stdio, GitError> {
        match (&self.input, &self.git.guard) {
            (Some(_), _) => Ok(Stdio::piped()),
            (None, None) => Ok(Stdio::null()),
            (None, Some(guard)) => guard.try_clone().map(Stdio::from).map_err(|source| self.cannot_start(source)),
        }
    }

    fn cannot_start(&self, source: std::io::Error) -> GitError {
        GitError::CannotStart { dir: self.dir.clone(), source }
    }

    /// Runs the command to its end, or to its time limit.
    pub(super) fn run(&mut self) -> Result<Said, GitError> {
        let mut command = Command::new(self.git.program());
        for option in OPTIONS {
            command.args(["-c", option]);
        }
        command
            .args(&self.arguments)
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", &self.git.path)
            .envs(ENVIRONMENT.iter().copied())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(self.stdin()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        self.git.started.fetch_add(1, Ordering::Relaxed);
        // A git that only looks stands between the same two effects as its caller does.
        let looks = self.arguments.first().is_some_and(|word| LOOKS.iter().any(|look| word == look));
        let met =
            if looks { fault::point!("git.look", self.words()) } else { fault::point!("git.start", self.words()) };
        let child = met.and_then(|()| command.spawn()).map_err(|source| self.cannot_start(source))?;
        if !looks {
            let _ = fault::point!("git.wait", self.words());
        }
        let (status, said) = self.attend(child)?;
        let code = status.code();
        if said.cut || code.is_some_and(|code| self.fine.contains(&code)) {
            return Ok(Said { code: code.unwrap_or(0), ..said });
        }
        let end = match (code, status.signal()) {
            (Some(code), _) => format!("code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no code".to_owned(),
        };
        Err(GitError::Failed { command: self.words(), dir: self.dir.clone(), end, stderr: tail(&said.stderr) })
    }

    /// Feeds and drains a child, and kills its process group when its time is up.
    fn attend(&mut self, mut child: Child) -> Result<(ExitStatus, Said), GitError> {
        let begun = Instant::now();
        let limit =
            self.git.deadline.map_or(self.git.limit, |end| self.git.limit.min(end.saturating_duration_since(begun)));
        let deadline = begun + limit;
        let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
        let kill = || {
            // It may be gone already, which is what is wanted.
            fault::point!("git.kill").ok().and(group).map(|group| killpg(group, Signal::SIGKILL).ok());
        };
        // One that was not given all of its input has answered another question.
        let moved = Pipes::of(&mut child, self.input.take()).and_then(|mut pipes| {
            let came = pipes.run(self.most, Some(deadline))?;
            if came != Came::ToItsEnd {
                kill();
                // Whatever of it cannot be killed may still write: nobody goes on beside it.
                pipes.run(usize::MAX, None)?;
            }
            Ok((came, pipes.out, pipes.err))
        });
        if moved.is_err() {
            kill();
        }
        let mut timed_out = matches!(moved, Ok((Came::TooLate, ..)));
        // Its pipes are closed: it has ended, or is about to.
        let mut pause = Duration::from_micros(50);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|source| self.cannot_start(source))? {
                break status;
            }
            if Instant::now() >= deadline {
                timed_out = true;
                kill();
                break child.wait().map_err(|source| self.cannot_start(source))?;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        if timed_out {
            return Err(GitError::TimedOut { command: self.words(), dir: self.dir.clone(), limit });
        }
        let (_, out, err) = moved.map_err(|source| self.cannot_start(source))?;
        let most = self.most;
        let cut = out.len() > most;
        let stdout = if cut { out[..most].to_vec() } else { out };
        Ok((status, Said { code: 0, stdout, stderr: String::from_utf8_lossy(&err).into_owned(), cut }))
    }
}

/// Where a program is, as `execvp` finds it; folders that are relative to whatever the child works in are not looked at.
/// One that is named by its path starts without a copy of this process: a lookup in another `PATH` than our own needs one.
fn locate(program: &OsStr, path: &OsStr) -> Option<OsString> {
    if Path::new(program).components().count() > 1 {
        return None;
    }
    let places = env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
    let runs = |file: &PathBuf| file.is_file() && access(file, AccessFlags::X_OK).is_ok();
    places.into_iter().find(runs).map(PathBuf::into_os_string)
}

/// The end of a text, cut at a character.
fn tail(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(STDERR_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_vendors_print_them() {
        for (text, version) in [
            ("git version 2.47.3", Version { major: 2, minor: 47 }),
            ("git version 2.39.5 (Apple Git-154)", Version { major: 2, minor: 39 }),
            ("git version 2.38.GIT", Version { major: 2, minor: 38 }),
        ] {
            assert_eq!(text.parse::<Version>().expect(text), version);
        }
        assert!("git 2.47".parse::<Version>().is_err());
        assert!("git version two".parse::<Version>().is_err());
    }

    #[test]
    fn the_tail_of_a_text_is_cut_at_a_character() {
        assert_eq!(tail(" short \n"), "short");
        assert_eq!(tail(&"é".repeat(2000)).len(), 2000);
    }
}
