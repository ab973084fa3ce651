//! Resolving secret references at the moment a run starts.
//!
//! A value goes into the run's environment and nowhere else: not to a file, not to a log, not into an error. That is
//! why a resolver's standard error is thrown away, and why nothing here can be printed.

#![expect(
    clippy::disallowed_methods,
    reason = "runs/ starts processes, and `env:` references are the supervisor's own"
)]

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;

use super::program::unblocked;
use super::tree;
use crate::core::run::TOKEN_VARIABLE;
use crate::fault;

/// How long one reference may take. A password manager that waits for a fingerprint at night must not hold a run.
const LIMIT: Duration = Duration::from_secs(10);

/// No key, token or certificate is longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// Turns a reference into its value, or into a sentence that names the reference and the way out.
///
/// `token` marks the processes this may start, so that they can be ended with the run.
pub(super) fn resolve(reference: &str, token: &str) -> Result<OsString, String> {
    let value = if reference.starts_with("op://") {
        let mut op = Command::new("op");
        op.args(["read", "--no-newline", reference]);
        ask(op, reference, token)
    } else if let Some(text) = reference.strip_prefix("cmd:") {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", text]);
        ask(shell, reference, token)
    } else if let Some(name) = reference.strip_prefix("env:") {
        std::env::var_os(name).ok_or_else(|| {
            format!("{reference}: the variable is not set where ticks run; cron and launchd do not read shell profiles")
        })
    } else if let Some(path) = reference.strip_prefix("file:") {
        read_file(path).map_err(|why| format!("{reference}: {why}"))
    } else {
        Err(format!("{reference}: a secret reference starts with op://, env:, file: or cmd:"))
    }?;
    let value = without_newline(&value);
    if value.is_empty() {
        return Err(format!("{reference}: the value is empty"));
    }
    if value.as_bytes().contains(&0) {
        return Err(format!("{reference}: the value contains a NUL byte, which no environment can hold"));
    }
    Ok(value)
}

fn read_file(path: &str) -> Result<OsString, String> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if meta.mode() & 0o077 != 0 {
        return Err(format!("others may read it (mode {:03o}); run `chmod 600` on it", meta.mode() & 0o777));
    }
    read_value(file).map_err(|error| error.to_string())
}

/// Runs a resolver within the limit, in a process group of its own, and takes its output.
fn ask(mut resolver: Command, reference: &str, token: &str) -> Result<OsString, String> {
    let begun = Instant::now();
    resolver
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env(TOKEN_VARIABLE, token)
        .process_group(0);
    let mut child = fault::point!("secret.start")
        .and_then(|()| unblocked(|| resolver.spawn()))
        .map_err(|error| format!("{reference}: {} cannot be started: {error}", resolver.get_program().display()))?;
    let (sender, answer) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        // Left behind, blocked, where the pipe stays open beyond the kill; it ends with the supervisor.
        std::thread::spawn(move || sender.send(read_value(output)));
    }
    let output = answer.recv_timeout(LIMIT);
    let left = LIMIT.saturating_sub(begun.elapsed());
    let status = if output.is_ok() { wait(&mut child, left) } else { None };
    // Nothing that a resolver left behind may outlive it, whether it answered or not.
    tree::signal_descendants(token, &[Signal::SIGKILL]);
    let Some(status) = status else {
        let _ = child.wait();
        return Err(format!(
            "{reference}: no answer within {} seconds; it must work without a person",
            LIMIT.as_secs()
        ));
    };
    if !status.success() {
        return Err(format!("{reference}: the resolver failed ({status}); run it by hand to see why"));
    }
    match output {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{reference}: {error}")),
        Err(_) => Err(format!("{reference}: the resolver said nothing")),
    }
}

/// Waits for a process that has closed its output and so is about to end.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

fn read_value(from: impl Read) -> std::io::Result<OsString> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(std::io::Error::other("the value is longer than 64 KiB"));
    }
    Ok(OsString::from_vec(bytes))
}

/// Files and commands end their output with a newline, which is not a part of the value.
fn without_newline(value: &OsStr) -> OsString {
    let bytes = value.as_bytes();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    OsStr::from_bytes(bytes.strip_suffix(b"\r").unwrap_or(bytes)).to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn references_resolve_or_say_why_without_the_value() {
        let dir = tempfile::tempdir().expect("dir");
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::write(&path, "hunter2\n").expect("file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
            format!("file:{}", path.display())
        };
        let token = "secret-test-token";
        for good in [file("private", 0o600), file("read-only", 0o400)] {
            assert_eq!(resolve(&good, token).expect(&good), "hunter2");
        }
        for (bad, expected) in [
            (file("shared", 0o640), "chmod 600"),
            (format!("file:{}", dir.path().display()), "regular file"),
            ("file:/no/such/file".to_owned(), "/no/such/file"),
            ("env:AUTOMETTA_NO_SUCH_VARIABLE".to_owned(), "not set"),
            ("hunter2".to_owned(), "starts with"),
        ] {
            let fault = resolve(&bad, token).expect_err(&bad);
            assert!(fault.contains(expected) && fault.starts_with(&bad), "{fault}");
        }
    }
}
