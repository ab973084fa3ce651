//! The models that the exhaustive check runs on. Together they cover every observation in every phase, and up to three
//! stages that get in each other's way.

use autometta::core::card::{Card, LandingMode};
use autometta::core::exit::RefusalClass;
use autometta::core::policy::Policy;

use super::world::{Exit, Gates, Hand, Land, Left, Model, PER_RUN, Says, Scope, Stated, Usage1, Word, brief};

const ONE: &str = "- **Verifier:** V <v@local>";
const PANEL: &str = "- **Verifier panel:** 2 of V <v@local>; V2 <v2@local>";

fn card(stage: &str, verifiers: &str, more: &str) -> Card {
    let text = format!(
        "# Stage card {stage}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n{verifiers}\n{more}\n## Objective\nDo.\n\n\
         ## Deliverables\n1. `{stage}/`: it\n\n## Acceptance criteria\n1. it works\n\n## Acceptance command\n```sh\ntrue\n\
         ```\n"
    );
    Card::parse(stage.parse().expect("stage"), &text).expect("card").card
}

/// Two attempts, and one further try of everything that may be tried again.
fn policy() -> Policy {
    Policy {
        work_retries: 1,
        verifier_retries: 1,
        infrastructure_retries: 1,
        launch_tries: 1,
        max_parallel: 1,
        tells: std::collections::BTreeSet::new(),
        deferrals: 1,
        ..Policy::default()
    }
}

/// One observation of each kind, without accidents and operators.
fn representative() -> Scope {
    Scope {
        exits: vec![Exit::Clean, Exit::Killed],
        hands: vec![Hand::Nothing, Hand::Pass],
        left: vec![Left::New],
        gates: vec![Gates::Passed, Gates::Failed],
        words: vec![Word::Pass, Word::Fail],
        landings: vec![Land::Landed, Land::Rebased, Land::Overlap],
        says: Vec::new(),
        accidents: false,
        usage: Usage1::Nothing,
    }
}

fn model(name: &'static str, cards: Vec<Card>, scope: Scope) -> Model {
    let briefs = cards.iter().map(brief).collect();
    Model { name, cards, policy: policy(), token_cap: None, scope, alike: false, briefs }
}

/// The models, the largest first.
pub fn all() -> Vec<Model> {
    let operators =
        vec![Says::Requeue, Says::Skip, Says::Cancel, Says::Answer, Says::Approve, Says::Reject, Says::Rework];
    let asks = Policy { landing: LandingMode::Ask, ..policy() };
    vec![
        model("one stage, every observation", vec![card("01-a", ONE, "")], Scope::everything()),
        Model {
            policy: asks,
            ..model(
                "one stage, an operator, landings that ask",
                vec![card("01-a", ONE, "")],
                Scope {
                    words: vec![Word::Nothing, Word::Pass, Word::Fail, Word::Blocked],
                    hands: vec![Hand::Nothing, Hand::Pass, Hand::Blocked],
                    says: operators,
                    ..representative()
                },
            )
        },
        model(
            "a panel of two",
            vec![card("01-a", PANEL, "")],
            Scope {
                words: vec![Word::Nothing, Word::Pass, Word::Fail, Word::Blocked],
                exits: vec![Exit::Clean, Exit::Killed, Exit::Refused(RefusalClass::Limit, Stated::Soon)],
                ..representative()
            },
        ),
        model(
            "a ladder of two rungs",
            vec![card("01-a", ONE, "- **Escalation:** W2 <w2@local>; V3 <v3@local>")],
            Scope { hands: vec![Hand::Nothing, Hand::Pass, Hand::Fail, Hand::Blocked], ..representative() },
        ),
        Model {
            token_cap: Some(7 * PER_RUN),
            policy: Policy { max_parallel: 2, ..policy() },
            ..model(
                "two stages at once under a tight cap, limits",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope {
                    exits: vec![Exit::Clean, Exit::Refused(RefusalClass::Limit, Stated::Soon)],
                    usage: Usage1::Unknown,
                    landings: vec![Land::Landed],
                    ..representative()
                },
            )
        },
        Model {
            policy: Policy { max_parallel: 2, infrastructure_retries: 0, ..policy() },
            ..model(
                "three stages, a dependency and a claim",
                vec![
                    card("01-a", ONE, ""),
                    card("02-b", ONE, "- **Depends on:** 01-a"),
                    card("03-c", ONE, "- **Path claims:** 01-a/"),
                ],
                Scope { exits: vec![Exit::Clean], landings: vec![Land::Landed, Land::Overlap], ..representative() },
            )
        },
    ]
}
