//! When two nodes are the same: everything that `step` goes by, and nothing else.
//!
//! Names of objects and runs, times and sums are only told apart as far as the machine tells them apart: objects by the
//! order in which they are met, times by which of them comes first, attempts not at all. Every type is taken apart
//! field by field, so that a new field does not compile until somebody has said whether the machine goes by it.

use std::collections::BTreeMap;

use autometta::core::budget::{Breaker, Bucket, Budget, Deferral, Drain, Pause, SinceLanding, Window};
use autometta::core::ids::{ObjectId, Role, RunId};
use autometta::core::pace::Pace;
use autometta::core::state::{
    Approval, Candidate, Chore, Flight, Gating, Kept, Landing, Life, NextRun, Over, PastRun, Pending, Reservation,
    Resume, RunOutcome, Seat, Stage, State, Verifying, Work, Working,
};
use autometta::core::train::{Own, Train};
use autometta::core::wait::Wait;
use chrono::{DateTime, Utc};

use super::happens::midnight;
use super::world::{Effects, Facts, Fleet, Land, Model, Node, families};

/// What stands for a node: two hashes, so that a collision among millions is out of the question.
pub type Key = (u64, u64);
/// Openings of a breaker after which it stays open for no longer than before.
const LONGEST_OPENING: u32 = 5;

/// The key of a node.
pub fn key(model: &Model, node: &Node) -> Key {
    let mut out = Writer::new(model, node);
    of_the_whole(&mut out, node);
    for (place, stage) in node.state.stages.iter().enumerate() {
        out.word(u32::MAX - 2);
        out.objects.clear();
        of_stage(&mut out, place, stage);
    }
    if model.scope.landings.contains(&Land::Joins) {
        of_the_train(&mut out, node);
    }
    (hash(&out.words, 0xcbf2_9ce4_8422_2325), hash(&out.words, 0x9e37_79b9_7f4a_7c15))
}

/// Which stages stand on the tip, and which on the candidate of which other one.
fn of_the_train(out: &mut Writer, node: &Node) {
    let base = |stage: &Stage| match &stage.life {
        Life::Working(Working { work, .. })
        | Life::Gating(Gating { work, .. })
        | Life::Verifying(Verifying { work, .. })
        | Life::Landing(Landing { work, .. }) => Some(work.base_commit.clone()),
        Life::Pending(_) | Life::Over(_) => None,
    };
    for stage in &node.state.stages {
        let base = base(stage);
        let is =
            |candidate: Option<Candidate>| candidate.is_some_and(|candidate| Some(&candidate.commit) == base.as_ref());
        let place = |stands_on: &dyn Fn(&Stage) -> bool| {
            node.state.stages.iter().position(stands_on).map_or(0, |place| place + 1)
        };
        out.flag(base.as_ref() == Some(&node.facts.tip));
        out.word(place(&|other| is(other.candidate().cloned())));
        out.word(place(&|other| is(other.own_candidate())));
    }
}

/// A word after the other, mixed thoroughly.
fn hash(words: &[u32], seed: u64) -> u64 {
    words.iter().fold(seed, |hash, word| {
        let mixed = (hash ^ u64::from(*word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed ^ (mixed >> 33)).wrapping_mul(seed | 1)
    })
}

/// Writes what the machine goes by as numbers.
struct Writer<'a> {
    words: Vec<u32>,
    model: &'a Model,
    facts: &'a Facts,
    times: Vec<DateTime<Utc>>,
    objects: BTreeMap<ObjectId, u32>,
}

fn small(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX - 1)
}

impl<'a> Writer<'a> {
    fn new(model: &'a Model, node: &'a Node) -> Self {
        let mut times: Vec<_> = model.moments(node).into_iter().filter(|at| *at > node.facts.now).collect();
        times.sort_unstable();
        times.dedup();
        Self { words: Vec::with_capacity(128), model, facts: &node.facts, times, objects: BTreeMap::new() }
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

    /// The same with how far away it is, about, for what may come before or after what is still to be put off.
    fn time_to(&mut self, at: Option<DateTime<Utc>>) {
        self.time(at);
        let minutes = at.map_or(0, |at| (at - self.facts.now).num_minutes().clamp(0, 1_000));
        self.word(minutes);
    }

    fn object(&mut self, id: &ObjectId) {
        let next = small(self.objects.len());
        let rank = *self.objects.entry(id.clone()).or_insert(next);
        self.word(rank);
    }

    fn role(&mut self, run: &RunId) {
        let RunId { stage: _, attempt: _, role, seat, retry: _ } = run;
        self.word(*role as u32);
        // Alike seats are written in an order of their own.
        self.word(if self.model.alike { 0 } else { seat.unwrap_or(0) });
    }

    /// What was written of each seat; of alike ones in an order of its own.
    fn seats(&mut self, mut written: Vec<Vec<u32>>) {
        if self.model.alike {
            written.sort();
        }
        self.words.extend(written.into_iter().flatten());
    }

    fn reservation(&mut self, reservation: &Reservation) {
        let Reservation { tokens, cost_usd, seconds } = reservation;
        self.word(tokens.0);
        self.word(cost_usd.0);
        self.word(seconds.0);
    }

    fn candidate(&mut self, candidate: &Candidate) {
        let Candidate { commit, tree, run } = candidate;
        self.object(commit);
        self.object(tree);
        self.role(run);
        self.flag(self.facts.passed.contains(tree));
        let votes = self.facts.votes.get(tree).map(BTreeMap::len).unwrap_or_default();
        self.word(votes);
        self.maker(tree);
    }

    /// Of which family the worker of a tree was.
    fn maker(&mut self, tree: &ObjectId) {
        self.name(self.facts.makers.get(tree).map_or("", |maker| maker.as_str()));
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
        self.flag(self.facts.done.stopped.contains(run));
    }

    fn approval(&mut self, approval: Option<&Approval>) {
        let Some(approval) = approval else { return self.word(0_u32) };
        let Approval { tree, verified_tree, gate, verdicts, verifiers: _, headline: _, overlap, train } = approval;
        self.word(1_u32);
        self.object(tree);
        self.object(verified_tree);
        self.flag(gate.is_some());
        self.word(verdicts.len());
        self.word(*overlap as u32);
        match train {
            Train::Free => self.word(0_u32),
            Train::Alone => self.word(1_u32),
            Train::Behind(own) => {
                let Own { base_commit, candidate, gate } = own.as_ref();
                self.word(2_u32);
                self.object(base_commit);
                self.candidate(candidate);
                self.flag(gate.is_some());
            }
        }
        // An approval outlives its candidate's own votes when the base moves.
        self.word(self.facts.votes.get(verified_tree).map(BTreeMap::len).unwrap_or_default());
        self.maker(verified_tree);
    }
}

fn of_stage(out: &mut Writer, place: usize, stage: &Stage) {
    // Names and papers: the card's own, the same for a stage all its life. The dependencies of a model never change.
    // Whose places others have taken follows from the rung. Sums of the past bind nothing but the stage's own caps.
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
        tokens,
        cost_usd: _,
        history,
        chores,
        wait,
        life,
    } = stage;
    out.word(place);
    out.flag(card_sha256.is_some());
    out.flag(*attempt > 0);
    out.word(*failures);
    out.word(*rung);
    out.word(*failures_below);
    out.flag(fallback.is_some());
    // No card here waits for a time of its own or is repeated, and the bases are looked at anew at every fire.
    let Wait { held, passed_over, foundation: _, not_before: _, repeat: _ } = wait;
    out.flag(held.is_some());
    out.word(*passed_over);
    for who in std::iter::once(worker).chain(verifiers) {
        out.name(who.name());
    }
    if out.model.policy.stage_tokens.is_some() || out.model.cards[place].budget.stage.tokens.is_some() {
        out.word(tokens.0);
    }
    if out.model.effects == Effects::MayBeLost {
        for chore in chores {
            write_chore(out, chore);
            out.flag(out.facts.done.chores.iter().any(|(of, done)| of == id && done == chore));
        }
        out.flag(out.facts.done.landed.contains_key(id));
    }
    out.word(stage.flakes());
    out.flag(stage.candidate_run().is_some());
    for role in [Role::Worker, Role::Gate] {
        past(out, stage, history, role, None);
    }
    if !matches!(life, Life::Verifying(_)) {
        // The verifiers may be asked again about what they have judged.
        let mut written: Vec<Vec<u32>> = Vec::new();
        for seat in Seat::open(verifiers) {
            let before = out.words.len();
            past(out, stage, history, Role::Verifier, seat.number);
            written.push(out.words.split_off(before));
        }
        out.seats(written);
    }
    write_life(out, stage, life);
    let tip = out.facts.tip.clone();
    out.object(&tip);
}

/// What a world that may lose chores goes by of one.
fn write_chore(out: &mut Writer, chore: &Chore) {
    match chore {
        Chore::PointRunBranch { commit } => {
            out.word(1_u32);
            out.object(commit);
        }
        Chore::DropRunBranch => out.word(2_u32),
        Chore::KeepWork { branch: _, commit } => {
            out.word(3_u32);
            out.object(commit);
        }
        Chore::Publish { run } => {
            out.word(4_u32);
            out.role(run);
        }
        Chore::PublishPanel { runs, said } => {
            out.word(5_u32);
            out.word(runs.len());
            out.word(*said as u32);
        }
        Chore::Ask { run } => {
            out.word(6_u32);
            out.role(run);
        }
        Chore::Clear { run } => {
            out.word(7_u32);
            out.role(run);
        }
    }
}

/// Where a stage is, with all that this phase goes by.
fn write_life(out: &mut Writer, stage: &Stage, life: &Life) {
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
            let mut written: Vec<Vec<u32>> = Vec::new();
            for Seat { number, verifier: _, flight, not_before, vote } in seats {
                let before = out.words.len();
                if !out.model.alike {
                    out.word(number.unwrap_or(0));
                }
                out.flight(flight.as_ref());
                out.time(*not_before);
                out.word(vote.as_ref().map_or(0, |ballot| ballot.said as u32 + 1));
                past(out, stage, &stage.history, Role::Verifier, *number);
                let own = out.words.split_off(before);
                written.push(own);
            }
            out.seats(written);
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

/// What the past counts for, for one role and seat: tries of the present attempt, refusals in a row.
fn past(out: &mut Writer, stage: &Stage, history: &[PastRun], role: Role, seat: Option<u32>) {
    let same = |past: &&PastRun| past.run.role == role && past.run.seat == seat;
    let (mut broken, mut silent) = (0_u32, 0_u32);
    for past in history.iter().filter(same).filter(|past| past.run.attempt == stage.attempt) {
        broken += u32::from(past.outcome.is_infrastructure());
        silent += u32::from(past.outcome == RunOutcome::NoVerdict);
    }
    let refused = history.iter().rev().filter(same).take_while(|past| past.outcome == RunOutcome::Refused).count();
    out.word(broken);
    out.word(silent);
    out.word(refused.min(out.model.policy.deferrals as usize + 2));
}

fn of_the_whole(out: &mut Writer, node: &Node) {
    let State { repo_id: _, tick_count: _, last_tick_at: _, slept: _, stages: _, notices } = &node.state;
    out.word(notices.len());
    out.word(notices.iter().filter(|notice| node.facts.done.told.contains(&notice.key)).count());
    for name in families() {
        out.flag(node.facts.offline.contains(&name));
        let windows = node.facts.quota.get(&name).map(|reading| &reading.windows);
        out.time_to(windows.and_then(|windows| windows.first()).and_then(|window| window.resets_at));
    }
    out.word(match node.facts.fleet {
        Fleet::Room => 0_u32,
        Fleet::Full => 1,
        Fleet::Unknown => 2,
        Fleet::Taken => 3,
    });
    let curfew = out.model.policy.local.curfew_end(node.facts.now);
    out.flag(curfew.is_some());
    out.time_to(out.model.day_moments(node.facts.now).first().copied());
    out.word(node.facts.done.losses);
    out.word(node.facts.done.lost.len());
    if out.model.budget.token_cap_total.is_some() {
        out.word(node.facts.allowed);
    }
    budget(out, &node.budget);
}

fn budget(out: &mut Writer, budget: &Budget) {
    let first = &out.model.budget;
    let Budget {
        version: _,
        token_cap_total,
        tokens_spent,
        tokens_reserved,
        lifetime_tokens_spent: _,
        cost_cap_usd,
        cost_spent_usd,
        cost_reserved_usd,
        lifetime_cost_usd: _,
        wall_clock_cap_seconds,
        wall_clock_elapsed_seconds,
        wall_clock_reserved_seconds,
        clock_tick_cap,
        clock_ticks_used,
        idle_ticks_used: _,
        consecutive_failure_cap,
        consecutive_failures,
        halted,
        halt_reason: _,
        halt_reasons,
        halted_at: _,
        pauses,
        deferrals,
        breakers,
        turned_away,
        window,
        window_started_at,
        breaches: _,
        spend,
        drain,
        no_progress,
        since_landing,
        pace,
        attempts: _,
    } = budget;
    // What no cap is about binds nothing.
    if first.token_cap_total.is_some() {
        out.word(token_cap_total.map_or(u64::from(u32::MAX - 1), |cap| cap.0));
        out.word(tokens_spent.0);
        out.word(tokens_reserved.0);
    }
    if cost_cap_usd.is_some() {
        out.word(cost_spent_usd.0);
        out.word(cost_reserved_usd.0);
    }
    if wall_clock_cap_seconds.is_some() {
        out.word(wall_clock_elapsed_seconds.0);
        out.word(wall_clock_reserved_seconds.0);
    }
    if clock_tick_cap.is_some() {
        out.word(*clock_ticks_used);
    }
    if let Some(cap) = consecutive_failure_cap {
        out.word((*consecutive_failures).min(*cap));
    }
    out.flag(*halted);
    let mut reasons: Vec<u32> = halt_reasons.iter().map(|halt| halt.reason as u32).collect();
    reasons.sort_unstable();
    out.words.extend(reasons);
    out.word(u32::MAX - 3);
    if first.window != Window::None {
        write_window(out, *window, *window_started_at, spend);
    }
    if let Some(ask) = turned_away {
        out.reservation(ask);
    }
    if let Some(Drain { since: _, until, tokens, cost_usd }) = drain {
        out.time(Some(*until));
        out.word(tokens.0);
        out.word(cost_usd.0);
    }
    let SinceLanding { tokens, cost_usd, ticks } = since_landing;
    if let Some(most) = no_progress.tokens {
        out.word(tokens.0.min(most.0));
    }
    if let Some(most) = no_progress.cost_usd {
        out.word(cost_usd.0.min(most.0));
    }
    if let Some(most) = no_progress.ticks {
        out.word((*ticks).min(most));
    }
    if !first.pace.is_empty() {
        for Pace { role, family: _, samples, tokens, output_tokens: _, cost_usd, seconds, recent_tokens: _ } in pace {
            out.word(*role as u32);
            out.word((*samples).min(autometta::core::pace::FEWEST));
            out.word(tokens.0);
            out.word(cost_usd.0);
            out.word(seconds.0);
        }
    }
    waits(out, pauses, breakers, deferrals);
}

/// Whoever waits for their provider.
fn waits(out: &mut Writer, pauses: &[Pause], breakers: &[Breaker], deferrals: &[Deferral]) {
    out.word(u32::MAX - 4);
    for Breaker { family, failures, open_until, opened, probe, reason: _ } in breakers {
        out.name(family.as_str());
        for failure in failures {
            out.time(Some(*failure + out.model.policy.breaker.window));
        }
        out.time(*open_until);
        out.word((*opened).min(LONGEST_OPENING));
        out.flag(probe.is_some());
        if let Some(probe) = probe {
            out.name(probe.stage.as_str());
            out.role(probe);
        }
    }
    out.word(u32::MAX - 5);
    for Pause { family, model, until, reason: _ } in pauses {
        out.name(model.as_deref().unwrap_or(""));
        out.name(family.as_str());
        out.time_to(Some(*until));
    }
    out.word(u32::MAX - 6);
    for Deferral { family, cause, since, until, reason: _ } in deferrals {
        out.name(family.as_str());
        out.word(*cause as u32);
        out.time(Some(*until));
        // How long a family has been away is how long it is left alone.
        let now = out.facts.now;
        out.word(autometta::core::weather::patience(*since, *until.max(&now)).num_minutes());
        // What ran out long ago is forgotten.
        out.word((now - *until).num_hours().clamp(0, 2));
    }
}

/// What a window holds: what of it is to leave it, and when.
fn write_window(out: &mut Writer, window: Window, began: Option<DateTime<Utc>>, spend: &[Bucket]) {
    let now = out.facts.now;
    let start = window.start(Some(midnight(now)), now);
    out.flag(began.is_some());
    out.flag(began.zip(start).is_some_and(|(began, start)| began >= start));
    // What leaves a window together is one sum, and what no cap is about binds nothing.
    let first = &out.model.budget;
    let mut sums: BTreeMap<Option<DateTime<Utc>>, [u64; 4]> = BTreeMap::new();
    for Bucket { from, tokens, cost_usd, seconds, ticks } in spend {
        if began.is_some_and(|began| *from < began) {
            continue;
        }
        let counts = [
            first.token_cap_total.map_or(0, |_| tokens.0),
            first.cost_cap_usd.map_or(0, |_| cost_usd.0),
            first.wall_clock_cap_seconds.map_or(0, |_| seconds.0),
            first.clock_tick_cap.map_or(0, |_| *ticks),
        ];
        if counts == [0; 4] {
            continue;
        }
        let leaves = match window.hours() {
            Some(hours) => Some(*from + chrono::TimeDelta::hours(i64::from(hours)) + chrono::TimeDelta::minutes(15)),
            None => start.filter(|start| from >= start),
        };
        sums.entry(leaves).or_default().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    for (leaves, sum) in sums {
        match window.hours() {
            Some(_) => out.time(leaves),
            None => out.flag(leaves.is_some()),
        }
        for count in sum {
            out.word(count);
        }
    }
}
