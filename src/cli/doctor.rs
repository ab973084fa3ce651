//! `doctor`: is everything fit for a night, and what mends what is not; `--restore` brings a damaged state back.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use clap::Args;

use crate::core::quantity::grouped;
use crate::tick::clock;
use crate::tick::doctor::{self, Area, Finding, Level, Report};
use crate::tick::find_root;
use crate::tick::restore::{self, Decision, Outcome, Proposal, Restoration};

use super::{DONE, FAILED, Place, REFUSED, output};

/// How many ledger lines a proposal shows.
const LINES: usize = 20;

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Look at every subscribed repository instead of the one around the present directory.
    #[arg(long, conflicts_with = "restore")]
    pub all: bool,
    /// Bringing a damaged state back.
    #[command(flatten)]
    pub restoring: RestoreArgs,
}

/// `doctor --restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Bring state.yaml, budget.json and the ledger's end back from the newest good copy, after showing what that means.
    #[arg(long)]
    pub restore: bool,
    /// Restore without asking.
    #[arg(long, requires = "restore")]
    pub yes: bool,
}

/// `__probe`
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Print JSON, which is all that it can print.
    #[arg(long)]
    pub json: bool,
}

pub fn doctor(at: &Place, args: &DoctorArgs) -> anyhow::Result<u8> {
    if args.restoring.restore {
        return restore(at, args);
    }
    let report = doctor::examine(&at.home, &at.exe, &repos(at, args)?, clock::now());
    if args.json {
        output::json(&report)?;
    } else {
        output::print(&text(&report))?;
    }
    Ok(if report.faults > 0 { FAILED } else { DONE })
}

/// The repositories to look at. Outside of any, and without `--repo`, the machine alone is looked at.
fn repos(at: &Place, args: &DoctorArgs) -> anyhow::Result<Vec<PathBuf>> {
    if args.all {
        // One that cannot be read is a finding about home.
        let subscribers = at.home.subscribers()?.into_iter().filter_map(|(_, subscriber)| subscriber.ok());
        return Ok(subscribers
            .filter(|known| known.enabled && known.repo_path.is_dir())
            .map(|known| known.repo_path)
            .collect());
    }
    let path = at.path()?;
    Ok(if at.repo.is_some() || find_root(&path).is_ok() { vec![path] } else { Vec::new() })
}

/// The hidden half of the timer's check: the same questions, asked by a process that the scheduler could have started.
pub fn probe(_: &ProbeArgs) -> anyhow::Result<u8> {
    let mut asked = String::new();
    io::stdin().lock().read_to_string(&mut asked)?;
    output::json(&doctor::answer(&serde_json::from_str(&asked)?))?;
    Ok(DONE)
}

/// The report, a heading for each area and repository.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut under: Option<(Area, Option<&PathBuf>)> = None;
    for finding in &report.findings {
        let place = (finding.area, finding.repo.as_ref());
        if under != Some(place) {
            let heading = finding
                .repo
                .as_ref()
                .map_or_else(|| finding.area.as_str().to_owned(), |repo| repo.display().to_string());
            text.push_str(&format!("{}{heading}\n", if under.is_some() { "\n" } else { "" }));
            under = Some(place);
        }
        text.push_str(&line(finding));
    }
    text.push_str(&format!("\n{}\n", report.summary()));
    text
}

/// A finding under its heading: its level, what it says, and what mends it.
pub(super) fn line(finding: &Finding) -> String {
    // A sentence of several lines, such as a list of faults, stays in its column.
    let says = finding.says.trim_end().replace('\n', "\n             ");
    let mut line = format!("  {:<9}{says}\n", finding.level.as_str());
    if finding.level != Level::Ok
        && let Some(mend) = &finding.mend
    {
        line.push_str(&format!("  {:<9}→ {mend}\n", ""));
    }
    line
}

fn restore(at: &Place, args: &DoctorArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let mut shown = None;
    let mut fault = None;
    let outcome = restore::restore(&site, clock::now(), |proposal| {
        shown = Some(proposal.clone());
        decide(proposal, args).unwrap_or_else(|error| {
            fault = Some(error);
            Decision::Leave
        })
    })?;
    if let Some(error) = fault {
        return Err(error);
    }
    let (code, restored, kept) = match outcome {
        Outcome::Sound => (DONE, false, Vec::new()),
        Outcome::Left => (REFUSED, false, Vec::new()),
        Outcome::Restored(kept) => (DONE, true, kept),
    };
    if args.json {
        output::json(&Restoration { proposal: shown, restored, kept })?;
    } else if restored {
        let kept = if kept.is_empty() {
            String::new()
        } else {
            format!("; kept in {}: {}", site.layout.dir().display(), kept.join(", "))
        };
        output::print(&format!("restored{kept}\nnext: `autometta status`; the next tick goes on from here\n"))?;
    } else if shown.is_none() {
        output::print("nothing is damaged, so there is nothing to restore\n")?;
    } else if args.restoring.yes || io::stdin().is_terminal() {
        output::print("nothing was changed\n")?;
    } else {
        eprintln!("autometta: nothing was changed; to restore, say so: `autometta doctor --restore --yes`");
    }
    Ok(code)
}

/// Shows the proposal and takes the answer: `--yes`, or a person's on a terminal. Nobody's silence is a yes.
fn decide(proposal: &Proposal, args: &DoctorArgs) -> anyhow::Result<Decision> {
    if !args.json {
        output::print(&words(proposal))?;
    }
    if args.restoring.yes {
        return Ok(Decision::Restore);
    }
    if args.json || !io::stdin().is_terminal() {
        return Ok(Decision::Leave);
    }
    output::print("restore? [y/N] ")?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    Ok(if is_yes { Decision::Restore } else { Decision::Leave })
}

/// A proposal in words.
fn words(proposal: &Proposal) -> String {
    let mut text = String::new();
    let mut list = |heading: &str, lines: &[String]| {
        if !lines.is_empty() {
            text.push_str(&format!("{heading}\n"));
            for line in lines {
                text.push_str(&format!("  {}\n", line.replace('\n', "\n  ")));
            }
        }
    };
    list("damaged:", &proposal.damage);
    list("copies that are damaged as well:", &proposal.passed_over);
    if let Some(copy) = &proposal.copy {
        let short = &copy.commit[..12.min(copy.commit.len())];
        list(
            "comes back:",
            &[format!(
                "{} from {short}, as of line {} of the ledger, with {} stages",
                copy.files.join(" and "),
                copy.ledger_seq,
                copy.stages
            )],
        );
    }
    let count = proposal.since.len();
    let mut since: Vec<String> = proposal
        .since
        .iter()
        .take(LINES)
        .map(|line| format!("{:>5}  {}  {}", line.seq, line.at.format("%Y-%m-%d %H:%M:%S"), output::words(&line.note)))
        .collect();
    if count > LINES {
        since.push(format!("… and {} more (`autometta log`)", count - LINES));
    }
    list("happened since, as the ledger tells:", &since);
    let stages: Vec<String> = proposal
        .stages
        .iter()
        .map(|change| {
            format!(
                "{}: {} in the copy, {} by the ledger, will be {}",
                change.stage, change.copy, change.ledger, change.restored
            )
        })
        .collect();
    list("stages that differ:", &stages);
    let orphans: Vec<String> = proposal.orphans.iter().map(ToString::to_string).collect();
    list(
        "runs that the copy does not know; stopped, their work kept on wip/ branches, their ids not used again:",
        &orphans,
    );
    list("queued since, to be queued again with `autometta add-stage`:", &proposal.queue_again);
    let mut ledger = Vec::new();
    if proposal.torn_bytes > 0 {
        ledger.push(format!("{} bytes after its last whole line are moved aside", grouped(proposal.torn_bytes as u64)));
        if proposal.ledger_lines_back == 0 {
            ledger.push(
                "what they told is lost: one transition, whose effects stand in the files it was written with"
                    .to_owned(),
            );
        }
    }
    if proposal.ledger_lines_back > 0 {
        ledger.push(format!("{} lines come back from the copy", proposal.ledger_lines_back));
    }
    list("ledger:", &ledger);
    let spend = &proposal.spend;
    let mut figures = vec![format!("{} tokens, {}", spend.tokens, spend.cost_usd)];
    if (spend.copy_tokens, spend.copy_cost_usd) != (spend.tokens, spend.cost_usd) {
        figures.push(format!(
            "(the copy has {} tokens, {}; the higher figures stand)",
            spend.copy_tokens, spend.copy_cost_usd
        ));
    }
    list("spent:", &figures);
    if proposal.lifts_halt {
        list("lifted:", &["the halt state-corrupt, and no other".to_owned()]);
    }
    text
}
