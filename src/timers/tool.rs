//! Starting a scheduler's own program, with a time limit. What it is asked stands with its scheduler.

#![expect(clippy::disallowed_methods, reason = "timers/ starts crontab, launchctl and systemctl, here and only here")]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::TimerError;
use super::host::Host;

/// How long a scheduler's program may take. They answer within a moment, or they hang on something that is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// What a program said.
#[derive(Debug)]
pub(super) struct Answer {
    command: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: String,
}

impl Answer {
    /// The answer of a program that must succeed.
    pub(super) fn succeeded(self) -> Result<Self, TimerError> {
        if self.ok {
            return Ok(self);
        }
        let said = [self.err.trim(), String::from_utf8_lossy(&self.out).trim()].join("\n").trim().replace('\n', "; ");
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        Err(TimerError::Failed { command: self.command, said })
    }
}

/// Runs a program with these arguments and this standard input.
pub(super) fn run<A: AsRef<OsStr>>(host: &Host, program: &str, args: &[A], input: &[u8]) -> Result<Answer, TimerError> {
    let words: Vec<String> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    let command = format!("{program} {}", words.join(" "));
    let failed = |said: String| TimerError::Failed { command: command.clone(), said };
    let child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("XDG_RUNTIME_DIR", &host.runtime)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (ok, out, err) = finish(child, input).map_err(|error| failed(error.to_string()))?;
    Ok(Answer { command, ok, out, err: String::from_utf8_lossy(&err).into_owned() })
}

/// Feeds and drains a child until it ends or its time is up.
fn finish(mut child: Child, input: &[u8]) -> std::io::Result<(bool, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input has its reasons, and its exit code tells them.
            stdin.map(|mut stdin| stdin.write_all(input))
        });
        let out = scope.spawn(|| drain(stdout));
        let err = scope.spawn(|| drain(stderr));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                return Err(std::io::Error::other(format!("it did not end within {} seconds", LIMIT.as_secs())));
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ok((status.success(), out.join().unwrap_or_default(), err.join().unwrap_or_default()))
    })
}

fn drain(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before a failure is still worth showing.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    bytes
}
