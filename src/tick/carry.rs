//! Carrying over the files of the shell implementation (version 1), once, with the old files kept beside the new ones.

use chrono::{DateTime, Utc};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tracing::warn;

use crate::core::budget::{Breach, Budget, Halt, HaltReason, Pause};
use crate::core::fault::Faults;
use crate::core::state::{EndStatus, Life, Over, Pending, Reason, Stage, State};
use crate::core::step::Note;
use crate::core::v1::{self, CarriedBudget, CarriedStage, CarriedStatus, V1Budget, V1State};
use crate::core::wait::Wait;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::store::{Loaded, Store, StoreError};

use super::error::TickError;
use super::site::Site;

/// Where version 1 kept its cards, besides the manifest's own globs.
const OLD_CARDS: [&str; 3] = ["stage-cards", "docs/stages", "examples/self-host"];

/// Carries version 1 over. Refused while one of its processes still runs; nothing is written then.
pub fn carry_over(site: &Site, store: &Store, now: DateTime<Utc>) -> Result<Loaded, TickError> {
    let state_path = site.layout.state_yaml();
    let budget_path = site.layout.budget_json();
    let state_bytes = document::read(&state_path)?.unwrap_or_default();
    let budget_bytes = document::read(&budget_path)?;
    let corrupt = |path: &std::path::Path, faults: Faults| StoreError::Corrupt { path: path.to_owned(), faults };
    let state: V1State = document::from_yaml(&state_bytes).map_err(|faults| corrupt(&state_path, faults))?;
    let budget: V1Budget = match &budget_bytes {
        Some(bytes) => document::from_json(bytes).map_err(|faults| corrupt(&budget_path, faults))?,
        None => document::from_json("{}").map_err(|faults| corrupt(&budget_path, faults))?,
    };
    for fault in document::unknown_keys::<V1State>(&state_bytes).0 {
        warn!(path = %state_path.display(), "left behind: {fault}");
    }
    let carried = v1::carry(&state, &budget).map_err(|faults| {
        if faults.state.is_empty() {
            corrupt(&budget_path, document::locate(budget_bytes.clone().unwrap_or_default(), faults.budget))
        } else {
            corrupt(&state_path, document::locate(&state_bytes, faults.state))
        }
    })?;
    let alive: Vec<String> = carried
        .live_pids
        .iter()
        .filter(|(_, pid)| !matches!(kill(Pid::from_raw(*pid), None), Err(Errno::ESRCH)))
        .map(|(stage, pid)| format!("{pid} of {stage}"))
        .collect();
    if !alive.is_empty() {
        return Err(TickError::StillRunning { path: state_path, processes: alive.join(", ") });
    }
    let base_branch = site.base_branch()?;
    let stages = carried.stages.into_iter().map(|stage| carry_stage(site, stage, &base_branch, now)).collect();
    let loaded = Loaded {
        state: State {
            repo_id: site.repo_id.clone(),
            tick_count: carried.tick_count,
            last_tick_at: None,
            stages,
            notices: Vec::new(),
            slept: None,
        },
        budget: carry_budget(site, &carried.budget),
    };
    // The old files first: once the transaction is written there is no way back to them.
    atomic::write(&site.layout.state_v1(), &state_bytes, Durability::Durable)?;
    if let Some(bytes) = &budget_bytes {
        atomic::write(&site.layout.budget_v1(), bytes, Durability::Durable)?;
    }
    let note = Note {
        stage: None,
        run: None,
        event: "carried-over".to_owned(),
        from: Some("version 1".to_owned()),
        to: Some("version 2".to_owned()),
        detail: format!("{} stages; the old state is {}", loaded.state.stages.len(), site.layout.state_v1().display()),
    };
    store.commit(None, &loaded, &[note], now)?;
    Ok(loaded)
}

fn carry_stage(site: &Site, old: CarriedStage, base_branch: &str, now: DateTime<Utc>) -> Stage {
    let reason = old.reason.map(|reason| Reason::new(reason.code.as_str(), reason.detail));
    let card = OLD_CARDS
        .iter()
        .map(|folder| format!("{folder}/{}.md", old.id))
        .find(|path| site.root.join(path).exists())
        .unwrap_or_else(|| format!("{}/{}.md", OLD_CARDS[0], old.id));
    let ended = |status| {
        let commit = old.commit.as_ref().and_then(|commit| commit.parse().ok());
        let abbreviated = old.commit.as_ref().filter(|_| commit.is_none());
        let landed = abbreviated.map(|commit| Reason::new("recorded-by-version-1", format!("landed as {commit}")));
        let at = old.completed_at.or(old.started_at).unwrap_or(now);
        Life::Over(Over { status, reason: reason.clone().or(landed), at, commit, kept: None })
    };
    let life = match old.status {
        CarriedStatus::Pending => {
            Life::Pending(Pending { not_before: None, reason: reason.clone(), ..Pending::default() })
        }
        CarriedStatus::Completed => ended(EndStatus::Completed),
        CarriedStatus::Failed => ended(EndStatus::Failed),
        CarriedStatus::Stalled => ended(EndStatus::Stalled),
        CarriedStatus::VerifierFailed => ended(EndStatus::VerifierFailed),
        CarriedStatus::Superseded => ended(EndStatus::Superseded),
    };
    Stage {
        title: old.id.to_string(),
        id: old.id,
        card,
        card_sha256: None,
        worker: old.worker,
        verifiers: vec![old.verifier],
        quorum: 1,
        unverified: None,
        contract: Vec::new(),
        base_branch: old.base_branch.unwrap_or_else(|| base_branch.to_owned()),
        depends_on: old.depends_on,
        path_claims: old.path_claims,
        priority: 0,
        attempt: 0,
        failures: 0,
        rung: 0,
        failures_below: 0,
        fallback: None,
        tokens: old.tokens,
        cost_usd: crate::core::quantity::MicroUsd(0),
        history: Vec::new(),
        chores: Vec::new(),
        wait: Wait::default(),
        life,
    }
}

fn carry_budget(site: &Site, old: &CarriedBudget) -> Budget {
    let halts: Vec<Halt> = old
        .halt
        .iter()
        .flat_map(|halt| &halt.reasons)
        .map(|words| Halt { reason: halt_reason(words), detail: format!("version 1 said: {words}") })
        .collect();
    // Version 1 paused everything; which provider it was, it did not write down.
    let pauses = old.pause.iter().flat_map(|pause| {
        site.families.iter().filter(|family| family.model_use == crate::families::ModelUse::Calls).map(|family| Pause {
            family: family.name.clone(),
            model: None,
            until: pause.until,
            reason: pause.reason.clone().unwrap_or_else(|| "version 1 paused everything".to_owned()),
        })
    });
    let breaches = old.breaches.iter().map(|breach| Breach {
        at: old.window_started_at.unwrap_or_default(),
        reason: HaltReason::TokenCap,
        detail: format!("version 1 wrote: {breach}"),
    });
    Budget {
        token_cap_total: old.token_cap,
        tokens_spent: old.tokens_spent,
        lifetime_tokens_spent: old.lifetime_tokens_spent,
        wall_clock_cap_seconds: old.wall_clock_cap,
        wall_clock_elapsed_seconds: old.wall_clock_elapsed,
        clock_tick_cap: old.tick_cap,
        clock_ticks_used: old.ticks_used,
        idle_ticks_used: old.idle_ticks_used,
        consecutive_failure_cap: old.failure_cap.map(u64::from),
        consecutive_failures: u64::from(old.consecutive_failures),
        halted: old.halt.is_some(),
        halt_reason: halts.first().map(|halt| halt.reason),
        halted_at: old.halt.as_ref().and_then(|halt| halt.at),
        halt_reasons: halts,
        pauses: pauses.collect(),
        window_started_at: old.window_started_at,
        breaches: breaches.collect(),
        ..Budget::default()
    }
}

/// The reason that version 1's words name; a person's where they name none.
fn halt_reason(words: &str) -> HaltReason {
    let all = [
        HaltReason::TokenCap,
        HaltReason::CostCap,
        HaltReason::WallClockCap,
        HaltReason::TickCap,
        HaltReason::FailureCap,
        HaltReason::StateCorrupt,
        HaltReason::DispatchConfigurationFault,
        HaltReason::NoProgress,
        HaltReason::BaseWritten,
    ];
    all.into_iter().find(|reason| words.contains(reason.as_str())).unwrap_or(HaltReason::Operator)
}
