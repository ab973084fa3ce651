//! The plan, rule by rule.

use super::*;
use crate::core::manifest::Size;

fn at(hours_ago: i64) -> DateTime<Utc> {
    now() - TimeDelta::hours(hours_ago)
}

fn now() -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn rules() -> Keep {
    Keep { size: Size(1_000), floor: Size(0), ..Keep::default() }
}

/// A run that ended so many hours ago, of a stage that landed then; 100 bytes, of which 10 are records.
fn run(id: &str, hours_ago: i64) -> RunPast {
    let ended_at = at(hours_ago);
    let run = id.parse().expect("run");
    RunPast { run, ended_at, fate: Fate::Landed(ended_at), bytes: 100, bulk: 90, plain: 0 }
}

fn past(runs: Vec<RunPast>) -> Past {
    Past { runs, reported_at: Some(at(0)), free: Some(u64::MAX), ..Past::default() }
}

/// What is done to which run.
fn done(plan: &Plan) -> Vec<String> {
    let words = |item: &Item| match item {
        Item::Remove { run, why, .. } => format!("remove {run} {why:?}"),
        Item::Strip { run, why, .. } => format!("strip {run} {why:?}"),
        Item::Compress { run, .. } => format!("compress {run}"),
        Item::Segment { number, .. } => format!("segment {number}"),
    };
    plan.items.iter().map(words).collect()
}

const MONTH: i64 = 30 * 24;

#[test]
fn a_stage_goes_whole_once_its_last_run_is_old_enough() {
    let old = vec![run("01-a.1.worker", MONTH + 5), run("01-a.1.gate", MONTH)];
    assert_eq!(done(&plan(&past(old), &rules(), now())), ["remove 01-a.1.worker Age", "remove 01-a.1.gate Age"]);
    let young = vec![run("01-a.1.worker", MONTH + 5), run("01-a.2.worker", MONTH - 1)];
    let plan = plan(&past(young), &rules(), now());
    assert_eq!((done(&plan), &plan.stays), (vec![], &BTreeMap::from([(Stays::Young, 2)])));
}

#[test]
fn what_is_needed_stays_however_old_and_large_it_is() {
    let stays = |change: &dyn Fn(&mut Past), why: Stays| {
        let mut past = past(vec![run("01-a.1.worker", 10 * MONTH)]);
        past.runs[0].bytes = 5_000;
        past.runs[0].bulk = 4_000;
        past.free = Some(0);
        assert_eq!(done(&plan(&past, &Keep { floor: Size(9_000), ..rules() }, now())).len(), 1);
        change(&mut past);
        let plan = plan(&past, &Keep { floor: Size(9_000), ..rules() }, now());
        assert_eq!((done(&plan), &plan.stays), (vec![], &BTreeMap::from([(why, 1)])), "{why:?}");
        assert_eq!((plan.above_size, plan.below_floor), (4_000, 9_000), "{why:?}");
    };
    for why in [Stays::InFlight, Stays::NotOver, Stays::WaitsForYou, Stays::Unknown] {
        stays(&|past| past.runs[0].fate = Fate::Stays(why), why);
    }
    let unmerged = |past: &mut Past| {
        past.unmerged.insert("01-a".parse().expect("stage"));
        past.runs[0].fate = Fate::Closed(at(10 * MONTH));
    };
    stays(&unmerged, Stays::Unmerged);
    stays(&|past| past.reported_at = Some(at(10 * MONTH + 1)), Stays::Unreported);
    stays(&|past| past.reported_at = None, Stays::Unreported);
}

#[test]
fn a_landed_stages_kept_branches_and_a_run_by_hand_hold_nothing_back() {
    let mut past = past(vec![run("01-a.1.worker", MONTH), run("02-b.manual.worker", MONTH)]);
    past.unmerged.insert("01-a".parse().expect("stage"));
    assert_eq!(plan(&past, &rules(), now()).items.len(), 2);
    past.reported_at = None;
    assert_eq!(done(&plan(&past, &rules(), now())), ["remove 02-b.manual.worker Age"]);
}

#[test]
fn above_the_size_the_oldest_keep_their_records_only() {
    let mut past = past((1..=12).map(|n| run(&format!("{n:02}-a.1.worker"), 100 - n)).collect());
    let plan = plan(&past, &rules(), now());
    // 1,200 bytes; each stripped run frees 90.
    assert_eq!(done(&plan), ["strip 01-a.1.worker Size", "strip 02-a.1.worker Size", "strip 03-a.1.worker Size"]);
    assert_eq!(plan.above_size, 0);
    // Done, it is at rest.
    for run in &mut past.runs[..3] {
        (run.bytes, run.bulk) = (10, 0);
    }
    assert_eq!(done(&super::plan(&past, &rules(), now())), Vec::<String>::new());
}

#[test]
fn below_the_floor_the_oldest_go_first_even_when_young() {
    let mut past = past(vec![run("02-b.1.worker", 1), run("01-a.1.worker", 2)]);
    past.free = Some(920);
    let rules = Keep { floor: Size(1_000), ..rules() };
    assert_eq!(done(&plan(&past, &rules, now())), ["strip 01-a.1.worker Floor"]);
    past.free = Some(0);
    let plan = plan(&past, &rules, now());
    assert_eq!(done(&plan), ["strip 01-a.1.worker Floor", "strip 02-b.1.worker Floor"]);
    assert_eq!(plan.below_floor, 820);
    past.free = None;
    assert_eq!(super::plan(&past, &rules, now()).items, [], "nobody knows how much is free");
}

#[test]
fn logs_are_compressed_a_day_after_the_run_whatever_became_of_its_stage() {
    let mut runs = vec![run("01-a.1.worker", 24), run("02-b.1.worker", 23), run("03-c.1.worker", 25)];
    for run in &mut runs {
        run.plain = 50;
    }
    runs[0].fate = Fate::Stays(Stays::WaitsForYou);
    runs[2].fate = Fate::Stays(Stays::InFlight);
    assert_eq!(done(&plan(&past(runs), &rules(), now())), ["compress 01-a.1.worker"]);
}

#[test]
fn old_segments_go_from_the_front_and_never_the_newest() {
    let segment = |number, hours_ago| SegmentPast { number, at: at(hours_ago), bytes: 1 };
    let with = |segments| Past { segments, ..Past::default() };
    let all = with(vec![segment(1, 3 * MONTH), segment(2, 2 * MONTH), segment(3, 1), segment(4, 2 * MONTH)]);
    assert_eq!(done(&plan(&all, &rules(), now())), ["segment 1", "segment 2"]);
    let one = with(vec![segment(7, 3 * MONTH)]);
    assert_eq!(done(&plan(&one, &rules(), now())), Vec::<String>::new());
}

#[test]
fn a_clock_that_was_set_back_lets_nothing_go() {
    let plan = plan(&past(vec![run("01-a.1.worker", -48)]), &rules(), now());
    assert_eq!(plan.items, []);
}
