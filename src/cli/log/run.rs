//! What a run prints, line by line as its family makes it readable, while it goes on or afterwards.
//!
//! Standard error is shown as well, each line of it marked. Whatever an agent prints, nothing of it reaches the terminal
//! as an order to it.

use std::fs;
use std::thread;
use std::time::Duration;

use super::{LogArgs, reaches};
use crate::cli::DONE;
use crate::cli::terminal::look::{Look, Tone};
use crate::cli::terminal::text::{clean, clean_lines};
use crate::core::family::DecoderKind;
use crate::core::ids::{Role, RunId, StageId};
use crate::families::{Decoder, ModelUse};
use crate::runs::{Glance, Glancer, LogTail, RunDir, RunError};
use crate::tick::Site;

/// How often a run that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How much of a log is read before the other has its turn, in bytes.
const TURN: u64 = 256 << 10;

/// Why a run cannot be shown.
#[derive(Debug, thiserror::Error)]
enum Unfound {
    #[error("no run of {} begins with `{name}`; `autometta status` shows what runs, `autometta show STAGE` what ran", runs.display())]
    None { runs: std::path::PathBuf, name: String },
    #[error("`{name}` is the beginning of several runs: {}", found.join(", "))]
    Several { name: String, found: Vec<String> },
}

/// Prints a run's output; ends at its end.
pub fn print(site: &Site, name: &str, args: &LogArgs, look: &Look) -> anyhow::Result<u8> {
    let run = find(site, name)?;
    let dir = RunDir::new(&site.layout.run(&run))?;
    let mut glancer = Glancer::new(dir.path())?;
    let mut reader = Reader::new(&dir, args, look);
    let mut may_go_on = args.follow;
    loop {
        // Looked at before reading: what a run has printed by its end is then read to its end.
        let is_over = !may_go_on || matches!(glancer.look()?, Glance::Ended | Glance::Lost);
        let mut text = String::new();
        loop {
            let read = reader.advance(&mut text)?;
            if !text.is_empty() && !reaches(&std::mem::take(&mut text))? {
                return Ok(DONE);
            }
            if read < TURN {
                break;
            }
        }
        if is_over {
            reader.finish(&mut text)?;
            reaches(&text)?;
            break;
        }
        thread::sleep(LOOK);
        may_go_on = args.follow;
    }
    if args.raw {
        return Ok(DONE);
    }
    let words = match glancer.look()? {
        Glance::NotStarted => "it has not started".to_owned(),
        Glance::Running { .. } => "it is still running; --follow shows what comes".to_owned(),
        Glance::Lost => "it is gone without a record".to_owned(),
        Glance::Ended => match dir.exit() {
            Ok(Some(exit)) => format!("ended: {:?}, after {}", exit.ended_by, exit.elapsed()).to_lowercase(),
            _ => "it has ended, and its record cannot be read".to_owned(),
        },
    };
    let gone =
        if reader.stdout.is_none() && dir.exit_file().exists() { "; its output was not kept (`keep:`)" } else { "" };
    reaches(&format!("{}\n", look.paint(Tone::Faint, &format!("-- {run}: {words}{gone}"))))?;
    Ok(DONE)
}

/// The run that is meant: by its id, by a beginning that no other has, or the newest of a stage.
fn find(site: &Site, name: &str) -> anyhow::Result<RunId> {
    let entries = fs::read_dir(site.layout.runs()).into_iter().flatten().flatten();
    let named = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok());
    let runs: Vec<(RunId, fs::DirEntry)> = entries.filter_map(|entry| Some((named(&entry)?, entry))).collect();
    if let Some((run, _)) = runs.iter().find(|(run, _)| run.to_string() == name) {
        return Ok(run.clone());
    }
    if let Ok(stage) = name.parse::<StageId>() {
        let age = |entry: &fs::DirEntry| entry.path().join("run.json").metadata().and_then(|meta| meta.modified()).ok();
        let of_stage = runs.iter().filter(|(run, _)| run.stage == stage);
        if let Some((run, _)) = of_stage.max_by_key(|(run, entry)| (age(entry), run.clone())) {
            return Ok(run.clone());
        }
    }
    let mut found: Vec<&RunId> =
        runs.iter().map(|(run, _)| run).filter(|run| run.to_string().starts_with(name)).collect();
    found.sort();
    match found.as_slice() {
        [] => Err(Unfound::None { runs: site.layout.runs(), name: name.to_owned() }.into()),
        [one] => Ok((*one).clone()),
        several => {
            let found = several.iter().take(10).map(ToString::to_string).collect();
            Err(Unfound::Several { name: name.to_owned(), found }.into())
        }
    }
}

/// The two logs of a run.
struct Reader<'a> {
    dir: &'a RunDir,
    decoder: Decoder,
    role: Role,
    how: How,
    look: &'a Look,
    stdout: Option<LogTail>,
    stderr: Option<LogTail>,
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Readable,
    Raw,
}

impl<'a> Reader<'a> {
    fn new(dir: &'a RunDir, args: &LogArgs, look: &'a Look) -> Self {
        // Without an order nothing was printed either; a plain reader then has nothing to read.
        let decoder = dir.order().map_or(DecoderKind::Plain, |order| order.decoder);
        Self {
            dir,
            decoder: Decoder::new(decoder, ModelUse::Never),
            role: dir.run_id().role,
            how: if args.raw { How::Raw } else { How::Readable },
            look,
            stdout: None,
            stderr: None,
        }
    }

    fn open(&mut self) {
        // The logs are made when the run starts; until then there is nothing to open.
        self.stdout = self.stdout.take().or_else(|| LogTail::open(&self.dir.stdout_log()).ok());
        self.stderr = self.stderr.take().or_else(|| LogTail::open(&self.dir.stderr_log()).ok());
    }

    /// Reads on, a bounded part of each log; says how much that was.
    fn advance(&mut self, text: &mut String) -> Result<u64, RunError> {
        self.open();
        let Self { decoder, role, how, look, stdout, stderr, .. } = self;
        let mut most = 0;
        if let Some(log) = stdout {
            most = log.advance(TURN, &mut |line| out(decoder, *role, *how, line, text))?;
        }
        if let Some(log) = stderr {
            most = most.max(log.advance(TURN, &mut |line| err(*how, look, line, text))?);
        }
        Ok(most)
    }

    /// Reads what is left, last lines without an end included.
    fn finish(&mut self, text: &mut String) -> Result<(), RunError> {
        let Self { decoder, role, how, look, stdout, stderr, .. } = self;
        if let Some(log) = stdout {
            log.finish(&mut |line| out(decoder, *role, *how, line, text))?;
        }
        if let Some(log) = stderr {
            log.finish(&mut |line| err(*how, look, line, text))?;
        }
        Ok(())
    }
}

fn out(decoder: &Decoder, role: Role, how: How, line: &[u8], text: &mut String) {
    match (how, role) {
        // What a gate prints is what people read in a terminal: as it is, indentation included.
        (How::Raw, _) | (_, Role::Gate) => add_lines(line, "", text),
        (How::Readable, _) => match decoder.render(line) {
            Some(readable) => text.push_str(&(clean(&readable) + "\n")),
            // A CLI may print a line that is none of its records, such as a warning before it starts.
            None if serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err() => add_lines(line, "", text),
            None => {}
        },
    }
}

fn err(how: How, look: &Look, line: &[u8], text: &mut String) {
    let mark = if how == How::Raw { String::new() } else { look.paint(Tone::Warn, "stderr |") + " " };
    add_lines(line, &mark, text);
}

fn add_lines(line: &[u8], mark: &str, text: &mut String) {
    let lines = clean_lines(&String::from_utf8_lossy(line));
    for line in lines.iter().map(String::as_str).chain(lines.is_empty().then_some("")) {
        text.push_str(&format!("{mark}{line}\n"));
    }
}
