//! A soak: many stages over many repositories, whose agents pass, fail, hang, crash, flood, lie and run into limits as a
//! seed says, while several timers fire at random, an operator works in every checkout, and ticks, supervisors and gates
//! are killed at random. Every stage must come to the end that the model (`soak/model.rs`) gives it, and nothing may be
//! left over. See `docs/proof.md`; `tests/soak.sh` runs the large one.
//!
//! `AUTOMETTA_SOAK_STAGES`, `AUTOMETTA_SOAK_REPOS` and `AUTOMETTA_SOAK_SEED` choose its size and what is drawn;
//! `AUTOMETTA_SOAK_KEEP=1` leaves the box of a soak that found something where it is.

#![cfg(target_os = "linux")]
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say what they measured"
)]

#[path = "soak/audit.rs"]
mod audit;
#[path = "soak/forces.rs"]
mod forces;
#[path = "soak/model.rs"]
mod model;
#[path = "soak/processes.rs"]
mod processes;
mod support;
#[path = "soak/table.rs"]
mod table;
#[path = "soak/world.rs"]
mod world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use audit::Audit;
use forces::Soak;
use world::World;

/// What `cargo test` runs.
const STAGES: usize = 40;
const REPOS: usize = 4;
const SEED: u64 = 7;
/// From so many stages on, some pauses are left to end by themselves, which takes a minute each.
const PATIENT: usize = 200;
/// How many timers fire side by side.
const TIMERS: u64 = 3;
/// How long nothing may come to rest before the soak has failed: a few pauses of a minute.
const STANDSTILL: Duration = Duration::from_secs(240);

fn chosen<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|given| given.parse().ok()).unwrap_or(default)
}

/// Waits until every stage rests; gives what does not where it never does.
fn comes_to_rest(soak: &Soak<'_>) -> Result<(), String> {
    let (mut least, mut since) = (usize::MAX, Instant::now());
    loop {
        let mut left = Vec::new();
        for repo in &soak.world.repos {
            left.extend(repo.unfinished(&repo.stages()));
        }
        if left.is_empty() {
            return Ok(());
        }
        if soak.is_over() {
            return Err(format!("somebody failed, and {} stages are left", left.len()));
        }
        if left.len() < least {
            (least, since) = (left.len(), Instant::now());
        }
        if since.elapsed() > STANDSTILL {
            return Err(format!("for {STANDSTILL:?} nothing came to rest, and {} are left: {left:?}", left.len()));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn every_stage_reaches_its_modelled_end_and_nothing_is_left_whatever_is_killed() {
    let stages = chosen("AUTOMETTA_SOAK_STAGES", STAGES);
    let repos = chosen("AUTOMETTA_SOAK_REPOS", REPOS);
    let seed = chosen("AUTOMETTA_SOAK_SEED", SEED);
    println!("AUTOMETTA_SOAK_STAGES={stages} AUTOMETTA_SOAK_REPOS={repos} AUTOMETTA_SOAK_SEED={seed}");
    let world = World::build(stages, repos, seed, stages >= PATIENT);
    let soak = Soak::new(&world, seed);
    let rest = std::thread::scope(|scope| {
        for number in 0..TIMERS {
            let soak = &soak;
            scope.spawn(move || soak.while_it_lasts(|soak| soak.timer(number)));
        }
        scope.spawn(|| soak.while_it_lasts(Soak::killer));
        scope.spawn(|| soak.while_it_lasts(Soak::operator));
        let mut rest = Ok(());
        soak.while_it_lasts(|soak| rest = comes_to_rest(soak));
        rest
    });
    let whole = soak.elapsed();
    let mut audit = Audit::new(&world);
    // What the last kill left is the next fire's to find; what that one does is told by another.
    for _ in 0..3 {
        soak.fire(TIMERS, None);
    }
    audit.findings.extend(rest.err());
    let commits: Vec<usize> = soak.commits.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    audit.all(&commits);
    println!("{}", table::table(&soak, &mut audit, whole));
    soak.with_figures(|figures| figures.complaints.iter().for_each(|said| println!("complaint: {said}")));
    if audit.findings.is_empty() {
        return;
    }
    let findings = audit.findings.join("\n");
    if std::env::var("AUTOMETTA_SOAK_KEEP").is_ok() {
        println!("kept: {}", world.night.base().display());
        std::mem::forget(world);
    }
    panic!("seed {seed}, {} findings:\n{findings}", findings.lines().count());
}
