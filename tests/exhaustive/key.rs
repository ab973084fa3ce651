//! When two nodes are the same: everything that `step` goes by, and nothing else.
//!
//! Names of objects and runs, times and sums are only told apart as far as the machine tells them apart: objects by the
//! order in which they are met, times by which of them comes first, attempts not at all. Every type is taken apart
//! field by field, so that a new field does not compile until somebody has said whether the machine goes by it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use autometta::core::budget::{Breaker, Budget, Pause};
use autometta::core::ids::{ObjectId, Role, RunId};
use autometta::core::state::{
    Approval, Candidate, Flight, Gating, Kept, Landing, Life, NextRun, Over, PastRun, Pending, Resume, RunOutcome,
    Seat, Stage, State, Verifying, Work, Working,
};
use chrono::{DateTime, Utc};

use super::world::{Facts, Model, Node, PER_RUN, moments};

/// What stands for a node: two hashes, so that a collision among millions is out of the question.
pub type Key = (u64, u64);

/// The key of a node.
pub fn key(model: &Model, node: &Node) -> Key {
    let mut stages: Vec<Vec<u32>> = node.state.stages.iter().map(|stage| of_stage(model, node, stage)).collect();
    if model.alike {
        stages.sort();
    }
    let mut words = of_budget(model, node);
    for stage in stages {
        words.push(u32::MAX);
        words.extend(stage);
    }
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, &words).hash(&mut hasher);
        hasher.finish()
    };
    (half(1), half(2))
}

/// Writes what the machine goes by as numbers.
struct Writer<'a> {
    words: Vec<u32>,
    facts: &'a Facts,
    times: Vec<DateTime<Utc>>,
    objects: BTreeMap<ObjectId, u32>,
}

fn small(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX - 1)
}

impl<'a> Writer<'a> {
    fn new(node: &'a Node) -> Self {
        let mut times: Vec<_> = moments(node).into_iter().filter(|at| *at > node.facts.now).collect();
        times.sort_unstable();
        times.dedup();
        Self { words: Vec::with_capacity(64), facts: &node.facts, times, objects: BTreeMap::new() }
    }

    fn word(&mut self, word: impl TryInto<u32>) {
        self.words.push(small(word));
    }

    /// A name that is one of few.
    fn name(&mut self, name: &str) {
        self.word(name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))));
    }

    fn flag(&mut self, flag: bool) {
        self.word(u32::from(flag));
    }

    /// What is over is over; what is to come is known by its place among what is to come.
    fn time(&mut self, at: Option<DateTime<Utc>>) {
        let rank = at.map_or(0, |at| self.times.iter().position(|time| *time == at).map_or(1, |rank| rank + 2));
        self.word(rank);
    }

    fn object(&mut self, id: &ObjectId) {
        let next = small(self.objects.len());
        let rank = *self.objects.entry(id.clone()).or_insert(next);
        self.word(rank);
    }

    fn role(&mut self, run: &RunId) {
        let RunId { stage: _, attempt: _, role, seat, retry: _ } = run;
        self.word(*role as u32);
        self.word(seat.unwrap_or(0));
    }

    fn candidate(&mut self, candidate: &Candidate) {
        let Candidate { commit, tree, run } = candidate;
        self.object(commit);
        self.object(tree);
        self.role(run);
        self.flag(self.facts.passed.contains(tree));
        let votes = self.facts.votes.get(tree).map(BTreeMap::len).unwrap_or_default();
        self.word(votes);
    }

    fn work(&mut self, work: &Work) {
        let Work { base_commit, started_at: _ } = work;
        self.object(base_commit);
    }

    fn resume(&mut self, resume: Option<&Resume>) {
        let Some(resume) = resume else { return self.word(0_u32) };
        // What was wrong goes into briefs and sentences only.
        let Resume { base_commit, start, tree, evidence, because: _, predecessor } = resume;
        self.word(1_u32);
        self.object(base_commit);
        self.object(start);
        self.object(tree);
        self.flag(evidence.is_empty());
        self.flag(predecessor.is_some());
    }

    fn flight(&mut self, flight: Option<&Flight>) {
        let Some(flight) = flight else { return self.word(0_u32) };
        // Identity, family, model and reservation follow from the stage; the date is a label.
        let Flight { run, identity: _, family: _, model: _, reserved: _, dispatched_at: _, stopping } = flight;
        self.word(1_u32);
        self.role(run);
        self.word(stopping.map_or(0, |why| why as u32 + 1));
        self.flag(self.facts.started.contains(run));
    }

    fn approval(&mut self, approval: Option<&Approval>) {
        let Some(approval) = approval else { return self.word(0_u32) };
        let Approval { tree, verified_tree, gate, verdicts, verifiers: _, headline: _, overlap } = approval;
        self.word(1_u32);
        self.object(tree);
        self.object(verified_tree);
        self.flag(gate.is_some());
        self.word(verdicts.len());
        self.word(*overlap as u32);
        // An approval outlives its candidate's own votes when the base moves.
        self.word(self.facts.votes.get(verified_tree).map(BTreeMap::len).unwrap_or_default());
    }
}

fn of_stage(model: &Model, node: &Node, stage: &Stage) -> Vec<u32> {
    // Names and papers: the card's own, the same for a stage all its life. The dependencies of a model never change.
    // Chores are done by the next fire, and nothing goes by them; sums of the past bind nothing here.
    let Stage {
        id,
        title: _,
        card: _,
        card_sha256,
        worker,
        verifiers,
        quorum: _,
        unverified: _,
        contract: _,
        base_branch: _,
        depends_on: _,
        path_claims: _,
        priority: _,
        attempt,
        failures,
        rung,
        failures_below,
        fallback,
        tokens: _,
        cost_usd: _,
        history,
        chores: _,
        life,
    } = stage;
    let mut out = Writer::new(node);
    if !model.alike {
        out.word(node.state.stages.iter().position(|other| other.id == *id).unwrap_or_default());
    }
    out.flag(card_sha256.is_some());
    out.flag(*attempt > 0);
    out.word(*failures);
    out.word(*rung);
    out.word(*failures_below);
    out.flag(fallback.is_some());
    for who in std::iter::once(worker).chain(verifiers) {
        out.name(who.name());
    }
    past(&mut out, model, stage, history);
    write_life(&mut out, life);
    out.object(&node.facts.tip);
    out.words
}

/// Where a stage is, with all that this phase goes by.
fn write_life(out: &mut Writer, life: &Life) {
    match life {
        Life::Pending(Pending { not_before, reason, next }) => {
            out.word(10_u32);
            out.time(*not_before);
            // A reason is only noted again when it is another one.
            out.name(reason.as_ref().map_or("", |reason| &reason.code));
            match next {
                NextRun::Fresh => out.word(0_u32),
                NextRun::Again { from } => {
                    out.word(1_u32);
                    out.resume(from.as_ref());
                }
                NextRun::Continue(resume) => {
                    out.word(2_u32);
                    out.resume(Some(resume));
                }
            }
        }
        Life::Working(Working { work, resume, flight }) => {
            out.word(11_u32);
            out.work(work);
            out.resume(resume.as_ref());
            out.flight(Some(flight));
        }
        Life::Gating(Gating { work, candidate, approval, flight, not_before }) => {
            out.word(12_u32);
            out.work(work);
            out.candidate(candidate);
            out.approval(approval.as_ref());
            out.flight(flight.as_ref());
            out.time(*not_before);
        }
        Life::Verifying(Verifying { work, candidate, gate, seats }) => {
            out.word(13_u32);
            out.work(work);
            out.candidate(candidate);
            out.flag(gate.is_some());
            for Seat { number, verifier: _, flight, not_before, vote } in seats {
                out.word(number.unwrap_or(0));
                out.flight(flight.as_ref());
                out.time(*not_before);
                out.word(vote.as_ref().map_or(0, |ballot| ballot.said as u32 + 1));
            }
        }
        Life::Landing(Landing { work, candidate, approval, decided_at: _, committer, waiting }) => {
            out.word(14_u32);
            out.work(work);
            out.candidate(candidate);
            out.approval(Some(approval));
            out.flag(committer.is_some());
            out.name(waiting.as_ref().map_or("", |reason| &reason.code));
        }
        Life::Over(Over { status, reason: _, at: _, commit, kept }) => {
            out.word(15_u32);
            out.word(*status as u32);
            out.flag(commit.is_some());
            if let Some(Kept { base_commit, candidate, started_at: _, awaits, seen_tip, approval }) = kept {
                out.object(base_commit);
                out.candidate(candidate);
                out.word(*awaits as u32);
                out.flag(seen_tip.is_some());
                out.approval(approval.as_ref());
            }
        }
    }
}

/// What the past counts for: tries of the present attempt, refusals in a row, flaky gates in a row.
fn past(out: &mut Writer, model: &Model, stage: &Stage, history: &[PastRun]) {
    let seats = std::iter::once(None).chain((1..=3).map(Some));
    let roles = seats.map(|seat| (Role::Verifier, seat)).chain([(Role::Worker, None), (Role::Gate, None)]);
    for (role, seat) in roles {
        let same = |past: &&PastRun| past.run.role == role && past.run.seat == seat;
        let now = |past: &&PastRun| same(past) && past.run.attempt == stage.attempt;
        out.word(stage.infrastructure_failures(role, seat));
        out.word(history.iter().filter(now).filter(|past| past.outcome == RunOutcome::NoVerdict).count());
        let refused = history.iter().rev().filter(same).take_while(|past| past.outcome == RunOutcome::Refused).count();
        out.word(refused.min(model.policy.deferrals as usize + 2));
    }
    out.word(stage.flakes());
    out.flag(stage.candidate_run().is_some());
}

fn of_budget(model: &Model, node: &Node) -> Vec<u32> {
    let mut out = Writer::new(node);
    let State { repo_id: _, tick_count: _, last_tick_at: _, slept: _, stages: _, notices } = &node.state;
    out.flag(notices.is_empty());
    budget(&mut out, model, &node.budget);
    out.words
}

fn budget(out: &mut Writer, model: &Model, budget: &Budget) {
    let Budget {
        version: _,
        token_cap_total: _,
        tokens_spent,
        tokens_reserved,
        lifetime_tokens_spent: _,
        cost_cap_usd: _,
        cost_spent_usd: _,
        cost_reserved_usd: _,
        lifetime_cost_usd: _,
        wall_clock_cap_seconds: _,
        wall_clock_elapsed_seconds: _,
        wall_clock_reserved_seconds: _,
        clock_tick_cap: _,
        clock_ticks_used: _,
        idle_ticks_used: _,
        consecutive_failure_cap,
        consecutive_failures,
        halted,
        halt_reason: _,
        halt_reasons,
        halted_at: _,
        pauses,
        deferrals: _,
        breakers,
        turned_away: _,
        window: _,
        window_started_at: _,
        breaches: _,
        spend: _,
        drain: _,
        no_progress: _,
        since_landing: _,
        pace: _,
        attempts: _,
    } = budget;
    if model.token_cap.is_some() {
        out.word(tokens_spent.0 / PER_RUN);
        out.word(tokens_reserved.0 / PER_RUN);
    }
    if let Some(cap) = consecutive_failure_cap {
        out.word((*consecutive_failures).min(*cap));
    }
    out.flag(*halted);
    let mut reasons: Vec<u32> = halt_reasons.iter().map(|halt| halt.reason as u32).collect();
    reasons.sort_unstable();
    out.words.extend(reasons);
    for Breaker { family, failures, open_until, opened, probe, reason: _ } in breakers {
        out.name(family.as_str());
        out.word(failures.len());
        out.time(*open_until);
        out.word(*opened);
        out.flag(probe.is_some());
    }
    for Pause { family, model, until, reason: _ } in pauses {
        out.flag(model.is_some());
        out.name(family.as_str());
        out.time(Some(*until));
    }
}
