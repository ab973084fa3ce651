//! What cards ask for, for tests of the pure machine: everybody whom a card names, each with the same caps.

use std::collections::BTreeMap;

use autometta::core::card::Card;
use autometta::core::ids::Identity;
use autometta::core::observation::{Brief, Member, Placed};
use autometta::core::run::ModelUse;
use autometta::core::state::Reservation;

/// What a card asks for, where everybody is placed so and every run has these caps; gates set aside `gate`, and no
/// family has somebody who takes over.
pub fn brief(card: &Card, place: impl Fn(&Identity) -> Placed, caps: Reservation, gate: Option<Reservation>) -> Brief {
    let seats = card.verifiers.seats();
    let named = std::iter::once(&card.worker).chain(seats).chain(&card.escalation).chain(&card.fallback);
    Brief {
        card: card.clone(),
        card_sha256: "0".repeat(64),
        worker: place(&card.worker),
        verifiers: seats.iter().map(&place).collect(),
        worker_caps: caps,
        verifier_caps: vec![caps; seats.len()],
        gate_caps: gate,
        members: named.map(|who| member(place(who), caps)).collect(),
        fallbacks: BTreeMap::new(),
    }
}

/// Somebody who may work or judge under these caps, with no history of theirs.
pub fn member(placed: Placed, caps: Reservation) -> Member {
    Member { placed, model_use: ModelUse::Model, worker_caps: caps, verifier_caps: caps, pricing: None }
}
