//! Resolving secret references at the moment a run starts.
//!
//! A value goes into the run's environment and nowhere else: not to a file, not to a log, not into an error. That is
//! why a resolver's standard error is thrown away, and why nothing here can be printed.

#![expect(
    clippy::disallowed_methods,
    reason = "runs/ starts processes, and `env:` references are the supervisor's own"
)]

use std::collections::BTreeMap;
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
use super::redact::SHORTEST;
use super::tree;
use crate::core::run::TOKEN_VARIABLE;
use crate::core::secrecy::{API_KEYS, GIVEN_PREFIX, GIVEN_SCHEME};
use crate::fault;

/// How long one reference may take. A password manager that waits for a fingerprint at night must not hold a run.
const LIMIT: Duration = Duration::from_secs(10);

/// No key, token or certificate is longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// What is resolved, and how far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// Marks the processes that this may start, so that they can be ended with the run.
    pub token: &'a str,
    /// Variables of ours that no resolver gets, beside the API keys: other references are read from them.
    pub withheld: &'a [String],
}

impl Asker<'_> {
    /// Turns a reference into its value, or into a sentence that names the reference and the way out.
    pub(super) fn resolve(self, reference: &str) -> Result<OsString, String> {
        resolve(reference, self)
    }
}

/// A resolved value, which can be handed to a program and not be shown.
pub struct Resolved(OsString);

impl Resolved {
    /// Whether it is too short to be looked for in what programs print.
    pub fn is_short(&self) -> bool {
        self.0.len() < SHORTEST
    }

    /// Adds it to an environment, where it is text.
    pub fn add_to(self, name: &str, environment: &mut BTreeMap<String, String>) {
        environment.extend(self.0.into_string().ok().map(|value| (name.to_owned(), value)));
    }
}

/// Resolves a reference as a run would, for whoever only wants to know whether it resolves. `withheld` are variables that its
/// resolver does not get.
pub fn resolve_secret(reference: &str, withheld: &[String]) -> Result<Resolved, String> {
    let token = format!("question-{}", std::process::id());
    Asker { token: &token, withheld }.resolve(reference).map(Resolved)
}

/// How a reference's value is asked for; none where no program is asked.
fn resolver(reference: &str) -> Option<Vec<&str>> {
    if reference.starts_with("op://") {
        Some(vec!["op", "read", "--no-newline", reference])
    } else if let Some(text) = reference.strip_prefix("cmd:") {
        Some(vec!["/bin/sh", "-c", text])
    } else if let Some(item) = reference.strip_prefix("keychain:") {
        let mut argv = vec!["/usr/bin/security", "find-generic-password", "-w", "-s"];
        match item.split_once('/') {
            Some((service, account)) => argv.extend([service, "-a", account]),
            None => argv.push(item),
        }
        Some(argv)
    } else {
        None
    }
}

fn resolve(reference: &str, asker: Asker<'_>) -> Result<OsString, String> {
    let value = if reference.starts_with("keychain:") && !cfg!(target_os = "macos") {
        Err(format!(
            "{reference}: the Keychain is a part of macOS, and this is {}; use file: or cmd:",
            std::env::consts::OS
        ))
    } else if let Some([program, arguments @ ..]) = resolver(reference).as_deref() {
        let mut command = Command::new(program);
        command.args(arguments);
        ask(command, reference, asker)
    } else if let Some(name) = reference.strip_prefix(GIVEN_SCHEME) {
        std::env::var_os(format!("{GIVEN_PREFIX}{name}"))
            .ok_or_else(|| format!("{name}: the tick that launched this run did not hand over the manifest's value"))
    } else if let Some(name) = reference.strip_prefix("env:") {
        std::env::var_os(name).ok_or_else(|| {
            format!("{reference}: the variable is not set where ticks run; cron and launchd do not read shell profiles")
        })
    } else if let Some(path) = reference.strip_prefix("file:") {
        read_file(path).map_err(|why| format!("{reference}: {why}"))
    } else {
        Err(format!("{reference}: a secret reference starts with op://, env:, file:, keychain: or cmd:"))
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
fn ask(mut resolver: Command, reference: &str, asker: Asker<'_>) -> Result<OsString, String> {
    let (begun, token) = (Instant::now(), asker.token);
    // A resolver needs the environment of the operator, such as its own service token, but nobody else's secret.
    let given =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(GIVEN_PREFIX.as_bytes()));
    for name in given {
        resolver.env_remove(name);
    }
    for name in API_KEYS.iter().copied().chain(asker.withheld.iter().map(String::as_str)) {
        resolver.env_remove(name);
    }
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
        let asker = Asker { token: "secret-test-token", withheld: &[] };
        for good in [file("private", 0o600), file("read-only", 0o400)] {
            assert_eq!(asker.resolve(&good).expect(&good), "hunter2");
        }
        for (bad, expected) in [
            (file("shared", 0o640), "chmod 600"),
            (format!("file:{}", dir.path().display()), "regular file"),
            ("file:/no/such/file".to_owned(), "/no/such/file"),
            ("env:AUTOMETTA_NO_SUCH_VARIABLE".to_owned(), "not set"),
            ("given:NOBODY".to_owned(), "did not hand over"),
            ("hunter2".to_owned(), "starts with"),
        ] {
            let fault = asker.resolve(&bad).expect_err(&bad);
            assert!(fault.contains(expected) && fault.starts_with(bad.trim_start_matches(GIVEN_SCHEME)), "{fault}");
        }
    }

    #[test]
    fn the_keychain_is_asked_by_service_and_account_and_only_where_there_is_one() {
        let program = "/usr/bin/security";
        for (reference, expected) in [
            ("keychain:api", [program, "find-generic-password", "-w", "-s", "api"].as_slice()),
            ("keychain:api/me", &[program, "find-generic-password", "-w", "-s", "api", "-a", "me"]),
            ("op://v/i/f", &["op", "read", "--no-newline", "op://v/i/f"]),
            ("cmd:echo a b", &["/bin/sh", "-c", "echo a b"]),
        ] {
            assert_eq!(resolver(reference).as_deref(), Some(expected), "{reference}");
        }
        assert_eq!(resolver("env:HOME"), None);
        if !cfg!(target_os = "macos") {
            let fault = Asker { token: "t", withheld: &[] }.resolve("keychain:api").expect_err("no keychain");
            assert!(fault.starts_with("keychain:api: the Keychain is a part of macOS"), "{fault}");
        }
    }
}
