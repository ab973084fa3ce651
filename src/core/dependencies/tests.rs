//! Circles, faults, landed code: over queues of bare stages.

use proptest::prelude::*;

use super::*;
use crate::core::card::Card;
use crate::core::ids::CommitId;
use crate::core::operate::queued;
use crate::core::state::Over;

fn id(name: &str) -> StageId {
    name.parse().expect("id")
}

fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().expect("commit")
}

fn stage(name: &str, needs: &str) -> Stage {
    let needs = if needs.is_empty() { String::new() } else { format!("- **Depends on:** {needs}\n") };
    let text = format!(
        "# Stage card {name}: x\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier:** V <v@local>\n{needs}\n\
         ## Objective\nx\n\n## Deliverables\nnone\n\n## Acceptance criteria\n1. x\n"
    );
    let card = Card::parse(id(name), &text).expect("card").card;
    queued(&card, format!("{name}.md"), "main".to_owned())
}

fn over(stage: Stage, status: EndStatus, commit: Option<CommitId>) -> Stage {
    let over = Over { status, reason: None, at: chrono::DateTime::UNIX_EPOCH, commit, kept: None };
    Stage { life: Life::Over(over), ..stage }
}

fn state(stages: Vec<Stage>) -> State {
    State { stages, ..State::new("r".to_owned()) }
}

#[test]
fn every_fault_is_named_at_once_and_only_those_of_the_stages_asked_about() {
    let stages = vec![
        stage("01-a", "03-c"),
        stage("02-b", "01-a"),
        stage("03-c", "02-b, 98-x"),
        stage("04-d", "99-none, 05-e, 06-f"),
        over(stage("05-e", ""), EndStatus::Superseded, None),
        over(stage("06-f", ""), EndStatus::Failed, None),
    ];
    let state = state(stages);
    let all: Vec<StageId> = state.stages.iter().map(|stage| stage.id.clone()).collect();
    let said = faults(&state, &all, &[id("98-x")]);
    assert_eq!(
        said,
        [
            "04-d depends on 99-none, which is neither in the queue nor landed; queue it first",
            "04-d depends on 05-e, which was closed without landing; `autometta requeue 05-e` first, or take it out of \
             the card",
            "these stages depend on each other in a circle: 01-a → 03-c → 02-b → 01-a",
        ]
    );
    assert_eq!(faults(&state, &[id("05-e")], &[]), Vec::<String>::new(), "others' faults are others'");
    assert_eq!(faults(&state, &[id("02-b")], &[]).len(), 1);
}

#[test]
fn a_stage_that_depends_on_itself_by_hand_is_a_circle_of_one() {
    let mut own = stage("01-a", "");
    own.depends_on = vec![id("01-a")];
    let state = state(vec![own]);
    assert_eq!(faults(&state, &[id("01-a")], &[]), ["01-a depends on itself: 01-a → 01-a"]);
}

#[test]
fn what_is_looked_for_in_the_base_are_the_commits_of_what_has_landed() {
    let landed = over(stage("01-a", ""), EndStatus::Completed, Some(commit(1)));
    let nothing = over(stage("02-b", ""), EndStatus::Completed, None);
    let mut stages = vec![landed, nothing, stage("03-c", "01-a, 02-b")];
    let (a, one) = (id("01-a"), commit(1));
    assert_eq!(wanted(&stages, &stages[2]), [(&a, &one)]);
    assert!(!stands_on(&stages, &stages[2], Some(&commit(9))), "nobody has looked");
    let mut found = Foundation { tip: commit(9), commits: vec![commit(1)], missing: vec![id("01-a")] };
    stages[2].wait.foundation = Some(found.clone());
    assert!(!stands_on(&stages, &stages[2], Some(&commit(9))));
    assert_eq!(elsewhere(&stages, &stages[2]), Some((&a, &one)));
    found.missing.clear();
    stages[2].wait.foundation = Some(found.clone());
    assert!(stands_on(&stages, &stages[2], Some(&commit(9))));
    assert!(!stands_on(&stages, &stages[2], Some(&commit(8))), "the base has moved since");
    assert!(!stands_on(&stages, &stages[2], None));
    // It has landed as another commit since.
    found.commits = vec![commit(2)];
    stages[2].wait.foundation = Some(found);
    assert!(!stands_on(&stages, &stages[2], Some(&commit(9))));
    assert_eq!(elsewhere(&stages, &stages[2]), None);
}

/// Whether a place can be reached from itself, by trying every way.
fn comes_back(ways: &[Vec<usize>], start: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = ways[start].clone();
    while let Some(at) = next.pop() {
        if at == start {
            return true;
        }
        if seen.insert(at) {
            next.extend(&ways[at]);
        }
    }
    false
}

proptest! {
    /// A place stands in a circle that was found exactly where it can be reached from itself, or where every circle that
    /// it stands in is broken by breaking those that were found; and each is one.
    #[test]
    fn circles_are_circles_and_breaking_them_leaves_fewer(
        drawn in proptest::collection::vec(proptest::collection::vec(0_usize..8, 0..3), 8)
    ) {
        let found = circles(&drawn);
        for circle in &found {
            for (step, at) in circle.iter().enumerate() {
                prop_assert!(drawn[*at].contains(&circle[(step + 1) % circle.len()]), "{circle:?} of {drawn:?}");
            }
        }
        let in_one: BTreeSet<usize> = found.into_iter().flatten().collect();
        for place in 0..drawn.len() {
            prop_assert_eq!(in_one.contains(&place), comes_back(&drawn, place), "{} of {:?}", place, drawn);
        }
    }
}
