//! The world of a simulated night: runs that come out as drawn, a base branch that is a number, no disk and no faults.
//!
//! It stands behind the same `turn` as the real one; what the machine decides is decided by the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::budget::{FleetDay, Window};
use crate::core::dependencies::{self, Web};
use crate::core::exit::{
    EndedBy, ExitRecord, GateResult, Outbox, ProcessEnd, ProviderReport, Refusal, Usage, UsageSource,
};
use crate::core::handoff::{Handoff, HandoffStatus};
use crate::core::honesty::{Findings, FrozenFile};
use crate::core::ids::{CommitId, Identity, ObjectId, Role, RunId, StageId, TreeId};
use crate::core::observation::{
    Brief, Captured, Ended, LandingSighting, Observation, Product, Pulse, Returned, Sighting, Watched, WorkSighting,
};
use crate::core::outlook::agents::{Agents, Doer, Drawn, End};
use crate::core::outlook::chance::Chance;
use crate::core::policy::Policy;
use crate::core::quantity::Seconds;
use crate::core::state::{Candidate, Flight, Landing, Life, Stage, State};
use crate::core::step::{Effect, Hold, hold_in};
use crate::core::train;
use crate::core::verdict::{CriterionVerdict, Judgement, Verdict};
use crate::files::store::Loaded;

use crate::tick::day;
use crate::tick::engine::{Change, Performed, Round, World};

/// What every night begins with.
#[derive(Debug)]
pub(super) struct Scene {
    /// When.
    pub now: DateTime<Utc>,
    /// When a night is over at the latest.
    pub until: DateTime<Utc>,
    /// What is known.
    pub loaded: Loaded,
    /// What a tick would see now.
    pub first: Observation,
    /// What stages ask for.
    pub briefs: BTreeMap<StageId, Result<Box<Brief>, String>>,
    /// Their contract tests.
    pub contracts: BTreeMap<StageId, Result<Vec<FrozenFile>, String>>,
    /// How often a gate of theirs may be run again after it failed.
    pub retries: BTreeMap<StageId, u32>,
    /// The base branches.
    pub tips: BTreeMap<String, Option<CommitId>>,
    /// Who commits.
    pub committer: Option<Identity>,
    /// The rules.
    pub policy: Policy,
    /// How runs come out.
    pub agents: Agents,
    /// The fleet's present day and those after it.
    pub fleet: Vec<FleetDay>,
    /// Between two fires of the timer.
    pub timer: Option<Seconds>,
    /// The seed.
    pub seed: u64,
}

/// One night.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    scene: &'a Scene,
    night: u64,
    /// The time.
    pub now: DateTime<Utc>,
    is_first: bool,
    tips: BTreeMap<String, Option<CommitId>>,
    doing: BTreeMap<RunId, Doing>,
    landed: BTreeMap<StageId, CommitId>,
    /// The candidates that landed commits have the trees of.
    candidates: BTreeMap<CommitId, CommitId>,
    /// The trees of changes on top of other candidates.
    moved: BTreeMap<(CommitId, RunId), TreeId>,
    objects: u64,
    /// How many runs were dispatched.
    pub dispatched: u64,
    /// Whose runs were drawn.
    pub ran: BTreeSet<Doer>,
}

/// A run under way.
#[derive(Debug)]
struct Doing {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    ended: Ended,
}

impl<'a> Ahead<'a> {
    /// A night of that number.
    pub(super) fn new(scene: &'a Scene, night: u64) -> Self {
        let mut ahead = Self {
            scene,
            night,
            now: scene.now,
            is_first: true,
            tips: scene.tips.clone(),
            doing: BTreeMap::new(),
            landed: BTreeMap::new(),
            candidates: BTreeMap::new(),
            moved: BTreeMap::new(),
            objects: 0,
            dispatched: 0,
            ran: BTreeSet::new(),
        };
        for (stage, flight) in scene.loaded.state.flights() {
            let ran = match scene.first.runs.get(&flight.run) {
                Some(Sighting::Running(pulse)) => pulse.elapsed,
                // What has ended is seen as it is; what never started is launched again.
                Some(Sighting::Ended(_) | Sighting::Lost(_) | Sighting::NotStarted) => continue,
                None => None,
            };
            let since = scene.now.signed_duration_since(flight.dispatched_at).num_seconds();
            let ran = ran.unwrap_or_else(|| Seconds(u64::try_from(since).unwrap_or(0)));
            ahead.begin(stage, flight, Some(ran));
        }
        ahead
    }

    /// When the next of the runs under way ends.
    pub(super) fn next_end(&self) -> Option<DateTime<Utc>> {
        self.doing.values().map(|doing| doing.until).filter(|until| *until > self.now).min()
    }

    /// A name that nothing has yet.
    fn object(&mut self) -> ObjectId {
        self.objects += 1;
        let mut bytes = [0; 20];
        bytes[12..].copy_from_slice(&self.objects.to_be_bytes());
        ObjectId::of_bytes(bytes)
    }

    fn begin(&mut self, stage: &Stage, flight: &Flight, ran: Option<Seconds>) {
        let doer = Doer { role: flight.run.role, family: flight.family.clone(), model: flight.model.clone() };
        let mut chance = Chance::new(self.scene.seed, self.night, &flight.run.to_string());
        let drawn = self.scene.agents.draw(&doer, &flight.reserved, ran, &mut chance);
        self.ran.insert(doer);
        let since = earlier(self.now, ran.unwrap_or_default());
        let until = later(since, drawn.took.seconds);
        let ended = self.ended(stage, flight, drawn, since, until);
        self.doing.insert(flight.run.clone(), Doing { since, until, ended });
    }

    /// What a drawn run leaves.
    fn ended(
        &mut self,
        stage: &Stage,
        flight: &Flight,
        drawn: Drawn,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Ended {
        let mut record = record(flight, drawn, since, until);
        let product = match flight.run.role {
            Role::Gate => {
                let retries = self.scene.retries.get(&stage.id).copied().unwrap_or_default();
                record.gates = vec![gate(drawn.end, retries)];
                Product::Gate
            }
            Role::Verifier => Product::Verifier { verdict: self.verdict(stage, drawn.end) },
            Role::Worker => {
                let work = WorkSighting::Captured(self.captured(stage, &flight.run, drawn.end));
                Product::Worker { handoff: handoff(stage, drawn.end), work }
            }
        };
        Ended { record, product }
    }

    fn brief(&self, stage: &StageId) -> Option<&Brief> {
        self.scene.briefs.get(stage)?.as_ref().ok().map(AsRef::as_ref)
    }

    fn captured(&mut self, stage: &Stage, run: &RunId, end: End) -> Captured {
        let (commit, tree) = (self.object(), self.object());
        let changed = match (self.brief(&stage.id), end) {
            (_, End::Bad) => vec!["outside/of/every/card".to_owned()],
            (Some(brief), _) => within(brief),
            (None, _) => Vec::new(),
        };
        let candidate = Candidate { commit, tree, run: run.clone() };
        Captured { candidate, changed, embedded: Vec::new(), findings: Box::new(Findings::default()) }
    }

    fn verdict(&self, stage: &Stage, end: End) -> Returned<Verdict> {
        let overall = match end {
            End::Good => Judgement::Pass,
            End::Bad => Judgement::Fail,
            End::Asked => Judgement::Blocked,
            End::GaveUp | End::Silent | End::OverCap(_) | End::Crashed | End::Refused(_) => return Returned::Nothing,
        };
        let count = self.brief(&stage.id).map_or(1, |brief| brief.card.criteria.len());
        let criteria = (1..).take(count).map(|id| CriterionVerdict {
            id,
            name: String::new(),
            verdict: overall,
            evidence: String::new(),
        });
        Returned::Usable(Verdict {
            stage_id: stage.id.clone(),
            overall,
            headline: "simulated".to_owned(),
            criteria: criteria.collect(),
            additional_findings: String::new(),
            scores: None,
        })
    }

    fn sighting(&self, flight: &Flight) -> Sighting {
        match self.doing.get(&flight.run) {
            None => Sighting::NotStarted,
            Some(doing) if doing.until <= self.now => Sighting::Ended(Box::new(doing.ended.clone())),
            Some(doing) => {
                let elapsed = self.now.signed_duration_since(doing.since).num_seconds();
                Sighting::Running(Pulse {
                    elapsed: u64::try_from(elapsed).ok().map(Seconds),
                    silent_for: None,
                    watched: Watched::BySupervisor,
                })
            }
        }
    }

    /// Where a landing stands. What waits for the operator's own files now, waits all night.
    fn landing(&mut self, stages: &[Stage], stage: &Stage, landing: &Landing, seen: &Observation) -> LandingSighting {
        if let Some(commit) = self.landed.get(&stage.id) {
            return LandingSighting::Landed(commit.clone());
        }
        if landing.waiting.is_some()
            && let Some(known) = self.scene.first.landings.get(&stage.id)
        {
            return known.clone();
        }
        let tip = self.tips.get(&stage.base_branch).cloned().flatten();
        match tip {
            Some(tip) if tip != landing.work.base_commit && landing.candidate.commit != landing.work.base_commit => {
                if let Some(ahead) = train::ahead(stages, stage) {
                    return LandingSighting::Behind(ahead.clone());
                }
                let candidate = self.on_top(&tip, landing);
                let has_gates = self.brief(&stage.id).is_some_and(|brief| brief.gate_caps.is_some());
                if has_gates
                    && let Some(last) = train::joins(stages, &seen.landings, (&tip, &candidate.tree), stage, landing)
                {
                    let (tip, behind) = (last.commit.clone(), Some(last.stage.clone()));
                    return LandingSighting::Rebased { candidate: self.on_top(&tip, landing), tip, behind };
                }
                LandingSighting::Rebased { tip, candidate, behind: None }
            }
            _ => LandingSighting::Ready,
        }
    }

    /// A change on top of another base. On a landed commit it has the tree that it has on what landed there.
    fn on_top(&mut self, base: &CommitId, landing: &Landing) -> Candidate {
        let run = landing.candidate.run.clone();
        let (commit, new) = (self.object(), self.object());
        let base = self.candidates.get(base).unwrap_or(base).clone();
        let tree = self.moved.entry((base, run.clone())).or_insert(new).clone();
        Candidate { commit, tree, run }
    }

    /// Shows a stage's card where the next step may need it.
    fn show(&self, stage: &Stage, seen: &mut Observation) {
        if let Some(brief) = self.scene.briefs.get(&stage.id) {
            seen.briefs.insert(stage.id.clone(), brief.clone());
        }
        if let Some(contract) = self.scene.contracts.get(&stage.id) {
            seen.contracts.insert(stage.id.clone(), contract.clone());
        }
        if let Some(tip) = self.tips.get(&stage.base_branch) {
            seen.tips.insert(stage.base_branch.clone(), tip.clone());
        }
    }

    /// What the fleet's day leaves at this time.
    fn fleet(&self) -> Option<FleetDay> {
        self.scene.fleet.iter().find(|day| self.now < day.ends).or(self.scene.fleet.last()).cloned()
    }

    fn look(&mut self, loaded: &Loaded) -> Observation {
        let mut seen = Observation::default();
        let state = &loaded.state;
        for (_, flight) in state.flights() {
            seen.runs.insert(flight.run.clone(), self.sighting(flight));
        }
        let mut may_end = false;
        for stage in &state.stages {
            if !stage.chores.is_empty() {
                seen.done.insert(stage.id.clone(), stage.chores.clone());
            }
            let ended = stage
                .life
                .flights()
                .iter()
                .any(|flight| matches!(seen.runs.get(&flight.run), Some(Sighting::Ended(_) | Sighting::Lost(_))));
            let moves = ended
                || match &stage.life {
                    Life::Gating(gating) => gating.flight.is_none(),
                    Life::Verifying(verifying) => {
                        verifying.seats.iter().any(|seat| seat.flight.is_none() && seat.vote.is_none())
                    }
                    Life::Landing(_) => true,
                    Life::Pending(_) | Life::Working(_) | Life::Over(_) => false,
                };
            may_end |= ended || matches!(stage.life, Life::Landing(_));
            if moves {
                self.show(stage, &mut seen);
            }
            if let Life::Landing(landing) = &stage.life {
                let sighting = self.landing(&state.stages, stage, landing, &seen);
                seen.landings.insert(stage.id.clone(), sighting);
            }
        }
        let web = Web::of(&state.stages);
        for stage in state.stages.iter().filter(|stage| matches!(stage.life, Life::Pending(_))) {
            let turn = match hold_in(&web, &state.stages, stage, &loaded.budget, &self.scene.policy, self.now) {
                None => true,
                Some(Hold::Parallel(_) | Hold::Dependency(..) | Hold::Claim(..) | Hold::Reserved(..)) => may_end,
                // A window that moves on lifts this halt in the very step.
                Some(Hold::Halted) => loaded.budget.turned_away.is_some(),
                Some(_) => false,
            };
            if turn {
                self.show(stage, &mut seen);
            }
        }
        dependencies::see_all_there(&state.stages, &mut seen);
        seen.committer.clone_from(&self.scene.committer);
        seen
    }
}

impl World for Ahead<'_> {
    type Error = Infallible;

    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn policy(&self) -> &Policy {
        &self.scene.policy
    }

    fn observe(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Result<Observation, Infallible> {
        let mut seen = if self.is_first { self.scene.first.clone() } else { self.look(loaded) };
        self.is_first = false;
        seen.told = loaded.state.notices.iter().map(|notice| notice.key.clone()).collect();
        seen.landings.extend(tried.iter().map(|(stage, sighting)| (stage.clone(), sighting.clone())));
        if loaded.budget.window == Window::LocalDay {
            seen.local_midnight = day::local_midnight(now);
        }
        seen.fleet = self.fleet();
        Ok(seen)
    }

    fn commit(&mut self, _: &Change<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn committed(&mut self, _: &Loaded, _: &Round<'_>) {}

    fn perform(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
        let mut performed = Performed::default();
        for effect in effects {
            match effect {
                Effect::Launch { run } => {
                    let known = state.stage(&run.stage);
                    let flight = known.and_then(|stage| {
                        let flight = stage.life.flights().into_iter().find(|flight| flight.run == *run)?;
                        Some((stage, flight))
                    });
                    if let Some((stage, flight)) = flight.filter(|_| !self.doing.contains_key(run)) {
                        self.dispatched += 1;
                        self.begin(stage, flight, None);
                    }
                }
                Effect::Stop { run, .. } => {
                    if let Some(doing) = self.doing.get_mut(run) {
                        doing.until = doing.until.min(now);
                        doing.ended.record.ended_by = EndedBy::Cancelled;
                    }
                }
                Effect::Land { stage } => {
                    performed.landed = true;
                    let landing = state.stage(stage).and_then(|stage| match &stage.life {
                        Life::Landing(landing) => Some((stage, landing)),
                        _ => None,
                    });
                    if let Some((stage, landing)) = landing
                        && self.landing(&state.stages, stage, landing, &Observation::default())
                            == LandingSighting::Ready
                    {
                        let commit = self.object();
                        self.candidates.insert(commit.clone(), landing.candidate.commit.clone());
                        self.tips.insert(stage.base_branch.clone(), Some(commit.clone()));
                        self.landed.insert(stage.id.clone(), commit);
                    }
                }
                Effect::Chore { .. } | Effect::Tell { .. } => {}
            }
        }
        performed
    }
}

/// A path that the card lets its stage change; none where it has none.
fn within(brief: &Brief) -> Vec<String> {
    let card = &brief.card;
    let paths = card.deliverables.iter().map(|one| &one.path).chain(&card.path_claims);
    let named =
        paths.map(|path| if path.is_folder() { format!("{}simulated", path.as_str()) } else { path.to_string() });
    named.take(1).collect()
}

fn handoff(stage: &Stage, end: End) -> Returned<Handoff> {
    let status = match end {
        End::Good | End::Bad => HandoffStatus::Pass,
        End::GaveUp => HandoffStatus::Fail,
        End::Asked => HandoffStatus::Blocked,
        End::Silent | End::OverCap(_) | End::Crashed | End::Refused(_) => return Returned::Nothing,
    };
    Returned::Usable(Handoff {
        stage_id: stage.id.clone(),
        status,
        deliverables: Vec::new(),
        notes: String::new(),
        failed_acceptance: Vec::new(),
        question: (status == HandoffStatus::Blocked).then(|| "simulated".to_owned()),
    })
}

fn gate(end: End, retries: u32) -> GateResult {
    let exit = match end {
        End::Good => ProcessEnd::Code(0),
        End::Crashed => ProcessEnd::Signal(9),
        End::Bad | End::GaveUp | End::Asked | End::Silent | End::OverCap(_) | End::Refused(_) => ProcessEnd::Code(1),
    };
    GateResult {
        name: "gates".to_owned(),
        command: String::new(),
        exit,
        timed_out: false,
        elapsed_seconds: 0.0,
        output_tail: String::new(),
        retries,
        error_line: None,
    }
}

fn record(flight: &Flight, drawn: Drawn, since: DateTime<Utc>, until: DateTime<Utc>) -> ExitRecord {
    let took = drawn.took;
    let usage = match &flight.model {
        None => Usage::none(),
        Some(_) if took.is_unknown => Usage::default(),
        Some(_) => Usage {
            input_tokens: took.tokens,
            total_tokens: took.tokens,
            cost_usd: Some(took.cost_usd),
            source: UsageSource::Result,
            ..Usage::default()
        },
    };
    let (exit, ended_by) = match drawn.end {
        End::OverCap(cap) => (ProcessEnd::Signal(15), cap),
        End::Crashed => (ProcessEnd::Signal(9), EndedBy::Exit),
        End::Refused(_) => (ProcessEnd::Code(1), EndedBy::Refused),
        End::Bad if flight.run.role == Role::Gate => (ProcessEnd::Code(1), EndedBy::Exit),
        End::Good | End::Bad | End::GaveUp | End::Asked | End::Silent => (ProcessEnd::Code(0), EndedBy::Exit),
    };
    let provider = match drawn.end {
        End::Refused(refused) => ProviderReport {
            refusal: Some(Refusal { class: refused.class, scope: refused.scope, line: "simulated".to_owned() }),
            resets_at: refused.wait.map(|wait| later(until, wait)),
        },
        _ => ProviderReport::default(),
    };
    let outbox = match (flight.run.role, drawn.end) {
        (Role::Worker, End::Good | End::Bad | End::GaveUp | End::Asked) => Some(Outbox::Handoff),
        (Role::Verifier, End::Good | End::Bad | End::Asked) => Some(Outbox::Verdict),
        _ => None,
    };
    ExitRecord {
        run_id: flight.run.clone(),
        started_at: since,
        ended_at: until,
        elapsed_seconds: seconds(took.seconds),
        exit,
        ended_by,
        usage,
        provider,
        peak_rss_bytes: 0,
        cpu_seconds: 0.0,
        outbox,
        outbox_fault: None,
        gates: Vec::new(),
        secrets_in_work: Vec::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for two hundred million years")]
fn seconds(length: Seconds) -> f64 {
    length.0 as f64
}

fn span(length: Seconds) -> TimeDelta {
    i64::try_from(length.0).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX)
}

fn later(from: DateTime<Utc>, length: Seconds) -> DateTime<Utc> {
    from.checked_add_signed(span(length)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn earlier(from: DateTime<Utc>, length: Seconds) -> DateTime<Utc> {
    from.checked_sub_signed(span(length)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
