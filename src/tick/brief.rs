//! From a card's bytes to what a stage asks for: families found, caps filled in.

use std::path::{Path, PathBuf};

use crate::core::card::Card;
use crate::core::ids::{Identity, StageId};
use crate::core::manifest::Manifest;
use crate::core::observation::{Brief, Placed};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::run::GateCommand;
use crate::core::state::{Life, NextRun, Pending, Reservation, Stage};
use crate::families::{Families, ModelUse};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::ledger::sha256_hex;

use super::error::TickError;
use super::site::Site;

/// What a run may cost when neither its card nor the manifest says so: what its tokens cost at five dollars a million.
const DOLLARS_PER_MILLION_TOKENS: u64 = 5;

/// The acceptance gate's name.
pub const ACCEPTANCE: &str = "acceptance";

/// Reads the brief of a stage: from the pinned copy of its card where an attempt goes on, else from the card itself,
/// whose bytes are then pinned.
pub fn read(site: &Site, stage: &Stage, pin: Pin) -> Result<Box<Brief>, String> {
    let fresh = matches!(&stage.life, Life::Pending(Pending { next: NextRun::Fresh, .. }));
    let (path, pinned) = match &stage.card_sha256 {
        Some(sha256) if !fresh => (site.layout.pinned_card(sha256), Some(sha256)),
        _ => (site.root.join(&stage.card), None),
    };
    let bytes = document::read(&path)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{} does not exist", path.display()))?;
    let sha256 = sha256_hex(&bytes);
    if let Some(expected) = pinned
        && *expected != sha256
    {
        return Err(format!(
            "{} does not hold what its name says; `autometta requeue {}` starts anew",
            path.display(),
            stage.id
        ));
    }
    let brief = of_bytes(site, &stage.id, &bytes, &path)?;
    if pinned.is_none() && pin == Pin::Yes {
        let copy = site.layout.pinned_card(&sha256);
        if !copy.exists() {
            let parent = copy.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            atomic::make_dirs(&parent, Durability::Durable)
                .and_then(|()| atomic::write(&copy, &bytes, Durability::Durable))
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(brief)
}

/// Whether the card's bytes are kept for the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Yes.
    Yes,
    /// No: somebody only looks.
    No,
}

/// The brief that a card's bytes make.
pub fn of_bytes(site: &Site, stage: &StageId, bytes: &[u8], path: &Path) -> Result<Box<Brief>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let parsed = Card::parse(stage.clone(), text).map_err(|faults| format!("{}: {faults}", path.display()))?;
    of_card(&site.families, &site.manifest, parsed.card, sha256_hex(bytes))
        .map_err(|why| format!("{}: {why}", path.display()))
}

/// The brief of a card.
pub fn of_card(
    families: &Families,
    manifest: &Manifest,
    card: Card,
    card_sha256: String,
) -> Result<Box<Brief>, String> {
    let place = |identity: &Identity| -> Result<(Placed, ModelUse), String> {
        let family = families
            .of(identity)
            .ok_or_else(|| format!("no family serves `{identity}`; name one under `families:` in .autometta.yaml"))?;
        Ok((Placed { identity: identity.clone(), family: family.name.clone() }, family.model_use))
    };
    let defaults = &manifest.defaults;
    let (worker, worker_use) = place(&card.worker)?;
    let worker_caps = caps(
        worker_use,
        card.budget.worker.tokens.unwrap_or(defaults.worker_tokens),
        card.budget.worker.cost_usd.or(defaults.worker_cost),
        card.budget.worker.wall_clock_seconds.unwrap_or(defaults.worker_wall_clock.seconds()),
    );
    let mut verifiers = Vec::new();
    let mut verifier_caps = Vec::new();
    for seat in card.verifiers.seats() {
        let (placed, model_use) = place(seat)?;
        verifiers.push(placed);
        verifier_caps.push(caps(
            model_use,
            card.budget.verifier.tokens.unwrap_or(defaults.verifier_tokens),
            card.budget.verifier.cost_usd.or(defaults.verifier_cost),
            card.budget.verifier.wall_clock_seconds.unwrap_or(defaults.verifier_wall_clock.seconds()),
        ));
    }
    let gates = gates(manifest, &card);
    let gate_caps = (!gates.is_empty()).then(|| Reservation {
        seconds: gates.iter().map(|gate| gate.timeout_seconds).sum::<Seconds>(),
        ..Reservation::default()
    });
    Ok(Box::new(Brief { card, card_sha256, worker, verifiers, worker_caps, verifier_caps, gate_caps }))
}

/// Somebody who is to judge a candidate of this card, in place of whom the card names: the family, and the caps that
/// card and manifest set for a verifier.
pub fn seat(site: &Site, card: &Card, identity: &Identity) -> Result<(Placed, Reservation, ModelUse), String> {
    let family = site
        .families
        .of(identity)
        .ok_or_else(|| format!("no family serves `{identity}`; name one under `families:` in .autometta.yaml"))?;
    let defaults = &site.manifest.defaults;
    let caps = caps(
        family.model_use,
        card.budget.verifier.tokens.unwrap_or(defaults.verifier_tokens),
        card.budget.verifier.cost_usd.or(defaults.verifier_cost),
        card.budget.verifier.wall_clock_seconds.unwrap_or(defaults.verifier_wall_clock.seconds()),
    );
    Ok((Placed { identity: identity.clone(), family: family.name.clone() }, caps, family.model_use))
}

fn caps(model_use: ModelUse, tokens: Tokens, cost: Option<MicroUsd>, seconds: Seconds) -> Reservation {
    match model_use {
        ModelUse::Never => Reservation { seconds, ..Reservation::default() },
        ModelUse::Calls => {
            let estimate = MicroUsd(tokens.0.saturating_mul(DOLLARS_PER_MILLION_TOKENS));
            Reservation { tokens, cost_usd: cost.unwrap_or(estimate), seconds }
        }
    }
}

/// What a candidate of this card has to pass, in order: the card's commands, then the standing gates. The manifest's
/// `setup` comes first where there is anything to set up for.
pub fn gates(manifest: &Manifest, card: &Card) -> Vec<GateCommand> {
    let many = card.commands.len() > 1;
    let acceptance = (1..).zip(&card.commands).map(|(number, run)| GateCommand {
        name: if many { format!("{ACCEPTANCE} {number}") } else { ACCEPTANCE.to_owned() },
        run: run.clone(),
        timeout_seconds: manifest.defaults.gate_timeout.seconds(),
    });
    let standing = manifest.gates.iter().map(|gate| GateCommand {
        name: gate.name.clone(),
        run: gate.run.clone(),
        timeout_seconds: manifest.timeout_of(gate),
    });
    let mut gates: Vec<GateCommand> = acceptance.chain(standing).collect();
    if !gates.is_empty()
        && let Some(setup) = setup(manifest)
    {
        gates.insert(0, setup);
    }
    gates
}

/// What makes a fresh checkout usable.
pub fn setup(manifest: &Manifest) -> Option<GateCommand> {
    manifest.setup.as_ref().map(|run| GateCommand {
        name: "setup".to_owned(),
        run: run.clone(),
        timeout_seconds: manifest.setup_timeout.seconds(),
    })
}

/// Every card that the manifest's globs find, as paths below the root, in order.
pub fn find_cards(site: &Site) -> Result<Vec<PathBuf>, TickError> {
    let mut found = Vec::new();
    for pattern in &site.manifest.stage_cards {
        let pattern = pattern.as_str();
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let dir = site.root.join(folder);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(TickError::Io { path: dir, source }),
        };
        let (head, tail) = name.split_once('*').unwrap_or((name, ""));
        for entry in entries.flatten() {
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let fits = if name.contains('*') {
                file.len() >= head.len() + tail.len() && file.starts_with(head) && file.ends_with(tail)
            } else {
                file == name
            };
            let is_stage = file.strip_suffix(".md").is_some_and(|stem| stem.parse::<StageId>().is_ok());
            let path = Path::new(folder).join(file);
            if fits && is_stage && !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    Ok(found)
}
