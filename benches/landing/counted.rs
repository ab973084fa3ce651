//! Counting what a command and all that it starts do: the git processes by name, and what strace sees.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A `git` that writes down how it was called and then becomes the real one.
pub struct Gits {
    folder: PathBuf,
    calls: PathBuf,
    path: String,
}

impl Gits {
    /// Puts it into a folder of its own below this one.
    pub fn new(root: &Path) -> Self {
        let path = std::env::var("PATH").expect("PATH");
        let real = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file());
        let (folder, calls) = (root.join("counted"), root.join("counted-calls"));
        fs::create_dir_all(&folder).expect("folder");
        let text = format!(
            "#!/bin/sh\nname() {{ while [ \"$1\" = -c ]; do shift 2; done; echo \"$1\"; }}\n\
             name \"$@\" >>'{}'\nexec '{}' \"$@\"\n",
            calls.display(),
            real.expect("git").display()
        );
        fs::write(folder.join("git"), text).expect("file");
        fs::set_permissions(folder.join("git"), fs::Permissions::from_mode(0o755)).expect("mode");
        Self { path: format!("{}:{path}", folder.display()), folder, calls }
    }

    /// Lets a command find it, and with it all that the command starts.
    pub fn watch<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        assert!(self.folder.is_dir());
        command.env("PATH", &self.path)
    }

    /// The calls since this was asked before, by name.
    pub fn take(&self) -> BTreeMap<String, usize> {
        let text = fs::read_to_string(&self.calls).unwrap_or_default();
        fs::write(&self.calls, "").expect("file");
        let mut calls = BTreeMap::new();
        for name in text.lines() {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
        calls
    }
}

/// What strace has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traced {
    /// Programs started; a git that starts another of its own counts twice.
    pub programs: usize,
    /// Files and folders synced.
    pub syncs: usize,
}

/// Runs a command below strace; none where that is not installed. What it leaves behind is traced as well, and has to
/// be waited for before [`Trace::read`].
pub fn trace(command: &Command, recording: &Path) -> Option<Trace> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=execve,fsync,fdatasync", "-o"]).arg(recording);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    match strace.stdout(std::process::Stdio::null()).status() {
        Ok(status) => assert!(status.success(), "{strace:?}"),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("{strace:?}: {error}"),
    }
    Some(Trace { recording: recording.to_owned() })
}

/// What strace has written.
pub struct Trace {
    recording: PathBuf,
}

impl Trace {
    /// Counts it.
    pub fn read(&self) -> Traced {
        let text = fs::read(&self.recording).expect("the recording");
        let mut traced = Traced::default();
        for line in String::from_utf8_lossy(&text).lines() {
            let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            // A call that another process came between has a second line, for its end.
            match call.split('(').next() {
                Some("execve") if !call.contains(" = -1 ") => traced.programs += 1,
                Some(end) if end.starts_with("<... execve resumed") && call.contains(" = -1 ") => traced.programs -= 1,
                Some("fsync" | "fdatasync") => traced.syncs += 1,
                _ => {}
            }
        }
        traced
    }
}
