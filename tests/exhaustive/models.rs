//! The models that the exhaustive check runs on. Together they cover every observation in every phase, up to three stages
//! that get in each other's way, and each of what may hold a run back; each is as small as shows its subject.

use std::collections::BTreeMap;

use autometta::core::budget::{Budget, NoProgress, Window};
use autometta::core::card::{Card, LandingMode};
use autometta::core::exit::RefusalClass;
use autometta::core::ids::{FamilyName, Identity, Role};
use autometta::core::notice::NoticeKind;
use autometta::core::pace::{FEWEST, Pace};
use autometta::core::policy::{BreakerPolicy, Policy};
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::schedule::{DaySpans, LocalRules};
use chrono::TimeDelta;

use super::world::{
    Around, Effects, EndedByCap, Exit, Gates, Hand, Land, Left, Model, Orders, PER_RUN, Papers, Says, Scope, Stated,
    Usage1, Word, brief,
};

const ONE: &str = "- **Verifier:** V <v@local>";
const PANEL: &str = "- **Verifier panel:** 2 of V <v@local>; V2 <v2@local>";
const NOBODY: &str = "- **Verifier:** none (the gate says it all)";
const LIMIT: Exit = Exit::Refused(RefusalClass::Limit, Stated::Soon);

fn card(stage: &str, verifiers: &str, more: &str) -> Card {
    written(stage, verifiers, more, "## Acceptance command\n```sh\ntrue\n```\n")
}

/// A card with other ends than most.
fn written(stage: &str, verifiers: &str, more: &str, end: &str) -> Card {
    let text = format!(
        "# Stage card {stage}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n{verifiers}\n{more}\n## Objective\nDo.\n\n\
         ## Deliverables\n1. `{stage}/`: it\n\n## Acceptance criteria\n1. it works\n\n{end}"
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
        breaker: BreakerPolicy { failures: 0, window: TimeDelta::minutes(10) },
        ..Policy::default()
    }
}

/// No further tries, where they are not the subject.
fn strict() -> Policy {
    Policy { work_retries: 0, verifier_retries: 0, infrastructure_retries: 0, ..policy() }
}

fn budget(tokens: u64) -> Budget {
    Budget { token_cap_total: (tokens > 0).then_some(Tokens(tokens)), ..Budget::default() }
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
        accidents: false,
        usage: Usage1::Nothing,
        ..Scope::everything()
    }
}

/// What goes well, but for these ends of runs.
fn smooth(exits: &[Exit]) -> Scope {
    Scope {
        exits: std::iter::once(Exit::Clean).chain(exits.iter().copied()).collect(),
        hands: vec![Hand::Pass],
        gates: vec![Gates::Passed],
        words: vec![Word::Pass],
        landings: vec![Land::Landed],
        ..representative()
    }
}

fn model(name: &'static str, cards: Vec<Card>, scope: Scope) -> Model {
    let briefs = cards.iter().map(|card| brief(card, &BTreeMap::new())).collect();
    Model {
        name,
        policy: policy(),
        budget: Budget { consecutive_failure_cap: Some(2), ..Budget::default() },
        queued: cards.len(),
        effects: Effects::Free,
        alike: false,
        briefs,
        papers: cards.iter().map(|card| Papers::of(&card.stage)).collect(),
        scope,
        cards,
    }
}

/// The models, the largest first.
pub fn all() -> Vec<Model> {
    [phases(), trains(), providers(), effects(), money(), judges()].into_iter().flatten().collect()
}

/// Every observation in every phase, and stages in each other's way.
fn phases() -> Vec<Model> {
    let says = vec![
        Says::Requeue,
        Says::Hold,
        Says::Release,
        Says::First,
        Says::Skip,
        Says::Cancel,
        Says::Answer,
        Says::Approve,
        Says::Reject,
        Says::Rework,
    ];
    vec![
        Model {
            alike: true,
            ..model(
                "a panel of two",
                vec![card("01-a", PANEL, "")],
                Scope {
                    words: vec![Word::Nothing, Word::Pass, Word::Fail, Word::Blocked],
                    exits: vec![Exit::Clean, Exit::Killed, LIMIT],
                    ..representative()
                },
            )
        },
        Model {
            policy: Policy { landing: LandingMode::Ask, ..policy() },
            ..model(
                "one stage, an operator, landings that ask",
                vec![card("01-a", ONE, "")],
                Scope {
                    words: vec![Word::Nothing, Word::Pass, Word::Fail, Word::Blocked],
                    hands: vec![Hand::Nothing, Hand::Pass, Hand::Blocked],
                    says,
                    orders: vec![Orders::Halt, Orders::Resume],
                    ..representative()
                },
            )
        },
        model("one stage, every observation", vec![card("01-a", ONE, "")], Scope::everything()),
        model(
            "a ladder of two rungs",
            vec![card("01-a", ONE, "- **Escalation:** W2 <w2@local>; V3 <v3@local>")],
            Scope { hands: vec![Hand::Nothing, Hand::Pass, Hand::Fail, Hand::Blocked], ..representative() },
        ),
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
        Model {
            policy: Policy {
                max_parallel: 2,
                family_parallel: ["one", "two"].map(|name| (name.parse().expect("family"), 1)).into(),
                ..strict()
            },
            ..model(
                "two stages, one run of a family at a time",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "- **Fallback:** V2 <v2@local>")],
                Scope { exits: vec![Exit::Clean, LIMIT], hands: vec![Hand::Pass], ..representative() },
            )
        },
    ]
}

/// Candidates that go to the base on top of one another.
fn trains() -> Vec<Model> {
    let landings = vec![
        Land::Ready,
        Land::Landed,
        Land::Rebased,
        Land::Overlap,
        Land::Dirty,
        Land::Joins,
        Land::Behind,
        Land::SameTree,
    ];
    let cards = |names: &[&str]| names.iter().map(|name| card(name, NOBODY, "")).collect();
    vec![
        Model {
            policy: Policy { max_parallel: 2, ..strict() },
            ..model(
                "a train of two",
                cards(&["01-a", "02-b"]),
                Scope {
                    exits: vec![Exit::Clean, Exit::Killed],
                    landings,
                    gates: vec![Gates::Passed, Gates::Failed],
                    says: vec![Says::Skip],
                    ..smooth(&[])
                },
            )
        },
        Model {
            policy: Policy { max_parallel: 3, ..strict() },
            ..model(
                "a train of three",
                cards(&["01-a", "02-b", "03-c"]),
                Scope { landings: vec![Land::Landed, Land::Joins, Land::Behind, Land::SameTree], ..smooth(&[]) },
            )
        },
    ]
}

/// A world that loses any part of what a step asks for.
fn effects() -> Vec<Model> {
    vec![
        Model {
            policy: Policy { tells: NoticeKind::ALL.into_iter().collect(), ..strict() },
            effects: Effects::MayBeLost,
            ..model(
                "one stage, effects that are lost",
                vec![card("01-a", ONE, "")],
                Scope {
                    hands: vec![Hand::Pass, Hand::Blocked],
                    exits: vec![Exit::Clean],
                    landings: vec![Land::Rebased, Land::Overlap, Land::Dirty],
                    says: vec![Says::Skip, Says::Cancel],
                    ..representative()
                },
            )
        },
        Model {
            alike: true,
            policy: strict(),
            effects: Effects::MayBeLost,
            ..model(
                "a panel of two, effects that are lost",
                vec![card("01-a", PANEL, "")],
                Scope { exits: vec![Exit::Clean], landings: vec![Land::Rebased, Land::Overlap], ..representative() },
            )
        },
    ]
}

/// Caps, windows, drains, and what is held back for them.
fn money() -> Vec<Model> {
    let over = Exit::Over(EndedByCap::Tokens);
    let caps = [Orders::Add, Orders::Raise, Orders::Lower, Orders::Lift, Orders::Resume];
    let drains = [Orders::Drain, Orders::StopDrain, Orders::Resume];
    vec![
        Model {
            budget: budget(6 * PER_RUN),
            policy: Policy { max_parallel: 2, ..strict() },
            ..model(
                "two stages at once under a tight cap, limits",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope { usage: Usage1::ByEnd, ..smooth(&[LIMIT, over]) },
            )
        },
        Model {
            budget: Budget { window: Window::Rolling(5), ..budget(3 * PER_RUN) },
            policy: strict(),
            ..model(
                "a window of five hours that runs full",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope { usage: Usage1::ByEnd, ..smooth(&[Exit::Killed, over]) },
            )
        },
        Model {
            budget: Budget { window: Window::UtcDay, ..budget(PER_RUN) },
            policy: strict(),
            ..model(
                "a day, and a drain",
                vec![card("01-a", ONE, "")],
                Scope { usage: Usage1::Unknown, orders: drains.to_vec(), ..smooth(&[]) },
            )
        },
        Model {
            budget: Budget { window: Window::UtcDay, ..budget(2 * PER_RUN) },
            policy: strict(),
            queued: 1,
            ..model(
                "a day, and an operator who changes caps",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "- **Depends on:** 01-a")],
                Scope { usage: Usage1::Unknown, orders: caps.to_vec(), ..smooth(&[]) },
            )
        },
        Model {
            budget: Budget {
                window: Window::LocalDay,
                clock_tick_cap: Some(7),
                wall_clock_cap_seconds: Some(Seconds(100)),
                cost_cap_usd: Some(MicroUsd(25)),
                ..Budget::default()
            },
            policy: Policy { max_parallel: 2, ..strict() },
            ..model(
                "caps of ticks, time and money, by the day",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope { usage: Usage1::ByEnd, ..smooth(&[over]) },
            )
        },
        Model {
            budget: Budget {
                no_progress: NoProgress { tokens: Some(Tokens(3 * PER_RUN)), cost_usd: None, ticks: Some(12) },
                ..Budget::default()
            },
            ..model(
                "caps of a stage, and spend without a landing",
                vec![card("01-a", PANEL, "\n## Budget\n- **Stage tokens:** 400\n"), card("02-b", ONE, "")],
                Scope { usage: Usage1::Unknown, orders: vec![Orders::Resume], ..smooth(&[Exit::Killed]) },
            )
        },
        Model {
            budget: Budget {
                pace: vec![pace(Role::Worker, "one"), pace(Role::Verifier, "two")],
                window: Window::Rolling(5),
                ..budget(3 * PER_RUN)
            },
            policy: Policy { max_parallel: 2, ..strict() },
            ..model(
                "stages that are held back by what an attempt usually takes",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope { usage: Usage1::ByEnd, ..smooth(&[Exit::Killed]) },
            )
        },
        Model {
            budget: Budget {
                pace: vec![pace(Role::Worker, "one"), pace(Role::Verifier, "two")],
                ..budget(3 * PER_RUN)
            },
            policy: strict(),
            ..model(
                "the same, until a person raises the cap",
                vec![card("01-a", ONE, ""), card("02-b", ONE, "")],
                Scope { usage: Usage1::ByEnd, orders: vec![Orders::Raise], ..smooth(&[Exit::Killed]) },
            )
        },
    ]
}

/// What runs of a role and family usually take: half of what is set aside for them.
fn pace(role: Role, family: &str) -> Pace {
    Pace {
        role,
        family: Some(family.parse().expect("family")),
        samples: FEWEST,
        tokens: Tokens(PER_RUN * 3 / 4),
        output_tokens: Tokens(0),
        cost_usd: MicroUsd(5),
        seconds: Seconds(1),
        recent_tokens: Vec::new(),
    }
}

/// Families that wait for their provider, and who takes their places.
fn providers() -> Vec<Model> {
    let overloaded = Exit::Refused(RefusalClass::Overloaded, Stated::No);
    let unstated = Exit::Refused(RefusalClass::Limit, Stated::No);
    let named: BTreeMap<FamilyName, Identity> =
        [("two", "X2 <x2@local>")].map(|(of, who)| (of.parse().expect("family"), who.parse().expect("who"))).into();
    let relieved = card("01-a", ONE, "- **Fallback:** X <x@local>; W2 <w2@local>");
    let climbs = card("01-a", ONE, "- **Escalation:** W2 <w2@local>\n- **Fallback:** X <x@local>");
    let curfew = DaySpans::One("01:00-06:00".parse().expect("span"));
    vec![
        Model {
            briefs: vec![brief(&relieved, &named)],
            ..model(
                "three families, limits of families and models, fallbacks",
                vec![relieved],
                Scope { words: vec![Word::Pass, Word::Fail], ..smooth(&[LIMIT, unstated, Exit::ModelLimit]) },
            )
        },
        Model {
            policy: Policy {
                max_parallel: 2,
                deferrals: 2,
                breaker: BreakerPolicy { failures: 2, window: TimeDelta::minutes(10) },
                ..strict()
            },
            ..model(
                "two stages, a provider that fails, its breaker and its probe",
                vec![card("01-a", NOBODY, ""), card("02-b", NOBODY, "")],
                smooth(&[Exit::ToldToEnd, overloaded]),
            )
        },
        Model {
            briefs: vec![brief(&climbs, &named)],
            ..model(
                "a ladder, fallbacks, and an operator",
                vec![climbs],
                Scope {
                    words: vec![Word::Pass, Word::Fail, Word::Blocked],
                    says: vec![Says::Requeue, Says::Cancel, Says::Answer],
                    ..smooth(&[LIMIT])
                },
            )
        },
        Model {
            alike: true,
            policy: Policy {
                deferrals: 2,
                breaker: BreakerPolicy { failures: 2, window: TimeDelta::minutes(10) },
                ..strict()
            },
            ..model(
                "a panel, and its provider's breaker",
                vec![card("01-a", PANEL, "")],
                Scope {
                    words: vec![Word::Nothing, Word::Pass],
                    says: vec![Says::Cancel],
                    ..smooth(&[overloaded, Exit::Refused(RefusalClass::Context, Stated::No)])
                },
            )
        },
        Model {
            policy: strict(),
            ..model("no network", vec![card("01-a", ONE, "")], Scope { around: &[Around::Providers], ..smooth(&[]) })
        },
        Model {
            policy: Policy { local: LocalRules { curfew, ..LocalRules::default() }, ..policy() },
            ..model(
                "a curfew, and no quota",
                vec![card("01-a", ONE, "")],
                Scope { around: &[Around::Quotas], gates: vec![Gates::Passed, Gates::Failed], ..smooth(&[]) },
            )
        },
        model("a fleet's day", vec![card("01-a", ONE, "")], Scope { around: &[Around::FleetsDay], ..smooth(&[LIMIT]) }),
        model(
            "one place for agents: a panel and a stage behind it",
            vec![card("01-a", PANEL, ""), card("02-b", NOBODY, "")],
            Scope { around: &[Around::FleetsDay], says: Vec::new(), ..smooth(&[]) },
        ),
    ]
}

/// Other ways to be judged.
fn judges() -> Vec<Model> {
    let ungated = written("01-a", ONE, "", "");
    let without_gates = |card: &Card| {
        let brief = brief(card, &BTreeMap::new());
        vec![autometta::core::observation::Brief { gate_caps: None, ..brief }]
    };
    vec![
        Model {
            briefs: without_gates(&ungated),
            ..model("no gate", vec![ungated], Scope { accidents: true, ..representative() })
        },
        model("no verifier", vec![card("01-a", NOBODY, "")], Scope { accidents: true, ..representative() }),
        model(
            "contract tests",
            vec![card("01-a", ONE, "\n## Contract tests\n- `tests/a.rs`\n")],
            Scope { accidents: true, ..smooth(&[]) },
        ),
    ]
}
