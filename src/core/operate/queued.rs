//! A stage as its card queues it.

use crate::core::card::Card;
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::{Life, Pending, Stage};
use crate::core::wait::{Repeat, Wait};

/// A stage as it is queued.
pub fn queued(card: &Card, path: String, base_branch: String) -> Stage {
    let every = card.every.map(Repeat::new);
    Stage {
        id: card.stage.clone(),
        title: card.title.clone(),
        card: path,
        card_sha256: None,
        worker: card.worker.clone(),
        verifiers: card.verifiers.seats().to_vec(),
        quorum: card.verifiers.quorum(),
        unverified: card.verifiers.rationale().map(str::to_owned),
        contract: Vec::new(),
        base_branch,
        depends_on: card.depends_on.clone(),
        path_claims: claims(card),
        priority: i64::from(card.priority),
        attempt: 0,
        failures: 0,
        rung: 0,
        failures_below: 0,
        fallback: None,
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        history: Vec::new(),
        chores: Vec::new(),
        wait: Wait { repeat: every, ..Wait::default() },
        life: Life::Pending(Pending::default()),
    }
}

/// What a card claims: its path claims and its deliverables.
fn claims(card: &Card) -> Vec<String> {
    let mut claims: Vec<String> = card.path_claims.iter().map(|path| path.as_str().to_owned()).collect();
    for deliverable in &card.deliverables {
        let path = deliverable.path.as_str().to_owned();
        if !claims.contains(&path) {
            claims.push(path);
        }
    }
    claims
}

impl Stage {
    /// Asks for what its card asks for now. What a run in flight goes by, and its place in the queue, are left alone.
    pub fn take_from(&mut self, card: &Card) {
        self.take_over(queued(card, String::new(), String::new()));
        self.wait.set_every(card.every);
    }

    /// Takes over what decides when a stage starts: the rest it takes from its card at its dispatch.
    pub(super) fn take_over(&mut self, fresh: Stage) {
        self.title = fresh.title;
        self.worker = fresh.worker;
        self.verifiers = fresh.verifiers;
        self.quorum = fresh.quorum;
        self.unverified = fresh.unverified;
        self.depends_on = fresh.depends_on;
        self.path_claims = fresh.path_claims;
        self.priority = fresh.priority;
    }
}
