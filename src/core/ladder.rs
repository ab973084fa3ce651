//! The ladder of a card: who works on which rung, and who then judges.
//!
//! Rung 0 is the card's own worker with the card's own verifiers; rung n is the nth identity under `Escalation`. Here
//! is only who would stand where, from the card and the families as they are now. When a stage climbs is for the
//! machine in `core::step` to decide, and who really stands there is the state's to remember.

use thiserror::Error;

use super::ids::{FamilyName, Identity};
use super::observation::{Brief, Member};
use super::run::ModelUse;

/// A rung with everybody whom it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Its number; 0 is the card's own worker.
    pub number: u32,
    /// How many rungs the card has above its own worker.
    pub of: u32,
    /// Who works.
    pub worker: Identity,
    /// Who judges, seat by seat.
    pub verifiers: Vec<Identity>,
}

/// Why nobody can work on a rung.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unstaffed {
    /// The card's ladder ends below it.
    #[error("the card's ladder has no rung {0}")]
    None(u32),
    /// An identity without a family.
    #[error("no family serves `{0}`; name one under `families:` in .autometta.yaml")]
    NoFamily(Identity),
    /// A seat that nobody of another family can take.
    #[error(
        "`{worker}` and the verifier `{verifier}` are both of family {family}, and nobody else on the card could judge \
         in its place; name somebody of another family under `Escalation`, another verifier, or a `Same family:` \
         rationale"
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

/// What comes after a rung.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Climb {
    /// The next rung that can be staffed; none at the top.
    pub to: Option<Rung>,
    /// The rungs in between that cannot be, each with its reason.
    pub skipped: Vec<(u32, Unstaffed)>,
}

/// How many rungs a card has above its own worker.
pub fn height(brief: &Brief) -> u32 {
    u32::try_from(brief.card.escalation.len()).unwrap_or(u32::MAX)
}

/// The next rung above `present` on which somebody can work.
pub fn above(brief: &Brief, present: u32) -> Climb {
    let mut climb = Climb::default();
    for number in present.saturating_add(1)..=height(brief) {
        match staff(brief, number) {
            Ok(rung) => {
                climb.to = Some(rung);
                break;
            }
            Err(why) => climb.skipped.push((number, why)),
        }
    }
    climb
}

/// Who works and judges on a rung: the card's seats, but for those whose family is the worker's. Each of these goes to
/// the card's own worker, else to the first of the ladder who is of another family and has no seat yet. A seat's
/// holder is never asked to hold two: a panel is as many different models. A model's seat goes to a model: whoever only
/// runs commands would see no more than the gates have.
///
/// # Errors
/// There is no such rung, or nobody can be found for it.
pub fn staff(brief: &Brief, number: u32) -> Result<Rung, Unstaffed> {
    let card = &brief.card;
    let seats = card.verifiers.seats();
    let Some(above) = number.checked_sub(1) else {
        return Ok(Rung { number, of: height(brief), worker: card.worker.clone(), verifiers: seats.to_vec() });
    };
    let worker = usize::try_from(above).ok().and_then(|at| card.escalation.get(at)).ok_or(Unstaffed::None(number))?;
    let find = |who: &Identity| {
        let known = brief.members.iter().find(|member| member.placed.identity == *who);
        known.ok_or_else(|| Unstaffed::NoFamily(who.clone()))
    };
    let own = &find(worker)?.placed.family;
    let mut verifiers = seats.to_vec();
    if card.same_family.is_none() {
        for at in 0..verifiers.len() {
            let seated = find(&verifiers[at])?;
            if seated.placed.family != *own {
                continue;
            }
            let free = |who: &&Identity| !verifiers.iter().any(|seated| same_model(seated, who));
            let mut others = std::iter::once(&card.worker).chain(&card.escalation).filter(free);
            let fits = |other: &Member| {
                other.placed.family != *own
                    && (other.model_use == ModelUse::Model || seated.model_use == ModelUse::None)
            };
            let stand_in = others.find(|who| find(who).is_ok_and(fits)).cloned();
            verifiers[at] = stand_in.ok_or_else(|| Unstaffed::NoVerifier {
                worker: worker.clone(),
                verifier: seats[at].clone(),
                family: own.clone(),
            })?;
        }
    }
    Ok(Rung { number, of: height(brief), worker: worker.clone(), verifiers })
}

/// The address names the model; two names for it are no two opinions.
pub(super) fn same_model(one: &Identity, other: &Identity) -> bool {
    one.email().eq_ignore_ascii_case(other.email())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::card::Card;
    use crate::core::observation::Placed;
    use crate::core::state::Reservation;

    /// A brief whose families are the first letters of the names; S calls no model, and nobody serves Z.
    fn brief(worker: &str, judges: &str, ladder: &str, more: &str) -> Brief {
        let text = format!(
            "# Stage card 01-a: Work\n\n## Metadata\n- **Worker:** {worker}\n- **{judges}\n- **Escalation:** {ladder}\n{more}\n\
             ## Objective\nDo.\n\n## Deliverables\n1. `a/`: it\n\n## Acceptance criteria\n1. it works\n\n\
             ## Acceptance command\n```sh\ntrue\n```\n"
        );
        let card = Card::parse("01-a".parse().expect("id"), &text).expect("card").card;
        let placed = |who: &Identity| Placed {
            identity: who.clone(),
            family: who.name()[..1].to_lowercase().parse().expect("family"),
            model: None,
        };
        let everybody = std::iter::once(&card.worker).chain(card.verifiers.seats()).chain(&card.escalation);
        let caps = Reservation::default();
        let members = everybody
            .filter(|who| !who.name().starts_with('Z'))
            .map(|who| Member {
                placed: placed(who),
                model_use: if who.name().starts_with('S') { ModelUse::None } else { ModelUse::Model },
                worker_caps: caps,
                verifier_caps: caps,
                pricing: None,
            })
            .collect();
        Brief {
            card_sha256: "0".repeat(64),
            worker: placed(&card.worker),
            verifiers: card.verifiers.seats().iter().map(placed).collect(),
            worker_caps: caps,
            verifier_caps: card.verifiers.seats().iter().map(|_| caps).collect(),
            gate_caps: None,
            members,
            fallbacks: std::collections::BTreeMap::new(),
            card,
        }
    }

    fn said(brief: &Brief, number: u32) -> String {
        match staff(brief, number) {
            Ok(rung) => {
                let seats: Vec<&str> = rung.verifiers.iter().map(Identity::handle).collect();
                format!("{} | {}", rung.worker.handle(), seats.join(" "))
            }
            Err(Unstaffed::None(_)) => "no rung".to_owned(),
            Err(Unstaffed::NoFamily(who)) => format!("no family: {}", who.handle()),
            Err(Unstaffed::NoVerifier { verifier, .. }) => format!("nobody for {}", verifier.handle()),
        }
    }

    #[test]
    fn worker_and_verifiers_stay_apart_on_every_rung() {
        let one = "Verifier:** B <b@x>";
        let panel = "Verifier panel:** 2 of B <b@x>; C <c@x>; D <d@x>";
        let two_of_b = "Verifier panel:** 1 of B <b@x>; B2 <b2@x>";
        let same = "- **Same family:** they are as different as two of one house can be";
        for (judges, ladder, more, expected) in [
            // The same family as the card's worker: the verifier stays.
            (one, "A2 <a2@x>", "", ["a2 | b", "no rung"]),
            // The verifier's family: the card's worker judges, and goes back to working families on the next rung.
            (one, "B2 <b2@x>; C <c@x>", "", ["b2 | a", "c | b"]),
            // The verifier itself may work, too, and then does not judge.
            (one, "B <b@x>", "", ["b | a", "no rung"]),
            // On a panel only the seat of that family changes.
            (panel, "C2 <c2@x>", "", ["c2 | b a d", "no rung"]),
            // Two seats of one family need two others; whoever sits already is no choice.
            (two_of_b, "B3 <b3@x>", "", ["nobody for b2", "no rung"]),
            (two_of_b, "B3 <b3@x>; C <c@x>", "", ["b3 | a c", "c | b b2"]),
            // A second name for a model is no second opinion.
            (two_of_b, "B3 <b3@x>; Another <A@X>", "", ["nobody for b2", "A | b b2"]),
            // A rationale keeps the seats.
            (one, "B2 <b2@x>", same, ["b2 | b", "no rung"]),
            // Nobody knows the family.
            (one, "Z <z@x>", "", ["no family: z", "no rung"]),
        ] {
            let brief = brief("A <a@x>", judges, ladder, more);
            assert_eq!(said(&brief, 0).split(" | ").next(), Some("a"), "{judges}, {ladder}: rung 0");
            assert_eq!(said(&brief, 1), expected[0], "{judges}, {ladder}: rung 1");
            assert_eq!(said(&brief, 2), expected[1], "{judges}, {ladder}: rung 2");
        }
    }

    #[test]
    fn a_worker_of_the_verifiers_family_by_name_of_the_ladder_finds_the_next_of_another() {
        // The card's own worker is of the rung's family as well, by a rationale that was taken back: the ladder helps.
        let brief = brief("B <b@x>", "Verifier:** B1 <b1@x>", "B2 <b2@x>; C <c@x>", "");
        assert_eq!(said(&brief, 1), "b2 | c");
    }

    #[test]
    fn a_models_seat_goes_to_a_model() {
        let only_commands = brief("S <s@x>", "Verifier:** B <b@x>", "B2 <b2@x>; C <c@x>", "");
        assert_eq!(said(&only_commands, 1), "b2 | c");
        let nobody = brief("S <s@x>", "Verifier:** B <b@x>", "B2 <b2@x>", "");
        assert_eq!(said(&nobody, 1), "nobody for b");
        let no_model = brief("A <a@x>", "Verifier:** S <s@x>", "S2 <s2@x>", "");
        assert_eq!(said(&no_model, 1), "s2 | a");
    }

    #[test]
    fn rungs_that_nobody_can_work_on_are_stepped_over_with_their_reasons() {
        let brief = brief("A <a@x>", "Verifier:** B <b@x>", "Z <z@x>; Zed <z2@x>; C <c@x>", "");
        let climb = above(&brief, 0);
        assert_eq!(climb.to.as_ref().map(|rung| (rung.number, rung.worker.handle())), Some((3, "c")));
        assert_eq!(climb.skipped.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(above(&brief, 3), Climb::default());
    }
}
