//! The queue of a simulated night.

use std::collections::BTreeMap;

use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::ids::{FamilyName, Identity};
use autometta::core::observation::{Brief, Member, Placed};
use autometta::core::operate::queued;
use autometta::core::policy::Policy;
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::run::ModelUse;
use autometta::core::state::{Reservation, State};
use autometta::files::store::Loaded;
use autometta::sim::Setup;

pub fn card(stage: &str, verifiers: &str, more: &str) -> Card {
    let text = format!(
        "# Stage card {stage}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n{verifiers}\n{more}\n## Objective\nDo.\n\n\
         ## Deliverables\n1. `{stage}/`: it\n\n## Acceptance criteria\n1. it works\n\n## Acceptance command\n```sh\ntrue\n\
         ```\n"
    );
    Card::parse(stage.parse().expect("stage"), &text).expect("card").card
}

fn family(who: &Identity) -> FamilyName {
    let name = if who.name().starts_with('V') { "two" } else { "one" };
    name.parse().expect("family")
}

pub fn brief(card: &Card) -> Brief {
    let placed = |who: &Identity| Placed { identity: who.clone(), family: family(who), model: Some("m".to_owned()) };
    let caps = Reservation { tokens: Tokens(1_000_000), cost_usd: MicroUsd(5_000_000), seconds: Seconds(3600) };
    let everybody = std::iter::once(&card.worker).chain(card.verifiers.seats()).chain(&card.escalation);
    Brief {
        fallbacks: BTreeMap::new(),
        card: card.clone(),
        card_sha256: "0".repeat(64),
        worker: placed(&card.worker),
        verifiers: card.verifiers.seats().iter().map(placed).collect(),
        worker_caps: caps,
        verifier_caps: card.verifiers.seats().iter().map(|_| caps).collect(),
        gate_caps: Some(Reservation { seconds: Seconds(600), ..Reservation::default() }),
        members: everybody
            .map(|who| Member {
                placed: placed(who),
                model_use: ModelUse::Model,
                worker_caps: caps,
                verifier_caps: caps,
                pricing: None,
            })
            .collect(),
    }
}

pub fn setup(stages: usize) -> Setup {
    let cards: Vec<Card> =
        (1..=stages).map(|number| card(&format!("{number:02}-s"), "- **Verifier:** V <v@local>", "")).collect();
    let mut state = State::new("r".to_owned());
    state.stages =
        cards.iter().map(|card| queued(card, format!("stage-cards/{}.md", card.stage), "main".to_owned())).collect();
    let briefs = cards.iter().map(|card| (card.stage.clone(), Ok(Box::new(brief(card))))).collect();
    Setup::new(Loaded { state, budget: Budget::default() }, Policy::default(), briefs)
}
