//! A stage's story as a page: pure, and everything that others wrote is cleaned on its way.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::story::{CardFile, Found, Record, Story};
use crate::cli::output;
use crate::cli::terminal::Look;
use crate::cli::terminal::look::{Tone, between, span};
use crate::cli::terminal::text::{clean, clean_lines, wrap};
use crate::core::exit::{EndedBy, ExitRecord, GateResult, ProcessEnd, Usage};
use crate::core::ids::Role;
use crate::core::quantity::grouped;
use crate::core::state::RunOutcome;
use crate::core::state_doc::StageDoc;
use crate::files::spent;

/// The width of the names at the left.
const NAMES: usize = 12;

/// The whole page.
pub fn render(story: &Story, look: &Look, now: DateTime<Utc>) -> String {
    let mut page = Page { text: String::new(), look };
    page.head(story, now);
    for record in &story.records {
        page.run(record, now);
    }
    page.disagreements(story);
    if let Some(question) = &story.question {
        page.block("question", question, Tone::Warn);
    }
    if let Some(answer) = &story.answer {
        page.block("answer", answer, Tone::Plain);
    }
    if let Some(landed) = &story.landed {
        let subject = landed.subject.as_deref().map_or_else(|| "(this repository does not have it)".to_owned(), clean);
        page.title(&format!("landed as {}: {subject}", landed.commit), Tone::Good);
        for line in clean_lines(&landed.stat) {
            page.line(&format!("  {}", line.trim_start()), Tone::Plain);
        }
    }
    if !story.branches.is_empty() {
        page.title("kept", Tone::Strong);
        for branch in &story.branches {
            page.line(&format!("  {} at {}", branch.name, branch.commit), Tone::Plain);
            page.line(&format!("    {}", clean(&branch.look)), Tone::Faint);
        }
    }
    if !story.ledger.is_empty() {
        page.title("what the ledger has of it", Tone::Strong);
        for line in &story.ledger {
            page.line(&format!("  {}  {}", look.moment(line.at), clean(&output::words(&line.note))), Tone::Plain);
        }
    }
    page.text
}

struct Page<'a> {
    text: String,
    look: &'a Look,
}

impl Page<'_> {
    /// A line that stands as it is, however long: paths and commands are there to be copied.
    fn line(&mut self, line: &str, tone: Tone) {
        let painted = self.look.paint(tone, line.trim_end());
        self.text.push_str(&painted);
        self.text.push('\n');
    }

    fn title(&mut self, title: &str, tone: Tone) {
        self.text.push('\n');
        self.line(title, tone);
    }

    /// A name and what it is, wrapped under itself; nothing where it is nothing.
    fn field(&mut self, name: &str, value: &str, tone: Tone) {
        if value.is_empty() {
            return;
        }
        let lines = wrap(value, self.look.width.saturating_sub(NAMES + 2));
        for (number, line) in lines.into_iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let line = format!("  {name:<NAMES$}{}", self.look.paint(tone, &line));
            self.line(&line, Tone::Plain);
        }
    }

    /// A text of several lines under a title.
    fn block(&mut self, title: &str, text: &str, tone: Tone) {
        self.title(title, tone);
        self.quoted(clean_lines(text.trim_end()), "  ");
    }

    /// Lines of others, wrapped, each behind the same mark.
    fn quoted(&mut self, lines: Vec<String>, mark: &str) {
        let room = self.look.width.saturating_sub(mark.len());
        for line in lines {
            let words = line.trim_start();
            let indent = " ".repeat((line.len() - words.len()).min(room / 2));
            for part in wrap(words, room - indent.len()) {
                self.line(&format!("{mark}{indent}{part}"), Tone::Plain);
            }
        }
    }

    fn head(&mut self, story: &Story, now: DateTime<Utc>) {
        let Some(stage) = &story.stage else {
            self.line(&story.subject.to_string(), Tone::Strong);
            let words = "is neither in the queue nor in the archive; this is what its runs and the ledger have left";
            self.field("found", words, Tone::Warn);
            return;
        };
        self.line(&format!("{}: {}", stage.id, clean(&stage.title)), Tone::Strong);
        self.field("status", &status(stage), Tone::Plain);
        if story.found == Found::Archive {
            self.field("found", "in the archive: it is done with and left the queue", Tone::Faint);
        }
        self.card(story, stage);
        self.field("worker", &clean(&stage.worker.to_string()), Tone::Plain);
        self.field("rung", &rung(stage), Tone::Plain);
        self.field("fallback", &fallback(stage), Tone::Plain);
        for verifier in &stage.verifiers {
            self.field("verifier", &clean(&verifier.to_string()), Tone::Plain);
        }
        if let Some(why) = &stage.unverified {
            self.field("verifier", &format!("none ({})", clean(why)), Tone::Warn);
        }
        if stage.verifiers.len() > 1 {
            self.field("quorum", &format!("{} of {}", stage.quorum, stage.verifiers.len()), Tone::Plain);
        }
        self.field("base", &clean(&stage.base_branch), Tone::Plain);
        let needs: Vec<&str> = stage.depends_on.iter().map(crate::core::ids::StageId::as_str).collect();
        self.field("depends on", &needs.join(", "), Tone::Plain);
        if stage.attempt > 0 {
            let failures = if stage.failures > 0 { format!(", {} failed", stage.failures) } else { String::new() };
            self.field("attempts", &format!("{}{failures}", stage.attempt), Tone::Plain);
        }
        if let Some(at) = stage.started_at {
            self.field("began", &format!("{} ({} ago)", self.look.moment(at), span(between(at, now))), Tone::Plain);
        }
        if let Some(at) = stage.completed_at {
            self.field("ended", &format!("{} ({} ago)", self.look.moment(at), span(between(at, now))), Tone::Plain);
        }
        let spent = format!("{} tokens, {}", grouped(stage.tokens.0), stage.cost_usd);
        self.field("spent", &spent, Tone::Plain);
        if let Some(kept) = &stage.kept {
            let candidate = &kept.candidate;
            self.field("kept", &format!("commit {} (tree {})", candidate.commit, candidate.tree), Tone::Plain);
        }
        if let Some(reason) = &stage.reason {
            self.field("reason", &reason.code, Tone::Warn);
            self.quoted(clean_lines(reason.detail.trim_end()), &" ".repeat(NAMES + 2));
        }
        self.field("next", &clean(&story.next_step), Tone::Strong);
    }

    fn card(&mut self, story: &Story, stage: &StageDoc) {
        let standing = match story.card_file {
            CardFile::Same => "",
            CardFile::Edited => "; edited since the attempt began, which works from the bytes of that time",
            CardFile::Gone => "; the file is gone",
            CardFile::NotBegun => "; read when the stage starts",
        };
        self.field("card", &format!("{}{standing}", clean(&stage.card)), Tone::Plain);
        self.field("sha256", stage.card_sha256.as_deref().unwrap_or_default(), Tone::Faint);
    }

    fn run(&mut self, record: &Record, now: DateTime<Utc>) {
        let outcome = record.past.as_ref().map(|past| past.outcome);
        let word = outcome.map_or("in flight", RunOutcome::words);
        let tone = match outcome {
            None => Tone::Busy,
            Some(RunOutcome::Done) => Tone::Strong,
            Some(_) => Tone::Warn,
        };
        self.title(&format!("run {}: {word}", record.run), tone);
        let who = record.identity.as_ref().map_or_else(String::new, |identity| clean(&identity.to_string()));
        let model = record.model.as_deref().map_or_else(String::new, |model| format!(", {}", clean(model)));
        let family = record.family.as_ref().map_or_else(String::new, |family| format!(" ({family}{model})"));
        self.field("who", &format!("{who}{family}"), Tone::Plain);
        match &record.exit {
            Some(exit) => self.exit(exit, now),
            None => {
                if let Some(past) = &record.past {
                    let seen = format!("{} ({} ago)", self.look.moment(past.at), span(between(past.at, now)));
                    self.field("ended", &format!("seen {seen}"), Tone::Plain);
                }
            }
        }
        if let Some(past) = &record.past {
            let unknown =
                if past.usage_unknown { ": its usage is unknown, so its reservation was charged" } else { "" };
            let charged = format!("{} tokens, {}, {}{unknown}", grouped(past.tokens.0), past.cost_usd, past.seconds);
            self.field("charged", &charged, Tone::Plain);
        }
        match &record.dir {
            Some(dir) => self.field("files", &clean(&dir.display().to_string()), Tone::Faint),
            None => self.field("files", "its directory is gone; the history is what is left", Tone::Faint),
        }
        if let Some(setup) = &record.setup {
            self.field("setup", &clean(&setup.run), Tone::Plain);
        }
        if !record.error_tail.is_empty() {
            self.field("stderr", "its last lines; stderr.log has the rest", Tone::Faint);
            self.quoted(record.error_tail.iter().map(|line| clean(line)).collect(), "    | ");
        }
        for gate in record.exit.iter().flat_map(|exit| &exit.gates) {
            self.gate(gate, record);
        }
        for flag in record.flags.iter().flat_map(|report| &report.flags) {
            self.field("flag", &clean(&flag.to_string()), Tone::Warn);
        }
        if let Some(outbox) = &record.outbox {
            self.outbox(outbox);
        }
    }

    fn exit(&mut self, exit: &ExitRecord, now: DateTime<Utc>) {
        let took = span(exit.elapsed());
        let ended = span(between(exit.ended_at, now));
        let times = format!("{}, took {took}, ended {ended} ago", self.look.moment(exit.started_at));
        self.field("started", &times, Tone::Plain);
        let how = match exit.exit {
            ProcessEnd::Code(code) => format!("exit code {code}"),
            ProcessEnd::Signal(signal) => format!("signal {signal}"),
            ProcessEnd::None => "it never ran".to_owned(),
        };
        self.field("ended by", &format!("{}, {how}", ended_by(exit.ended_by)), Tone::Plain);
        if exit.usage.total_tokens.0 > 0 {
            self.field("used", &usage(&exit.usage), Tone::Plain);
        }
        let memory = format!("{} MiB, {:.1}s of CPU", exit.peak_rss_bytes >> 20, exit.cpu_seconds);
        self.field("peak memory", &memory, Tone::Plain);
        if let Some(refusal) = &exit.provider.refusal {
            self.field("refused", &clean(&refusal.line), Tone::Warn);
        }
        if let Some(fault) = &exit.outbox_fault {
            self.field("outbox", &clean(fault), Tone::Bad);
        }
    }

    fn gate(&mut self, gate: &GateResult, record: &Record) {
        let (word, tone) = match (gate.passed(), gate.timed_out) {
            (true, _) => ("passed", Tone::Good),
            (false, true) => ("TIMED OUT", Tone::Bad),
            (false, false) => ("FAILED", Tone::Bad),
        };
        let first = clean(gate.command.trim().lines().next().unwrap_or_default());
        let name = clean(&gate.name);
        self.line(&format!("  gate {name}: {word} in {:.1}s: {first}", gate.elapsed_seconds), tone);
        if gate.passed() {
            return;
        }
        if let Some(line) = &gate.error_line {
            self.field("printed", &clean(line), Tone::Bad);
        }
        self.quoted(clean_lines(gate.output_tail.trim_end()), "    | ");
        if let Some(dir) = &record.dir {
            let log = dir.join("stdout.log");
            let packed = spent::packed(&log);
            if log.exists() {
                self.line(&format!("    all of it: {}", clean(&log.display().to_string())), Tone::Faint);
            } else if packed.exists() {
                self.line(&format!("    all of it: zcat {}", clean(&packed.display().to_string())), Tone::Faint);
            }
        }
    }

    /// A handoff or a verdict, whatever of it is there.
    fn outbox(&mut self, outbox: &Value) {
        for key in ["status", "overall", "headline", "notes", "question", "additional_findings"] {
            let Some(value) = outbox.get(key).and_then(Value::as_str).filter(|value| !value.is_empty()) else {
                continue;
            };
            let mut lines = clean_lines(value).into_iter();
            let first = format!("{key}: {}", lines.next().unwrap_or_default());
            let tone = if value == "FAIL" || value == "fail" { Tone::Bad } else { Tone::Plain };
            for (number, part) in wrap(&first, self.look.width.saturating_sub(4)).into_iter().enumerate() {
                self.line(&format!("  {}{part}", if number == 0 { "" } else { "  " }), tone);
            }
            self.quoted(lines.collect(), "    ");
        }
        for criterion in outbox.get("criteria").and_then(Value::as_array).into_iter().flatten() {
            let part = |key: &str| criterion.get(key).and_then(Value::as_str).map(clean).unwrap_or_default();
            let id = criterion.get("id").and_then(Value::as_u64).unwrap_or(0);
            let (verdict, name, evidence) = (part("verdict"), part("name"), part("evidence"));
            let tone = if verdict == "PASS" { Tone::Plain } else { Tone::Bad };
            let text = format!("{id}. {verdict}: {name} ({evidence})");
            for (number, part) in wrap(&text, self.look.width.saturating_sub(5)).into_iter().enumerate() {
                self.line(&format!("  {}{part}", if number == 0 { "" } else { "   " }), tone);
            }
        }
    }

    /// Where the seats of the newest panel do not say the same.
    fn disagreements(&mut self, story: &Story) {
        let found = disagreements(story);
        if !found.is_empty() {
            self.title("the seats disagree", Tone::Warn);
            for line in found {
                self.line(&format!("  {line}"), Tone::Plain);
            }
        }
    }
}

/// What the verifiers of the newest attempt see differently, criterion by criterion.
pub fn disagreements(story: &Story) -> Vec<String> {
    let verdicts: Vec<&Record> =
        story.records.iter().filter(|record| record.run.role == Role::Verifier && record.outbox.is_some()).collect();
    let Some(newest) = verdicts.iter().map(|record| record.run.attempt).max() else { return Vec::new() };
    // A seat that looked again counts by what it said last.
    let mut seats: Vec<&Record> = Vec::new();
    for record in verdicts.into_iter().filter(|record| record.run.attempt == newest) {
        seats.retain(|seat| seat.run.seat != record.run.seat);
        seats.push(record);
    }
    let said = |record: &Record, id: u64| {
        let criteria = record.outbox.as_ref()?.get("criteria")?.as_array()?;
        let entry = criteria.iter().find(|entry| entry.get("id").and_then(Value::as_u64) == Some(id))?;
        entry.get("verdict")?.as_str().map(clean)
    };
    let count = |record: &&Record| record.outbox.as_ref()?.get("criteria")?.as_array().map(Vec::len);
    let most = seats.iter().filter_map(count).max().unwrap_or(0);
    let mut lines = Vec::new();
    for id in 1..=u64::try_from(most).unwrap_or(0) {
        let votes: Vec<(u32, String)> =
            seats.iter().filter_map(|seat| Some((seat.run.seat?, said(seat, id)?))).collect();
        if votes.iter().any(|(_, vote)| *vote != votes[0].1) {
            let votes: Vec<String> = votes.iter().map(|(seat, vote)| format!("seat {seat} {vote}")).collect();
            lines.push(format!("criterion {id}: {}", votes.join(", ")));
        }
    }
    lines
}

/// Which rung of its ladder a stage is on, and from whom it came there; nothing on the first.
fn rung(stage: &StageDoc) -> String {
    if stage.rung == 0 {
        return String::new();
    }
    let worked = stage.history.iter().filter(|past| past.run.role == Role::Worker);
    let mut before: Vec<String> = worked
        .filter_map(|past| past.identity.as_ref())
        .filter(|who| **who != stage.worker)
        .map(|who| clean(who.name()))
        .collect();
    before.dedup();
    format!("{} (escalated from {})", stage.rung, before.join(", then "))
}

/// Whose places others have taken, and what they wait for; nothing where everybody stands in their own.
fn fallback(stage: &StageDoc) -> String {
    let Some(own) = &stage.fallback else { return String::new() };
    let places = std::iter::once((&own.worker, &stage.worker)).chain(own.verifiers.iter().zip(&stage.verifiers));
    let taken = places.filter(|(own, now)| own != now).map(|(own, _)| clean(own.name()));
    format!("in place of {}: {}", taken.collect::<Vec<_>>().join(", "), clean(&own.because))
}

fn status(stage: &StageDoc) -> String {
    let word = serde_json::to_value(stage.status).ok().and_then(|word| word.as_str().map(str::to_owned));
    let phase = stage.phase.and_then(|phase| serde_json::to_value(phase).ok());
    let phase = phase.and_then(|phase| Some(format!(", {}", phase.as_str()?))).unwrap_or_default();
    format!("{}{phase}", word.unwrap_or_default().replace('_', " "))
}

fn ended_by(ended_by: EndedBy) -> &'static str {
    match ended_by {
        EndedBy::Exit => "itself",
        EndedBy::Timeout => "its wall-clock cap",
        EndedBy::TokenCap => "its token cap",
        EndedBy::CostCap => "its cost cap",
        EndedBy::OutputCap => "its output cap, or a full disk",
        EndedBy::Refused => "a refusal of its provider",
        EndedBy::Stalled => "its silence",
        EndedBy::Cancelled => "a request to stop",
        EndedBy::SpawnFailed => "a program that could not be started",
    }
}

fn usage(usage: &Usage) -> String {
    let cached = usage.cached_input_tokens.0;
    let written = usage.cache_write_tokens.0;
    let mut text = format!("{} tokens: {} in", grouped(usage.total_tokens.0), grouped(usage.input_tokens.0));
    if cached > 0 {
        text.push_str(&format!(", {} from the cache", grouped(cached)));
    }
    if written > 0 {
        text.push_str(&format!(", {} into the cache", grouped(written)));
    }
    text.push_str(&format!(", {} out", grouped(usage.output_tokens.0)));
    if let Some(cost) = usage.cost_usd {
        text.push_str(&format!("; {cost}"));
    }
    text
}
