//! Starting a program: its environment, where it is found, and the descriptors it gets.

#![expect(clippy::disallowed_methods, reason = "runs/ starts agents and passes on allow-listed variables")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{AccessFlags, Pid, access};

use super::redact::Redactor;
use super::secret::Asker;
use crate::core::run::{EnvEntry, EnvSource, RUN_VARIABLE, RunOrder, TOKEN_VARIABLE};
use crate::core::secrecy::{GIVEN_SCHEME, names_secret, password_in_url};
use crate::fault;
use crate::files::lock::Lock;

/// How the files begin that the kernel runs: scripts, ELF, and Mach-O in its byte orders and as a universal binary.
const MAGICS: [&[u8]; 7] = [
    b"#!",
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
];

/// A whole environment. It holds secrets, so it has no `Debug`.
pub(super) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Builds it from nothing, by the order's list, and marks it as this run's. Says what must be kept out of every record
    /// of the run.
    pub(super) fn build(order: &RunOrder, token: &str) -> Result<(Self, Redactor), String> {
        let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(order.env.len() + 2);
        let mut secrets: Vec<(&str, OsString)> = Vec::new();
        let mut resolved: BTreeMap<&str, OsString> = BTreeMap::new();
        let withheld = withheld(order);
        let asker = Asker { token, withheld: &withheld };
        for entry in &order.env {
            let value = match &entry.source {
                EnvSource::Literal(text) => {
                    secrets.extend(names_secret(&entry.name).then(|| (entry.name.as_str(), OsString::from(text))));
                    Some(text.into())
                }
                EnvSource::Secret(reference) => {
                    // A key that is given under two names is asked for once.
                    let value = match resolved.get(reference.as_str()) {
                        Some(known) => OsString::clone(known),
                        None => asker.resolve(reference)?,
                    };
                    resolved.insert(reference, value.clone());
                    secrets.push((&entry.name, value.clone()));
                    Some(value)
                }
                EnvSource::Parent => std::env::var_os(&entry.name),
            };
            if let (EnvSource::Parent, Some(value)) = (&entry.source, &value) {
                secrets.extend(inherited_secret(&entry.name, value).map(|secret| (entry.name.as_str(), secret)));
            }
            variables.extend(value.map(|value| (entry.name.clone().into(), value)));
        }
        let redactor = Redactor::new(secrets.iter().map(|(name, value)| (*name, value.as_bytes())))?;
        variables.push((RUN_VARIABLE.into(), order.run_id.to_string().into()));
        variables.push((TOKEN_VARIABLE.into(), token.into()));
        Ok((Self(variables), redactor))
    }

    /// What must be kept out of every record of a run that is over, by its order.
    pub(super) fn redactor(
        order: &RunOrder,
        token: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<Redactor, String> {
        let mut order = order.clone();
        for entry in &mut order.env {
            let handed = matches!(&entry.source, EnvSource::Secret(reference) if reference.starts_with(GIVEN_SCHEME));
            if let Some(value) = given.get(&entry.name).filter(|_| handed) {
                entry.source = EnvSource::Literal(value.clone());
            }
        }
        Self::build(&order, token).map(|(_, redactor)| redactor)
    }

    /// Of these variables and no others, for programs that are no run's.
    pub(super) fn of(variables: &BTreeMap<String, String>) -> Self {
        Self(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The last value of a variable, which is the one that counts.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }
}

/// The variables of ours that references are read from: no resolver of another reference gets them.
fn withheld(order: &RunOrder) -> Vec<String> {
    let name = |entry: &EnvEntry| match &entry.source {
        EnvSource::Secret(reference) => reference.strip_prefix("env:").map(str::to_owned),
        // 1Password's own token is a resolver's business, whoever else gets it.
        EnvSource::Parent => (names_secret(&entry.name) && !entry.name.starts_with("OP_")).then(|| entry.name.clone()),
        EnvSource::Literal(_) => None,
    };
    order.env.iter().filter_map(name).collect()
}

/// What of a variable that is passed on must not be shown.
fn inherited_secret(name: &str, value: &OsStr) -> Option<OsString> {
    if names_secret(name) {
        return Some(value.to_owned());
    }
    let is_proxy = name.to_ascii_uppercase().ends_with("_PROXY");
    value.to_str().filter(|_| is_proxy).and_then(password_in_url).map(OsString::from)
}

/// Finds a program as its own environment would: a name with a slash is a path (relative to `cwd`), any other name is
/// looked up in `PATH`.
///
/// The file's beginning is checked too. The C library hands a file that is neither a binary nor a `#!` script to the
/// shell, where it would fail in a way that looks like the agent's own failure.
pub(super) fn find(name: &str, environment: &Environment, cwd: &Path) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = cwd.join(name);
        return runnable(&path).map(|()| path).map_err(|why| format!("{name}: {why}"));
    }
    let search = environment.get("PATH").unwrap_or_default();
    let mut refused = None;
    for folder in std::env::split_paths(search).filter(|folder| !folder.as_os_str().is_empty()) {
        let path = cwd.join(folder).join(name);
        match runnable(&path) {
            Ok(()) => return Ok(path),
            Err(_) if !path.exists() => {}
            Err(why) => refused = refused.or(Some(format!("{name}: {} {why}", path.display()))),
        }
    }
    Err(refused.unwrap_or_else(|| format!("{name}: not found in PATH={}", search.display())))
}

fn runnable(path: &Path) -> Result<(), String> {
    let meta = path.metadata().map_err(|error| format!("cannot be found: {error}"))?;
    if !meta.is_file() || access(path, AccessFlags::X_OK).is_err() {
        return Err("is not an executable file".to_owned());
    }
    let mut beginning = Vec::new();
    // What may be run but not read is left for the kernel to judge.
    let Ok(file) = File::open(path) else { return Ok(()) };
    let read = file.take(4).read_to_end(&mut beginning);
    if read.is_err() || MAGICS.iter().any(|magic| beginning.starts_with(magic)) {
        Ok(())
    } else {
        Err("is neither a binary nor a script that begins with `#!`".to_owned())
    }
}

/// What a program is started with.
pub(super) struct Start<'a> {
    pub path: &'a Path,
    pub argv: &'a [String],
    pub environment: &'a Environment,
    pub cwd: &'a Path,
    pub stdin: Stdio,
    pub stdout: File,
    pub stderr: File,
}

impl Start<'_> {
    /// Starts the program as the leader of a process group of its own, holding the run's lock.
    ///
    /// The returned process is reaped by whoever waits for any child, so no `Child` is kept.
    pub(super) fn go(self, lock: &Lock) -> io::Result<Pid> {
        // A plain `dup` is the one safe way to a descriptor that survives exec. It exists while we spawn, and no
        // other thread spawns anything; afterwards only the program and its children have it.
        let inherited = nix::unistd::dup(lock.file())?;
        let mut command = Command::new(self.path);
        if let Some(first) = self.argv.first() {
            command.arg0(first);
        }
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(self.environment.0.iter().map(|(name, value)| (name, value)))
            .current_dir(self.cwd)
            .process_group(0)
            .stdin(self.stdin)
            .stdout(self.stdout)
            .stderr(self.stderr);
        fault::point!("program.start", self.argv)?;
        let child = unblocked(|| command.spawn())?;
        drop(inherited);
        Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)))
    }
}

/// Does something with no signal blocked, because a child inherits what is blocked while it is made.
///
/// A TERM that arrives in this very instant kills us, which is a crash like any other.
pub(super) fn unblocked<T>(act: impl FnOnce() -> T) -> T {
    let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = act();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn programs_are_found_as_their_own_environment_would() {
        let dir = tempfile::tempdir().expect("dir");
        let file = |path: &str, text: &[u8], mode: u32| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("dir");
            std::fs::write(&path, text).expect("file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
        };
        file("a/locked", b"#!/bin/sh\n", 0o644);
        file("b/locked", b"#!/bin/sh\n", 0o755);
        file("a/garbage", b"echo hello\n", 0o755);
        file("a/empty", b"", 0o755);
        file("a/plain", b"#!/bin/sh\n", 0o644);
        let path = format!("{0}/a:{0}/b", dir.path().display());
        let environment = Environment(vec![("PATH".into(), "/wrong".into()), ("PATH".into(), path.into())]);
        for (name, expected) in [
            ("locked", Ok("b/locked")),
            ("./b/locked", Ok("b/locked")),
            ("plain", Err("not an executable file")),
            ("garbage", Err("neither a binary nor a script")),
            ("empty", Err("neither a binary nor a script")),
            ("./a", Err("not an executable file")),
            ("missing", Err("missing: not found in PATH=")),
            ("/no/such/program", Err("cannot be found")),
        ] {
            match (find(name, &environment, dir.path()), expected) {
                (Ok(found), Ok(end)) => assert!(found.ends_with(end), "{}", found.display()),
                (Err(fault), Err(part)) => assert!(fault.contains(part), "{fault}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }
}
