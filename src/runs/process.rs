//! The system's process table, read without trusting a pid by itself.
//!
//! Linux is read through `/proc`. On macOS the same questions go to `ps`; environments and held locks of other
//! processes cannot be read there, so recognising a run's processes is weaker (see `tree`).

use crate::core::run::ProcessStamp;

/// One process as the table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// The session; 0 where the system does not tell.
    pub session: i32,
    pub stamp: ProcessStamp,
    /// Dead, and only waiting to be reaped by its parent.
    pub zombie: bool,
}

/// Whether exactly this process still lives.
pub(super) fn is_alive(stamp: &ProcessStamp) -> bool {
    row(stamp.pid).is_some_and(|row| row.stamp == *stamp && !row.zombie)
}

/// The stamp of a living process, or one that matches nothing where it is gone already.
pub(super) fn stamp(pid: i32) -> ProcessStamp {
    row(pid).map_or(ProcessStamp { pid, start: String::new() }, |row| row.stamp)
}

#[cfg(not(target_os = "macos"))]
pub use linux::boot_id;
#[cfg(not(target_os = "macos"))]
pub(super) use linux::{has_variable, holds_lock, is_our_supervisor, row, rows};
#[cfg(target_os = "macos")]
pub use macos::boot_id;
#[cfg(target_os = "macos")]
pub(super) use macos::{has_variable, holds_lock, is_our_supervisor, row, rows};

#[cfg(not(target_os = "macos"))]
mod linux {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use super::{ProcessStamp, Row};

    /// Identifies this boot of the machine.
    pub fn boot_id() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    /// One process, if it exists.
    pub(in super::super) fn row(pid: i32) -> Option<Row> {
        parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Every process.
    pub(in super::super) fn rows() -> Vec<Row> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries.filter_map(|entry| row(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// Reads `/proc/<pid>/stat` (proc(5)). The command's name may hold anything, so fields count from its last `)`.
    fn parse(pid: i32, line: &str) -> Option<Row> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X" | "x");
        let mut number = || fields.next()?.parse().ok();
        let (parent, group, session) = (number()?, number()?, number()?);
        // `starttime` is field 22; six fields have been read, the pid and the name included.
        let start = fields.nth(15)?.to_owned();
        Some(Row { pid, parent, group, session, stamp: ProcessStamp { pid, start }, zombie })
    }

    /// Whether the process was started with this variable at this value.
    pub(in super::super) fn has_variable(pid: i32, name: &str, value: &str) -> bool {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ.split(|byte| *byte == 0).any(|entry| {
                entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) == Some(value.as_bytes())
            })
        })
    }

    /// Whether the process holds an exclusive lock on `lock` through one of its descriptors.
    ///
    /// Our own program is left out: a tick that is looking at a lock holds it for an instant.
    pub(in super::super) fn holds_lock(pid: i32, lock: &Path) -> bool {
        let Ok(wanted) = fs::metadata(lock) else { return false };
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let same =
            |path: &Path| fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino()));
        if same_program(pid) {
            return false;
        }
        descriptors.flatten().any(|descriptor| {
            let number = descriptor.file_name();
            same(&descriptor.path())
                && fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(number))
                    .is_ok_and(|info| info.lines().any(|line| line.contains("FLOCK") && line.contains("WRITE")))
        })
    }

    /// Whether the process is a supervisor of ours for this run's directory.
    pub(in super::super) fn is_our_supervisor(pid: i32, run_dir: &Path) -> bool {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"__supervise") && words.next() == Some(run_dir.as_os_str().as_encoded_bytes())
    }

    fn same_program(pid: i32) -> bool {
        let id = |path: &str| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        id(&format!("/proc/{pid}/exe")).is_some_and(|theirs| Some(theirs) == id("/proc/self/exe"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_with_spaces_and_brackets_do_not_shift_the_fields() {
            let stat = "42 (a) b (c) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 1";
            let row = parse(42, stat).expect("row");
            assert_eq!((row.parent, row.group, row.session, row.zombie), (7, 8, 9, false));
            assert_eq!(row.stamp.start, "12345");
        }

        #[test]
        fn a_process_is_found_by_pid_and_start_together() {
            let own = i32::try_from(std::process::id()).expect("pid");
            let stamp = super::super::stamp(own);
            assert!(super::super::is_alive(&stamp));
            assert!(!super::super::is_alive(&ProcessStamp { start: "1".to_owned(), ..stamp }));
            assert!(rows().iter().any(|row| row.pid == own));
        }
    }
}

#[cfg(target_os = "macos")]
mod macos {
    #![expect(clippy::disallowed_methods, reason = "macOS tells about processes through ps and sysctl only")]

    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::{ProcessStamp, Row};

    const COLUMNS: &str = "pid=,ppid=,pgid=,stat=,lstart=";

    fn ask(program: &str, arguments: &[&str]) -> String {
        let asked = Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output();
        asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    pub fn boot_id() -> String {
        ask("/usr/sbin/sysctl", &["-n", "kern.bootsessionuuid"]).trim().to_owned()
    }

    pub(in super::super) fn row(pid: i32) -> Option<Row> {
        ask("/bin/ps", &["-o", COLUMNS, "-p", &pid.to_string()]).lines().find_map(parse)
    }

    pub(in super::super) fn rows() -> Vec<Row> {
        ask("/bin/ps", &["-axo", COLUMNS]).lines().filter_map(parse).collect()
    }

    fn parse(line: &str) -> Option<Row> {
        let mut fields = line.split_ascii_whitespace();
        let mut number = || fields.next()?.parse().ok();
        let (pid, parent, group) = (number()?, number()?, number()?);
        let zombie = fields.next()?.starts_with('Z');
        let start = fields.collect::<Vec<_>>().join(" ");
        Some(Row { pid, parent, group, session: 0, stamp: ProcessStamp { pid, start }, zombie })
    }

    pub(in super::super) fn has_variable(pid: i32, name: &str, value: &str) -> bool {
        let wanted = format!("{name}={value}");
        ask("/bin/ps", &["-Eww", "-o", "command=", "-p", &pid.to_string()]).split(' ').any(|word| word == wanted)
    }

    pub(in super::super) fn holds_lock(_: i32, _: &Path) -> bool {
        false
    }

    pub(in super::super) fn is_our_supervisor(pid: i32, run_dir: &Path) -> bool {
        let line = ask("/bin/ps", &["-ww", "-o", "command=", "-p", &pid.to_string()]);
        line.trim().ends_with(&format!(" __supervise {}", run_dir.display()))
    }
}
