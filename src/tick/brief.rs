//! From a card's bytes to what a stage asks for: families found, caps filled in.

use std::path::{Path, PathBuf};

use crate::core::card::{Card, Check, CommandRule, RelativePath};
use crate::core::ids::{Identity, StageId};
use crate::core::manifest::{Manifest, RepoPath};
use crate::core::observation::{Brief, Member, Placed};
use crate::core::pace::{Limits, Pricing};
use crate::core::paths::PathPatterns;
use crate::core::quantity::{Seconds, Tokens};
use crate::core::run::{self, GateCommand, OutputRule};
use crate::core::state::{Life, NextRun, Pending, Reservation, Stage};
use crate::families::{Families, ModelUse};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::ledger::sha256_hex;

use super::clock;
use super::error::TickError;
use super::site::Site;

/// What a worker may use where nobody says and nothing is known of the runs before it.
const WORKER_TOKENS: Tokens = Tokens(3_000_000);
/// The same for a verifier.
const VERIFIER_TOKENS: Tokens = Tokens(1_000_000);

/// What each command of a gate run gets on top of its own limit, so that the run's limit never comes first: for being
/// started, and for being told to end.
const GATE_MARGIN: Seconds = Seconds(10);

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
    let members = members(families, manifest, &card)?;
    let find = |who: &Identity| {
        let known = members.iter().find(|member| member.placed.identity == *who);
        known.ok_or_else(|| unserved(who))
    };
    let worker = find(&card.worker)?.clone();
    let seats: Vec<&Member> = card.verifiers.seats().iter().map(find).collect::<Result<_, _>>()?;
    let verifiers = seats.iter().map(|seat| seat.placed.clone()).collect();
    let verifier_caps = seats.iter().map(|seat| seat.verifier_caps).collect();
    let gates = gates(manifest, &card);
    refuse_protected(manifest, &card)?;
    if card.verifiers.rationale().is_some() {
        refuse_unverified(manifest, &card, &gates)?;
    }
    let gate_caps = (!gates.is_empty()).then(|| Reservation {
        seconds: gates
            .iter()
            .map(|gate| Seconds(gate.timeout_seconds.0.saturating_add(GATE_MARGIN.0)))
            .sum::<Seconds>(),
        ..Reservation::default()
    });
    Ok(Box::new(Brief {
        card,
        card_sha256,
        worker: worker.placed,
        verifiers,
        worker_caps: worker.worker_caps,
        verifier_caps,
        gate_caps,
        members,
        fallbacks: manifest.fallback.clone(),
    }))
}

/// Everybody whom the card or `fallback:` names and some family serves, each once.
fn members(families: &Families, manifest: &Manifest, card: &Card) -> Result<Vec<Member>, String> {
    let mut members: Vec<Member> = Vec::new();
    let named = std::iter::once(&card.worker).chain(card.verifiers.seats()).chain(&card.escalation);
    for who in named.chain(&card.fallback).chain(manifest.fallback.values()) {
        if members.iter().any(|known| known.placed.identity == *who) {
            continue;
        }
        members.extend(member(families, manifest, card, who)?);
    }
    Ok(members)
}

/// Somebody with the family and model that serve them, and the caps that card and manifest set; none where no family
/// does.
fn member(families: &Families, manifest: &Manifest, card: &Card, who: &Identity) -> Result<Option<Member>, String> {
    let Some(family) = families.of(who) else { return Ok(None) };
    let model = match family.model_use {
        ModelUse::Calls => Some(family.resolve(who).map_err(|error| error.to_string())?),
        ModelUse::Never => None,
    };
    let defaults = &manifest.defaults;
    let (worker, verifier) = (&card.budget.worker, &card.budget.verifier);
    let pricing = model.as_ref().map(|model| Pricing {
        rates: families.rates().of(model, clock::now().date_naive()),
        worker: Limits {
            tokens: worker.tokens.or(defaults.worker_tokens),
            cost_usd: worker.cost_usd.or(defaults.worker_cost),
        },
        verifier: Limits {
            tokens: verifier.tokens.or(defaults.verifier_tokens),
            cost_usd: verifier.cost_usd.or(defaults.verifier_cost),
        },
    });
    let worker_time = worker.wall_clock_seconds.unwrap_or(defaults.worker_wall_clock.seconds());
    let verifier_time = verifier.wall_clock_seconds.unwrap_or(defaults.verifier_wall_clock.seconds());
    let caps = |limits: fn(&Pricing) -> Limits, built_in, seconds| match &pricing {
        None => Reservation { seconds, ..Reservation::default() },
        Some(pricing) => limits(pricing).reserve(&pricing.rates, None, built_in, seconds),
    };
    Ok(Some(Member {
        placed: Placed { identity: who.clone(), family: family.name.clone(), model },
        model_use: match family.model_use {
            ModelUse::Never => run::ModelUse::None,
            ModelUse::Calls => run::ModelUse::Model,
        },
        worker_caps: caps(|pricing| pricing.worker, WORKER_TOKENS, worker_time),
        verifier_caps: caps(|pricing| pricing.verifier, VERIFIER_TOKENS, verifier_time),
        pricing,
    }))
}

fn unserved(who: &Identity) -> String {
    format!("no family serves `{who}`; name one under `families:` in .autometta.yaml")
}

/// Every path that a card lets its stage change.
fn claims(card: &Card) -> impl Iterator<Item = &RelativePath> {
    card.deliverables.iter().map(|one| &one.path).chain(&card.path_claims)
}

fn patterns(paths: &[RepoPath]) -> Result<PathPatterns, String> {
    PathPatterns::new(paths.iter().map(RepoPath::as_str)).map_err(|error| error.to_string())
}

/// A card that claims what no worker may change would fail at night; it is refused in the evening.
fn refuse_protected(manifest: &Manifest, card: &Card) -> Result<(), String> {
    let protected = patterns(&manifest.protected)?;
    for claim in claims(card) {
        if let Some(pattern) = protected.covering(claim.as_str()) {
            return Err(format!(
                "`{claim}` is kept from every worker by `{pattern}` under `protected:` in .autometta.yaml; take the claim \
                 out of the card, or make the change yourself"
            ));
        }
    }
    Ok(())
}

/// Whether a card may do without a verifier: where the manifest allows it for every path that it may change, and where
/// at least a gate judges.
fn refuse_unverified(manifest: &Manifest, card: &Card, gates: &[GateCommand]) -> Result<(), String> {
    let allowed = patterns(&manifest.allow_unverified)?;
    if allowed.is_empty() {
        return Err(
            "the card asks for no verifier, and `allow_unverified:` in .autometta.yaml allows that for no path; \
                    name a verifier, or the paths there"
                .to_owned(),
        );
    }
    if let Some(claim) = claims(card).find(|claim| allowed.covering(claim.as_str()).is_none()) {
        return Err(format!(
            "the card asks for no verifier, and may change `{claim}`, which `allow_unverified:` in .autometta.yaml does \
             not cover; name a verifier, or the path there"
        ));
    }
    if gates.is_empty() {
        return Err("the card asks for no verifier and there is no gate, so nothing would judge it; give it an \
                    `## Acceptance command`"
            .to_owned());
    }
    Ok(())
}

/// Somebody who is to judge a candidate of this card, in place of whom the card names.
pub fn seat(site: &Site, card: &Card, identity: &Identity) -> Result<Member, String> {
    member(&site.families, &site.manifest, card, identity)?.ok_or_else(|| unserved(identity))
}

/// What a candidate of this card has to pass, in order: the card's commands, its checks, the standing gates. The manifest's
/// `setup` comes first where there is anything to set up for.
pub fn gates(manifest: &Manifest, card: &Card) -> Vec<GateCommand> {
    let many = card.commands.len() > 1;
    let output = if card.checks.contains(&Check::NoErrorInOutput) { OutputRule::NoErrors } else { OutputRule::Any };
    let rules = card.command_rules.iter().copied().chain(std::iter::repeat(CommandRule::default()));
    let acceptance = (1..).zip(card.commands.iter().zip(rules)).map(|(number, (run, rule))| GateCommand {
        name: if many { format!("{ACCEPTANCE} {number}") } else { ACCEPTANCE.to_owned() },
        run: run.clone(),
        timeout_seconds: rule.timeout_seconds.unwrap_or(manifest.defaults.gate_timeout.seconds()),
        retries: rule.retries,
        output,
    });
    let checks = (1..).zip(&card.checks).filter_map(|(number, check)| match check {
        Check::Command(run) => Some(GateCommand {
            name: format!("check-{number}"),
            run: run.clone(),
            timeout_seconds: manifest.defaults.gate_timeout.seconds(),
            retries: 0,
            output,
        }),
        Check::DiffNotEmpty | Check::NoErrorInOutput => None,
    });
    let standing = manifest.gates.iter().map(|gate| GateCommand {
        name: gate.name.clone(),
        run: gate.run.clone(),
        timeout_seconds: manifest.timeout_of(gate),
        retries: gate.retries,
        output,
    });
    let mut gates: Vec<GateCommand> = acceptance.chain(checks).chain(standing).collect();
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
        retries: 0,
        output: OutputRule::Any,
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
