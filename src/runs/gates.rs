//! Running a gate's commands, one after another, up to the first that fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;

use super::tail::Tail;
use super::watch::{Cut, Followed, Watch};
use crate::core::exit::{GateResult, ProcessEnd};
use crate::core::honesty::output;
use crate::core::run::{GateCommand, OutputRule};
use crate::fault;
use crate::files::regular;

/// How much of a command's output its record keeps, in characters.
const TAIL_CHARS: usize = 4000;

/// The most bytes that so many characters can be.
const TAIL_BYTES: u64 = 4 * TAIL_CHARS as u64;

/// How a gate run went.
#[derive(Debug)]
pub(super) struct Gated {
    pub results: Vec<GateResult>,
    /// How the last command ended.
    pub exit: ProcessEnd,
    /// Why the whole run was stopped, if it was.
    pub cut: Option<Cut>,
    /// Why a command could not be started, if one could not.
    pub fault: Option<String>,
    /// Whether every process is gone.
    pub all_gone: bool,
}

/// Starts one command, given the shell's arguments.
pub(super) type StartCommand<'a> = dyn Fn(&[String], Stdio) -> Result<Pid, String> + 'a;

/// Runs the commands. Each one's processes are gone before the next one starts.
pub(super) fn run(watch: &mut Watch<'_>, commands: &[GateCommand], log: &Path, start: &StartCommand<'_>) -> Gated {
    let mut gated = Gated { results: Vec::new(), exit: ProcessEnd::None, cut: None, fault: None, all_gone: true };
    for gate in commands {
        let argv = ["/bin/sh", "-euc", &gate.run].map(str::to_owned);
        let started = header(log, gate).map_err(|error| format!("{}: {error}", log.display()));
        let (offset, program) = match started.and_then(|offset| Ok((offset, start(&argv, Stdio::null())?))) {
            Ok(started) => started,
            Err(fault) => {
                gated.fault = Some(format!("gate {}: {fault}", gate.name));
                return gated;
            }
        };
        let followed = watch.follow(program, Duration::from_secs(gate.timeout_seconds.0));
        let result = result(gate, &followed, log, offset);
        let passed = result.passed();
        gated.results.push(result);
        gated.exit = followed.exit;
        gated.all_gone = followed.all_gone;
        gated.cut = followed.cut.filter(|cut| *cut != Cut::Command);
        // A process that cannot be killed would meddle with the next command.
        if !passed || gated.cut.is_some() || !gated.all_gone {
            return gated;
        }
    }
    gated
}

/// Writes the line that separates the commands in the log, and says where the command's own output begins.
fn header(log: &Path, gate: &GateCommand) -> io::Result<u64> {
    let mut log = File::options().append(true).open(log)?;
    let line = format!("== gate {}: {}\n", gate.name, gate.run.trim_end());
    fault::write!("gate.header", line.as_bytes(), |line| log.write_all(line))?;
    Ok(log.metadata()?.len())
}

fn result(gate: &GateCommand, followed: &Followed, log: &Path, offset: u64) -> GateResult {
    GateResult {
        name: gate.name.clone(),
        command: gate.run.clone(),
        exit: followed.exit,
        timed_out: followed.cut == Some(Cut::Command),
        elapsed_seconds: followed.elapsed.as_secs_f64(),
        output_tail: tail(log, offset).unwrap_or_else(|error| format!("(the output cannot be read: {error})")),
        retries: gate.retries,
        error_line: match gate.output {
            OutputRule::Any => None,
            OutputRule::NoErrors => error_line(log, offset),
        },
    }
}

/// The first line of a command's output that looks like an error. Output that cannot be read is no proof of anything.
fn error_line(log: &Path, offset: u64) -> Option<String> {
    let mut found = None;
    let read = Tail::open(log).and_then(|tail| {
        let mut feed = |line: &[u8]| {
            if found.is_none() && output::is_error(&String::from_utf8_lossy(line)) {
                found = Some(String::from_utf8_lossy(line).trim_end().chars().take(output::LINE_CHARS).collect());
            }
        };
        tail.from(offset).finish(&mut feed)
    });
    found.or_else(|| read.err().map(|error| format!("(the output cannot be read: {error})")))
}

fn tail(log: &Path, offset: u64) -> io::Result<String> {
    let log = regular::existing(log, OpenOptions::new().read(true))?;
    let len = log.metadata()?.len();
    let from = offset.min(len).max(len.saturating_sub(TAIL_BYTES));
    let mut bytes = vec![0; usize::try_from(len - from).unwrap_or_default()];
    log.read_exact_at(&mut bytes, from)?;
    let text = String::from_utf8_lossy(&bytes);
    let surplus = text.chars().count().saturating_sub(TAIL_CHARS);
    Ok(text.chars().skip(surplus).collect())
}
