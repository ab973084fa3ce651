//! Asking a program for its version: no shell, no key of anybody's, and not for long.

#![expect(clippy::disallowed_methods, reason = "runs/ starts processes and passes on allow-listed variables")]

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::program::{Environment, find};
use crate::core::run::{EnvEntry, EnvSource};

/// How long a program may take to say its version. Agents' CLIs start a runtime for it, which takes a second.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How much of its answer is read, in bytes.
const MOST: u64 = 4096;
/// How much of its first line is kept, in characters.
const LONGEST: usize = 100;

/// Where a program is that a run with this environment would start; none where it is nowhere.
pub fn locate(program: &str, env: &[EnvEntry], cwd: &Path) -> Option<PathBuf> {
    let path = variable(env, "PATH")?;
    find(program, &Environment::of(vec![("PATH".into(), path)]), cwd).ok()
}

/// The first line that a program prints for these arguments, within the limit; none where it prints none or fails.
pub fn ask_version(program: &Path, arguments: &[String], env: &[EnvEntry], limit: Duration) -> Option<String> {
    let variables = ["HOME", "PATH"].into_iter().filter_map(|name| Some((name, variable(env, name)?)));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let begun = Instant::now();
    let (sender, answer) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is as good an answer as any.
            let _ = output.take(MOST).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    let said = answer.recv_timeout(limit).ok();
    let mut status = None;
    while said.is_some() && status.is_none() && begun.elapsed() < limit {
        status = child.try_wait().ok()?;
        if status.is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // Nothing that it started outlives the question.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
    status.filter(std::process::ExitStatus::success)?;
    let text = String::from_utf8_lossy(&said?).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(LONGEST).collect())
}

/// A variable as a run would have it.
fn variable(env: &[EnvEntry], name: &str) -> Option<OsString> {
    match &env.iter().rev().find(|entry| entry.name == name)?.source {
        EnvSource::Literal(text) => Some(text.into()),
        EnvSource::Parent => std::env::var_os(name),
        // A version is not worth a secret.
        EnvSource::Secret(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(script: &str, limit: Duration) -> Option<String> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        ask_version(Path::new("/bin/sh"), &arguments, &[], limit)
    }

    #[test]
    fn a_version_is_the_first_line_of_a_program_that_ends_well() {
        let long = Duration::from_secs(60);
        assert_eq!(ask("echo; echo ' 2.1.3 (Agent) '; echo more", long).as_deref(), Some("2.1.3 (Agent)"));
        assert_eq!(ask("echo 1; exit 1", long), None);
        assert_eq!(ask("exit 0", long), None);

        assert_eq!(ask("echo 1; sleep 100 & sleep 100", Duration::from_millis(200)), None);
        assert_eq!(ask_version(Path::new("/no/such"), &[], &[], long), None);
    }
}
