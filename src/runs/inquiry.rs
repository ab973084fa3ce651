//! Asking a program a short question, such as `--version`: with a given environment, no input, and a time limit.
//!
//! What is asked must change nothing and cost nothing; agents are started by supervisors, never here.

#![expect(clippy::disallowed_methods, reason = "runs/ starts programs and passes on allow-listed variables")]

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::program::{Environment, find, unblocked};
use crate::fault;

/// The most that is kept of an answer, in bytes.
const LONGEST: u64 = 256 << 10;

/// How long the pipes of a program that has ended may stay open; something that it left behind may hold them.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'a> {
    /// The program and its arguments. A name without a slash is looked up in the `PATH` of `environment`.
    pub argv: &'a [String],
    /// The whole environment.
    pub environment: &'a BTreeMap<String, String>,
    /// What it reads on its standard input.
    pub input: &'a [u8],
    /// How long it may take before it is killed, with everything in its process group.
    pub limit: Duration,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It ended by itself.
    Said {
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// It was killed at its time limit.
    TimedOut,
    /// It could not be started; the text says why.
    NotStarted(String),
}

/// Finds the program that a name means in an environment, as a run would find it.
pub fn locate(name: &str, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    find(name, &Environment::of(environment), Path::new("/"))
}

/// The variables of these names that this process has.
pub fn inherited<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let value = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
    names.into_iter().filter_map(value).collect()
}

/// The names of the variables that this process has, where they are text.
pub fn names_of_environment() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

impl Inquiry<'_> {
    /// Asks, and waits for the answer within the limit.
    pub fn ask(self) -> Answer {
        let name = self.argv.first().map_or("", String::as_str);
        let path = match locate(name, self.environment) {
            Ok(path) => path,
            Err(why) => return Answer::NotStarted(why),
        };
        let mut command = Command::new(path);
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(self.environment)
            .current_dir("/")
            .stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = match fault::point!("inquiry.start", name).and_then(|()| unblocked(|| command.spawn())) {
            Ok(child) => child,
            Err(error) => return Answer::NotStarted(format!("{name}: cannot be started: {error}")),
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing says by its answer why.
            drop(fault::write!("inquiry.input", self.input, |input| stdin.write_all(input)));
        }
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let status = wait(&mut child, self.limit);
        end_group(&mut child);
        let Some(status) = status else { return Answer::TimedOut };
        let text = |stream: &Receiver<Vec<u8>>| {
            String::from_utf8_lossy(&stream.recv_timeout(FAREWELL).unwrap_or_default()).into_owned()
        };
        Answer::Said { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
    }
}

/// Reads a stream beside everything else; the reader ends with the stream.
pub(super) fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        let mut read = Vec::new();
        if let Some(stream) = stream {
            // A read error means that the program is gone; its exit code tells the rest.
            let _ = stream.take(LONGEST).read_to_end(&mut read);
        }
        sender.send(read)
    });
    bytes
}

/// Kills what is left of a program and of what it started in its group, and reaps it.
pub(super) fn end_group(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // It may be gone with all that it started, which is what is wanted.
        let _ = fault::point!("group.kill").map(|()| killpg(Pid::from_raw(group), Signal::SIGKILL));
    }
    // Without a child to wait for, there is nothing to reap.
    let _ = child.wait();
}

/// Waits for a program's end; none where it has not come within the limit.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(script: &str, input: &[u8], limit: Duration) -> Answer {
        let argv = ["sh", "-c", script].map(str::to_owned);
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        Inquiry { argv: &argv, environment: &environment, input, limit }.ask()
    }

    #[test]
    fn an_answer_has_both_streams_and_the_code_and_nothing_of_our_environment() {
        let long = Duration::from_secs(20);
        let answer = ask("cat; echo \"${HOME-no home}\"; echo oh >&2; exit 3", b"in\n", long);
        let said = Answer::Said { code: Some(3), stdout: "in\nno home\n".to_owned(), stderr: "oh\n".to_owned() };
        assert_eq!(answer, said);
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        let begun = Instant::now();
        assert_eq!(ask("sleep 60 & sleep 60", b"", Duration::from_millis(50)), Answer::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let environment = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
        let argv = ["no-such-program".to_owned()];
        let limit = Duration::from_secs(1);
        let answer = Inquiry { argv: &argv, environment: &environment, input: b"", limit }.ask();
        assert!(
            matches!(answer, Answer::NotStarted(why) if why.contains("no-such-program: not found in PATH=/nowhere"))
        );
    }
}
