//! Simulated nights in large numbers: `cargo bench --bench nights -- --seeds 10000 --from 0`.

#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench reports")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use autometta::sim::chaos::{KINDS, Script};
use autometta::sim::trial::{Outcome, Story, report, shrink, try_night};
use autometta::sim::truth::CHECKS;
use autometta::tick::engine::turn;
use support::argument;

#[derive(Default)]
struct Sum {
    fires: u64,
    checks: [u64; CHECKS.len()],
    happened: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, String)>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.fires += outcome.fires;
        for (sum, count) in self.checks.iter_mut().zip(outcome.checks) {
            *sum += count;
        }
        for (kind, count) in outcome.happened {
            *self.happened.entry(kind).or_default() += count;
        }
        if let Some(first) = outcome.broken.into_iter().next() {
            self.broken.push((seed, first));
        }
    }
}

fn main() {
    let (seeds, from) = (argument("--seeds", 200_u64), argument("--from", 0_u64));
    let threads = argument("--threads", 2_u64);
    let next = AtomicU64::new(from);
    let sum = Mutex::new(Sum::default());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Sum::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    mine.add(seed, try_night(&Script::of(seed), Story::Untold));
                }
                let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                sum.fires += mine.fires;
                for (all, count) in sum.checks.iter_mut().zip(mine.checks) {
                    *all += count;
                }
                for (kind, count) in mine.happened {
                    *sum.happened.entry(kind).or_default() += count;
                }
                sum.broken.extend(mine.broken);
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("what happened:");
    for (kind, count) in &sum.happened {
        println!("{count:>10}  {kind}");
    }
    println!("invariants held:");
    for (check, count) in CHECKS.iter().zip(sum.checks) {
        println!("{count:>10}  {check}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = seeds as f64 / took * 60.0;
    println!("{seeds} nights, {} fires, {took:.1} s, {rate:.0} nights a minute", sum.fires);
    sum.broken.sort();
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (seed, words) in &sum.broken {
        kinds.entry(words.split(':').next().unwrap_or_default().to_owned()).or_default().push(*seed);
    }
    for (kind, seeds) in &kinds {
        println!("broken: {kind} in {} nights, such as {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    for seeds in kinds.values() {
        if let Some(seed) = seeds.first() {
            println!("{}", report(&shrink(&Script::of(*seed), turn), turn));
        }
    }
    let never: Vec<&str> = KINDS.into_iter().filter(|kind| !sum.happened.contains_key(kind)).collect();
    let is_large = seeds >= 1000;
    if is_large && !never.is_empty() {
        println!("never happened: {}", never.join(", "));
    }
    if !sum.broken.is_empty() || (is_large && !never.is_empty()) {
        std::process::exit(1);
    }
}
