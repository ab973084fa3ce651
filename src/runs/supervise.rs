//! The life of a supervisor, from its claim to the tick that it starts as its last act.
//!
//! The order at the end is what makes a crash at any instant harmless. Every process of the run is gone; the outbox
//! and `gates.json` are copied; `exit.json` is written, durably, and is the truth from then on; the registry follows,
//! which nobody relies on; the lock is released; and this process *becomes* the next tick, so that nothing is left
//! to reap. Killed before `exit.json`, the run is lost and tried again; killed after it, the timer's tick finds it.
//!
//! TERM makes a supervisor stop its program and end the run as cancelled. A tick tells that from an operator's wish by
//! the `cancel` marker, which only an operator's wish leaves behind. HUP and INT are ignored.

#![expect(clippy::disallowed_methods, reason = "runs/ starts the tick that follows")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeValLike as _;
use nix::unistd::{Pid, dup2_stdin, dup2_stdout};

use super::claim::{Claim, claim};
use super::dir::{self, open_log};
use super::error::RunError;
use super::launch::{COULD_NOT_START, STARTED};
use super::leak::Since;
use super::login::{LoginState, login_state};
use super::meter::{MeterFor, MeterResult};
use super::program::{Environment, Start, find};
use super::pumps::Pumps;
use super::redact::Redactor;
use super::watch::{Cut, Watch};
use super::{clock, gates, leak, outbox, process, registry};
use crate::core::exit::{
    EndedBy, ExitRecord, GateResult, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage,
};
use crate::core::ids::Role;
use crate::core::run::{AgentStarted, EnvSource, ModelUse, Program, RegistryEntry};
use crate::core::secrecy::GIVEN_PREFIX;
use crate::fault;
use crate::files::atomic::Durability;

/// The longest line that a refusal quotes, in characters.
const QUOTE_CHARS: usize = 500;

/// `autometta __supervise <run-dir>`: carries out one run. Started by [`super::launch()`] only.
///
/// `meter_for` says how the program's output is read.
pub fn supervise(run_dir: &Path, meter_for: &MeterFor<'_>) -> ExitCode {
    let claim = match claim(run_dir) {
        Ok(claim) => claim,
        Err(error) => {
            log(&error);
            tell(&format!("{COULD_NOT_START}{error}"));
            return ExitCode::FAILURE;
        }
    };
    match carry_out(&claim, meter_for) {
        // Without its record the run is lost, and a later tick says so and tries again.
        Err(error) => log(&error),
        Ok(record) => {
            if let Err(error) = dir::write(&claim.dir.exit_file(), &record, Durability::Durable) {
                log(&error);
            }
            let retired = registry::retire(&claim.dir, &entry(&claim), record.ended_at, Some(record.ended_by));
            retired.unwrap_or_else(|error| log(&error));
        }
    }
    pulse(claim)
}

/// How the program went, as far as the watch could tell.
#[derive(Default)]
struct Ending {
    exit: Option<ProcessEnd>,
    cut: Option<Cut>,
    fault: Option<String>,
    gates: Vec<GateResult>,
    meter: MeterResult,
    redactor: Arc<Redactor>,
    /// What kept output from its log.
    unlogged: Option<io::Error>,
}

/// Runs the program and says how it went. An error is our own: what was handed in could not be kept, so that the run
/// must be tried again, and nobody is to blame but the disk.
fn carry_out(claim: &Claim, meter_for: &MeterFor<'_>) -> Result<ExitRecord, RunError> {
    let begun = Instant::now();
    let before = resources();
    let ending = run_program(claim, meter_for).unwrap_or_else(|fault| {
        log(&fault);
        tell(&format!("{COULD_NOT_START}{fault}"));
        Ending { fault: Some(fault), ..Ending::default() }
    });
    if let Some(error) = ending.unlogged {
        return Err(RunError::io("write the logs of", claim.dir.path())(error));
    }
    let ran = ending.exit.is_some();
    if !ending.gates.is_empty()
        && let Err(error) = dir::write(&claim.dir.gates_file(), &ending.gates, Durability::Durable)
    {
        log(&error);
    }
    let redactor = &ending.redactor;
    let collected = if ran {
        outbox::collect(&claim.dir, &claim.order, ending.meter.structured.as_ref(), redactor)?
    } else {
        outbox::Collected::default()
    };
    let secrets_in_work = match claim.order.run_id.role {
        Role::Worker if ran => leak::scan(&claim.order.cwd, redactor, Since::start_of(&claim.dir, &claim.started)),
        Role::Worker | Role::Gate | Role::Verifier => Vec::new(),
    };
    let mut provider = ending.meter.provider;
    // The CLI's own session file is read as it is; its words may be quoted.
    if let Some(refusal) = &mut provider.refusal {
        refusal.line = redactor.text(&refusal.line);
    }
    if let Some(fault) = &ending.fault {
        provider = ProviderReport { refusal: Some(configuration(fault)), resets_at: None };
    }
    let ended_by = match ending.cut {
        _ if ending.fault.is_some() => EndedBy::SpawnFailed,
        Some(Cut::Run(by)) => by,
        Some(Cut::Refused(mut refusal)) => {
            refusal.line = redactor.text(&refusal.line);
            provider.refusal.get_or_insert(refusal);
            EndedBy::Refused
        }
        Some(Cut::Command) | None => ending.meter.own_cap.unwrap_or(EndedBy::Exit),
    };
    let (after, peak) = (resources(), peak_rss());
    Ok(ExitRecord {
        run_id: claim.order.run_id.clone(),
        started_at: claim.started.started_at,
        ended_at: clock::now(),
        elapsed_seconds: begun.elapsed().as_secs_f64(),
        exit: ending.exit.unwrap_or(ProcessEnd::None),
        ended_by,
        usage: match claim.order.uses_model {
            ModelUse::Model if ran => ending.meter.usage,
            ModelUse::Model | ModelUse::None => Usage::none(),
        },
        provider,
        peak_rss_bytes: if ran { peak } else { 0 },
        cpu_seconds: after.saturating_sub(before).as_secs_f64(),
        outbox: collected.kind,
        outbox_fault: collected.fault,
        gates: ending.gates,
        secrets_in_work,
    })
}

/// Starts the program and follows it to its end. An error means that nothing was started.
fn run_program(claim: &Claim, meter_for: &MeterFor<'_>) -> Result<Ending, String> {
    let (dir, order) = (&claim.dir, &claim.order);
    let text = |error: RunError| error.to_string();
    // Only an order that was withdrawn before it began ends here; later wishes are the watch's.
    if let Ok(Some(marker)) = dir.cancel() {
        tell(&format!("{COULD_NOT_START}it was cancelled before it began"));
        return Ok(Ending { cut: Some(Cut::Run(marker.reason.ended_by())), ..Ending::default() });
    }
    let (environment, redactor) = Environment::build(order, &claim.started.token)?;
    let redactor = Arc::new(redactor);
    if let Some(rule) = &order.login
        && let LoginState::Wrong(why) = login_state(rule, environment.get(&rule.home_variable).map(Path::new))
    {
        return Err(why);
    }
    if !order.cwd.is_dir() {
        return Err(format!("{}: the directory to work in is not there", order.cwd.display()));
    }
    let (stdout, stderr) = (open_log(&dir.stdout_log()).map_err(text)?, open_log(&dir.stderr_log()).map_err(text)?);
    let pumps = Rc::new(Pumps::new(Arc::clone(&redactor)));
    let mut watch = Watch::new(claim, meter_for(order), Rc::clone(&pumps))
        .map_err(|error| format!("{}: {error}", dir.path().display()))?;
    let start = |path: &Path, argv: &[String], stdin: Stdio, output: &File, errors: &File| -> Result<Pid, String> {
        let name = argv.first().map_or("", String::as_str);
        let fail = |error: io::Error| format!("{name}: cannot be started: {error}");
        let stdout = pumps.way_into(output).map_err(fail)?;
        // One log for both streams means one way into it, or their order would be lost.
        let both = std::ptr::eq(output, errors).then(|| stdout.try_clone());
        let stderr = both.unwrap_or_else(|| pumps.way_into(errors)).map_err(fail)?;
        let start = Start { path, argv, environment: &environment, cwd: &order.cwd, stdin, stdout, stderr };
        let program = start.go(&claim.lock).map_err(fail)?;
        announce(claim, program);
        Ok(program)
    };
    let (mut ending, all_gone) = match &order.program {
        Program::Agent { argv, stdin } => {
            let name = argv.first().map_or("", String::as_str);
            let path = find(name, &environment, &order.cwd)?;
            if let Some(setup) = &order.setup {
                let shell = |argv: &[String], stdin| start(Path::new("/bin/sh"), argv, stdin, &stderr, &stderr);
                let done = gates::run(&mut watch, std::slice::from_ref(setup), &dir.stderr_log(), &shell);
                if let Some(ending) = setup_failed(&done) {
                    return Ok(ending);
                }
            }
            let program = start(&path, argv, prompt(stdin.as_deref())?, &stdout, &stderr)?;
            let followed = watch.follow(program, Duration::MAX);
            let ending = Ending { exit: Some(followed.exit), cut: followed.cut, ..Ending::default() };
            (ending, followed.all_gone)
        }
        Program::Gates { commands } => {
            // One log for both streams keeps a command's words in the order in which it said them.
            let shell = |argv: &[String], stdin| start(Path::new("/bin/sh"), argv, stdin, &stdout, &stdout);
            let gated = gates::run(&mut watch, commands, &dir.stdout_log(), &shell);
            if let (Some(fault), true) = (&gated.fault, gated.results.is_empty()) {
                return Err(fault.clone());
            }
            let ending = Ending {
                exit: Some(gated.exit),
                cut: gated.cut,
                fault: gated.fault,
                gates: gated.results,
                ..Ending::default()
            };
            (ending, gated.all_gone)
        }
    };
    if !all_gone {
        log(&"some processes survive KILL; they keep the run's lock until the kernel lets go of them");
    }
    match watch.finish(ending.exit.unwrap_or(ProcessEnd::None)) {
        Ok(result) => ending.meter = result,
        Err(error) => log(&format!("the logs cannot be read, so the usage is unknown: {error}")),
    }
    ending.redactor = redactor;
    ending.unlogged = pumps.failure();
    Ok(ending)
}

/// The end of a run whose setup did not succeed: the agent is not started in a checkout that cannot be used.
fn setup_failed(setup: &gates::Gated) -> Option<Ending> {
    let result = setup.results.first();
    if setup.fault.is_none() && setup.cut.is_none() && result.is_some_and(GateResult::passed) {
        return None;
    }
    let fault = match (&setup.cut, &setup.fault, result) {
        // The whole run was stopped, by its own caps or by an operator; that is not the setup's fault.
        (Some(_), ..) => None,
        (None, Some(fault), _) => Some(fault.clone()),
        (None, None, Some(result)) if result.timed_out => Some(format!("setup `{}` timed out", result.command)),
        (None, None, Some(result)) => Some(format!("setup `{}` failed: {}", result.command, result.output_tail.trim())),
        (None, None, None) => Some("setup did not run".to_owned()),
    };
    Some(Ending { fault, cut: setup.cut.clone(), ..Ending::default() })
}

/// Says, to the tick and to the world, that a program runs. What fails here is logged: the program runs already.
fn announce(claim: &Claim, program: Pid) {
    let first = !claim.dir.agent_file().exists();
    let agent = AgentStarted { run_id: claim.order.run_id.clone(), process: process::stamp(program.as_raw()) };
    if let Err(error) = dir::write(&claim.dir.agent_file(), &agent, Durability::Volatile) {
        log(&error);
    }
    if !first {
        return;
    }
    tell(STARTED);
    if let Err(error) = registry::announce(&claim.dir, &entry(claim)) {
        log(&error);
    }
}

fn entry(claim: &Claim) -> RegistryEntry {
    RegistryEntry::new(&claim.order, &claim.started, claim.dir.stdout_log(), claim.dir.stderr_log())
}

fn prompt(path: Option<&Path>) -> Result<Stdio, String> {
    path.map_or_else(
        || Ok(Stdio::null()),
        |path| File::open(path).map(Stdio::from).map_err(|error| format!("{}: {error}", path.display())),
    )
}

fn configuration(line: &str) -> Refusal {
    Refusal {
        class: RefusalClass::Configuration,
        scope: RefusalScope::Family,
        line: line.chars().take(QUOTE_CHARS).collect(),
    }
}

/// CPU time of every process that was reaped so far.
fn resources() -> Duration {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(Duration::ZERO, |usage| {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    })
}

/// The largest memory of any process that was reaped so far, in bytes. Linux counts in KiB, macOS in bytes.
fn peak_rss() -> u64 {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let peak =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or_default());
    peak.saturating_mul(unit)
}

/// Says one line to the tick that launched us. Only the first line counts: afterwards, standard output is the log.
fn tell(line: &str) {
    let mut out = io::stdout();
    // A tick that is gone by now finds out from the files.
    let line = line.replace('\n', " ") + "\n";
    let _ = fault::write!("supervisor.word", line.as_bytes(), |line| out.write_all(line)).and_then(|()| out.flush());
    let _ = dup2_stdout(io::stderr().as_fd());
}

/// A line in the supervisor's own log.
pub(super) fn log(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{} {what}", clock::now().format("%Y-%m-%dT%H:%M:%SZ"));
}

/// Releases the lock and becomes the next tick.
fn pulse(claim: Claim) -> ExitCode {
    let Claim { dir, order, lock, .. } = claim;
    // Standard input is the other copy of the lock.
    if let Err(error) = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?)) {
        log(&error);
    }
    let _ = fault::point!("run.release");
    drop(lock);
    let Some((program, arguments)) = order.pulse.split_first() else { return ExitCode::SUCCESS };
    // What is blocked, and being a subreaper, would outlive exec.
    let _ = SigSet::empty().thread_set_mask();
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(false);
    let mut tick = Command::new(PathBuf::from(program));
    tick.args(arguments).stdin(Stdio::null());
    // What was given for this run is for no other process.
    for entry in order.env.iter().filter(|entry| matches!(&entry.source, EnvSource::Secret(_))) {
        tick.env_remove(format!("{GIVEN_PREFIX}{}", entry.name));
    }
    if let (Ok(stdout), Ok(stderr)) = (open_log(&dir.supervisor_log()), open_log(&dir.supervisor_log())) {
        tick.stdout(stdout).stderr(stderr);
    }
    let error = fault::point!("run.pulse").err().unwrap_or_else(|| tick.exec());
    log(&format!("{program}: cannot be started, so the timer's tick goes on: {error}"));
    ExitCode::SUCCESS
}
