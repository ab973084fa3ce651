//! Fallback: who takes a place while whoever stands there waits for their provider, and who then judges.
//!
//! Here is only who could stand where, from the card, the manifest and the families as they are now. Whether somebody
//! waits is for the machine in `core::step` to say, and who really stands there is the state's to remember.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::{FamilyName, Identity};
use super::ladder::same_model;
use super::observation::{Brief, Member, Placed};
use super::run::ModelUse;
use super::state::Stage;

/// Those whose places others have taken for the present attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Who would work, by the card and its ladder.
    pub worker: Identity,
    /// Who would judge, seat by seat.
    pub verifiers: Vec<Identity>,
    /// What they wait for.
    pub because: String,
}

/// Why somebody cannot take a worker's place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// An identity without a family.
    #[error("no family serves `{0}`; name one under `families:` in .autometta.yaml")]
    NoFamily(Identity),
    /// It only runs commands, and there are none.
    #[error("`{0}` calls no model, and the card has no `## Script` for it")]
    NoModel(Identity),
    /// A seat that nobody of another family can take.
    #[error(
        "`{worker}` and the verifier `{verifier}` are both of family {family}, and neither `fallback:` in \
         .autometta.yaml nor the card's own worker could judge in its place; name another"
    )]
    NoVerifier {
        /// Who would work.
        worker: Identity,
        /// Who may not judge that work.
        verifier: Identity,
        /// The family of both.
        family: FamilyName,
    },
}

impl Stage {
    /// Who works by the card and its ladder, whoever has taken that place for now.
    pub fn own_worker(&self) -> &Identity {
        self.fallback.as_ref().map_or(&self.worker, |own| &own.worker)
    }

    /// Gives every place back to whom the card and its ladder name.
    pub fn end_fallback(&mut self) {
        if let Some(own) = self.fallback.take() {
            self.worker = own.worker;
            self.verifiers = own.verifiers;
        }
    }
}

/// The brief with those at work whom the card and its ladder name, whoever has taken their places for now.
///
/// # Errors
/// One of them is nobody whom a family serves.
pub fn own(brief: Brief, stage: &Stage) -> Result<Brief, String> {
    match &stage.fallback {
        Some(own) if stage.rung > 0 => brief.staffed_with(stage, &own.worker, &own.verifiers),
        // On the first rung the card says it, which a new attempt reads anew.
        Some(_) => Ok(brief),
        None => brief.staffed_for(stage),
    }
}

/// The brief with the first who can take the worker's place, of those whom the card allows and then whom the manifest
/// names for the worker's family; none where nobody can.
pub fn relieved(brief: &Brief, free: impl Fn(&Placed) -> bool) -> Option<Brief> {
    let named = brief.card.fallback.iter().chain(brief.fallbacks.get(&brief.worker.family));
    named
        .filter(|who| find(brief, who).is_ok_and(|member| free(&member.placed)))
        .find_map(|who| staffed(brief, who).ok())
}

/// The brief with somebody in the worker's place, and verifiers that stay apart from it: a seat of its family goes to
/// whom the manifest names for that family, else to the worker whose place was taken.
///
/// # Errors
/// They cannot work, or nobody could judge it.
pub fn staffed(brief: &Brief, who: &Identity) -> Result<Brief, Unfit> {
    let worker = find(brief, who)?;
    if worker.model_use == ModelUse::None && brief.card.script.is_none() {
        return Err(Unfit::NoModel(who.clone()));
    }
    let family = &worker.placed.family;
    let mut seats: Vec<Member> =
        brief.verifiers.iter().map(|seat| find(brief, &seat.identity).cloned()).collect::<Result<_, _>>()?;
    if brief.card.same_family.is_none() {
        for at in 0..seats.len() {
            if seats[at].placed.family != *family {
                continue;
            }
            let named = brief.fallbacks.get(&seats[at].placed.family);
            let others = named.into_iter().chain([&brief.card.worker, &brief.worker.identity]);
            let stand_in =
                others.filter_map(|other| find(brief, other).ok()).find(|other| fits(&seats, at, other, family));
            seats[at] = stand_in.cloned().ok_or_else(|| Unfit::NoVerifier {
                worker: who.clone(),
                verifier: seats[at].placed.identity.clone(),
                family: family.clone(),
            })?;
        }
    }
    Ok(brief.clone().with(worker.clone(), seats))
}

/// Who takes a verifier's seat while its holder waits: whom the manifest names for that family, where they are free and
/// apart from the worker.
pub fn seat(brief: &Brief, at: usize, free: impl Fn(&Placed) -> bool) -> Option<&Member> {
    let seats: Vec<Member> =
        brief.verifiers.iter().map(|seat| find(brief, &seat.identity).cloned()).collect::<Result<_, _>>().ok()?;
    let who = brief.fallbacks.get(&seats.get(at)?.placed.family)?;
    let member = find(brief, who).ok().filter(|member| free(&member.placed))?;
    let apart = fits(&seats, at, member, &brief.worker.family) && !same_model(who, &brief.worker.identity);
    apart.then_some(member)
}

/// Whether somebody may sit on a seat: of another family than the worker, on no other seat, and a model where a model
/// sat.
fn fits(seats: &[Member], at: usize, other: &Member, worker: &FamilyName) -> bool {
    let elsewhere =
        |(index, seat): (usize, &Member)| index != at && same_model(&seat.placed.identity, &other.placed.identity);
    other.placed.family != *worker
        && !seats.iter().enumerate().any(elsewhere)
        && (other.model_use == ModelUse::Model || seats[at].model_use == ModelUse::None)
}

fn find<'a>(brief: &'a Brief, who: &Identity) -> Result<&'a Member, Unfit> {
    brief.member(who).ok_or_else(|| Unfit::NoFamily(who.clone()))
}

/// Who has taken whose place, in words.
pub fn in_words(fallback: &Fallback, stage: &Stage) -> String {
    let seats = fallback.verifiers.iter().zip(&stage.verifiers);
    let seats = seats.map(|(own, now)| ("verifier ", own, now));
    let changes: Vec<String> = std::iter::once(("", &fallback.worker, &stage.worker))
        .chain(seats)
        .filter(|(_, own, now)| own != now)
        .map(|(what, own, now)| format!("{what}{own} → {now}"))
        .collect();
    format!("{}: {}", changes.join("; "), fallback.because)
}
