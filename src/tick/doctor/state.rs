//! The state of one repository: whole, its own, in agreement with its ledger and its budget, and able to go on.

use crate::core::budget::HaltReason;
use crate::core::state::{Life, Reservation};
use crate::files::ledger;
use crate::files::lock;
use crate::files::store::{self, Loaded, StoreError};

use super::super::brief::{self, Pin};
use super::super::site::Site;
use super::super::{fire, snapshot};
use super::finding::{Area, Finding};

/// What brings damaged files back.
const RESTORE: &str = "autometta doctor --restore";

fn fault(says: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding::fault(Area::Repository, says).mend(mend)
}

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let mut findings = Vec::new();
    let loaded = match store::peek(&site.layout) {
        Ok(loaded) => Some(loaded),
        // Without a state there is nothing else to look at.
        Err(error @ StoreError::NotInitialised(_)) => return vec![fault(error.to_string(), "autometta init")],
        Err(error) => {
            let mend = match &error {
                StoreError::VersionOne { .. } => "autometta init",
                StoreError::Newer { .. } => "update autometta",
                error if error.is_damage() => RESTORE,
                _ => "ls -la of the folder; it must be readable",
            };
            findings.push(fault(error.to_string(), mend));
            None
        }
    };
    if let Some(loaded) = &loaded {
        findings.extend(integrity(site, loaded));
        findings.extend(halts(loaded));
    }
    findings.push(ledger(site));
    if let Some(loaded) = &loaded {
        findings.extend(cards(site, loaded));
    }
    findings
}

fn integrity(site: &Site, loaded: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = fire::belongs_here(site, loaded) {
        findings.push(fault(error.to_string(), "autometta init --adopt"));
    }
    let txn = site.layout.txn();
    if txn.exists() && !lock::is_held(&site.layout.tick_lock()).unwrap_or(true) {
        let says = format!("a tick died while it wrote; {} is finished by the next one", txn.display());
        findings.push(Finding::warning(Area::Repository, says).mend("autometta tick --repo ."));
    }
    let flying = reserved(loaded);
    let budget = &loaded.budget;
    let set_aside = Reservation {
        tokens: budget.tokens_reserved,
        cost_usd: budget.cost_reserved_usd,
        seconds: budget.wall_clock_reserved_seconds,
    };
    if flying == set_aside {
        let stages = loaded.state.stages.len();
        let runs = loaded.state.flights().count();
        findings.push(Finding::ok(
            Area::Repository,
            format!("state.yaml and budget.json are whole and agree (stages: {stages}, runs in flight: {runs})"),
        ));
    } else {
        let show = |of: Reservation| format!("{} tokens, {}, {}", of.tokens, of.cost_usd, of.seconds);
        let says = format!(
            "budget.json has set aside {}, and the runs in flight were promised {}",
            show(set_aside),
            show(flying)
        );
        findings.push(fault(says, "halt, correct the three `…_reserved…` figures in state/budget.json, resume"));
    }
    findings
}

/// What the runs in flight were promised, together.
fn reserved(loaded: &Loaded) -> Reservation {
    loaded.state.flights().fold(Reservation::default(), |sum, (_, flight)| Reservation {
        tokens: sum.tokens + flight.reserved.tokens,
        cost_usd: sum.cost_usd + flight.reserved.cost_usd,
        seconds: sum.seconds + flight.reserved.seconds,
    })
}

fn halts(loaded: &Loaded) -> Vec<Finding> {
    let halts = loaded.budget.halt_reasons.iter();
    halts
        .map(|halt| {
            let says = format!("halted, {}: {}", halt.reason.as_str(), halt.detail);
            match halt.reason {
                HaltReason::StateCorrupt => fault(says, RESTORE),
                _ => Finding::warning(Area::Repository, says).mend("autometta resume"),
            }
        })
        .collect()
}

/// The ledger's chain, held against the newest snapshot.
fn ledger(site: &Site) -> Finding {
    let sealed = site.repo(None).and_then(|repo| snapshot::sealed(&repo)).ok().flatten();
    match ledger::verify(&site.layout.ledger(), sealed.as_ref()) {
        Ok(head) => {
            Finding::ok(Area::Repository, format!("the ledger is whole up to its last line, number {}", head.seq))
        }
        Err(error) => {
            // A tear at the end can be mended; what was changed in the middle is for a person to judge.
            let mend = if ledger::head(&site.layout.ledger()).is_err() { RESTORE } else { "autometta log --verify" };
            fault(error.to_string(), mend)
        }
    }
}

fn cards(site: &Site, loaded: &Loaded) -> Vec<Finding> {
    let pending: Vec<_> = loaded.state.stages.iter().filter(|stage| matches!(stage.life, Life::Pending(_))).collect();
    let mut findings: Vec<Finding> = pending
        .iter()
        .filter_map(|stage| {
            let why = brief::read(site, stage, Pin::No).err()?;
            Some(fault(format!("{} cannot start: {why}", stage.id), format!("autometta card lint {}", stage.card)))
        })
        .collect();
    if findings.is_empty() && !pending.is_empty() {
        findings
            .push(Finding::ok(Area::Repository, format!("every card of a pending stage is valid ({})", pending.len())));
    }
    findings
}
