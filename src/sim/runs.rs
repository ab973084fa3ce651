//! The lives of simulated runs: how they begin under a supervisor, and how they end.

use super::cast::{Accident, Call, Cast, Ending, Forgery, GatePlay, Leaves, Play};
use super::clock::Awake;
use super::disk::Process;
use super::ground::{Cut, Due, Ground};
use super::look::{CANCEL, EXIT, HANDOFF, STARTED, VERDICT};
use super::process::{End, Gone, Live, Order, Used};
use crate::core::exit::{
    EndedBy, ExitRecord, GateResult, Outbox, ProcessEnd, ProviderReport, Refusal, RefusalScope, Usage, UsageSource,
};
use crate::core::handoff::{Handoff, HandoffStatus};
use crate::core::ids::{Role, RunId};
use crate::core::observation::Brief;
use crate::core::state::{Flight, Stage, State};
use crate::core::verdict::{CriterionVerdict, Judgement, Verdict};
use crate::files::atomic::{self, Durability};
use crate::files::disk::Disk;
use chrono::TimeDelta;

/// How long after a run's end the tick begins that it starts, in milliseconds.
const PULSE: Awake = 20;

impl<C: Cast> Ground<C> {
    /// A supervisor begins: it claims the run, and then starts the agent.
    pub(super) fn begin(&mut self, stage: &Stage, flight: &Flight, order: Order) -> Result<(), Cut> {
        let run = &flight.run;
        let play = self.play(stage, flight);
        if play.accident == Some(Accident::DoesNotStart) {
            return Err(Cut::Failed("its supervisor could not be started".to_owned()));
        }
        let supervisor = self.process();
        let fuse = (play.accident == Some(Accident::DiesUnclaimed)).then_some(0);
        let tick = self.disk.run_as(Process { fuse, ..supervisor });
        let dir = self.layout.run(run);
        let claimed = if self.disk.exists(&dir.join(CANCEL)) {
            Ok(())
        } else {
            atomic::write_on(&self.disk, &dir.join(STARTED), b"{}", Durability::Durable)
        };
        self.disk.run_as(tick);
        claimed.map_err(|error| Cut::Failed(format!("its supervisor ended without a word: {error}")))?;
        let live = Live {
            order,
            play,
            started: self.clock.awake,
            started_at: self.clock.now(),
            is_supervised: true,
            unsupervised_since: None,
            asked: None,
        };
        if self.disk.exists(&dir.join(CANCEL)) {
            // It was to be stopped before it began: nothing is started.
            let end = End { after: 0, by: EndedBy::Cancelled, exit: ProcessEnd::None };
            self.table.live.insert(run.clone(), live);
            self.finish(None, run, end);
            return Ok(());
        }
        self.enters(run, live);
        Ok(())
    }

    fn play(&mut self, stage: &Stage, flight: &Flight) -> Play {
        let brief = self.briefs.get(&stage.id).and_then(|brief| brief.as_deref().ok());
        let call = Call { number: self.begun, stage, flight, brief, now: self.clock.now() };
        self.begun += 1;
        self.cast.play(&call)
    }

    /// An agent begins.
    fn enters(&mut self, run: &RunId, live: Live) {
        self.truth.begins(run, &live);
        if let Some(end) = live.end() {
            self.agenda.enter(live.started + end.after, Due::Ends(run.clone()));
        }
        if let Some((after, both)) = live.death() {
            self.agenda.enter(live.started + after, Due::Dies(run.clone(), both));
        }
        self.table.live.insert(run.clone(), live);
    }

    /// A run that was in flight before the night began.
    pub(super) fn adopt(&mut self, stage: &Stage, flight: &Flight, elapsed: Awake) {
        let play = self.play(stage, flight);
        let tree = stage.candidate().map(|candidate| candidate.tree.clone());
        let uses_model = flight.run.role != Role::Gate && flight.reserved.tokens.0 + flight.reserved.cost_usd.0 > 0;
        let order = Order {
            caps: flight.reserved,
            tree,
            card_sha256: stage.card_sha256.clone(),
            family: flight.family.clone(),
            uses_model,
        };
        let live = Live {
            order,
            play,
            started: self.clock.awake - elapsed,
            started_at: self.clock.now() - TimeDelta::milliseconds(elapsed),
            is_supervised: true,
            unsupervised_since: None,
            asked: None,
        };
        self.enters(&flight.run, live);
    }

    /// A run comes to an end that its own supervisor sees, or, without one, that nobody sees.
    pub fn run_ends(&mut self, state: &State, run: &RunId) {
        let Some(live) = self.table.live.get(run) else { return };
        let after = self.clock.awake - live.started;
        let asked = live.asked.map(|why| End { after, by: why.ended_by(), exit: ProcessEnd::Signal(15) });
        let Some(end) = asked.or_else(|| live.end()).filter(|end| end.after <= after) else { return };
        if live.is_supervised {
            self.finish(state.stage(&run.stage), run, End { after, ..end });
        } else {
            let leaves = live.play.leaves;
            if let (true, Some(stage)) = (live.has_worked(after), state.stage(&run.stage)) {
                self.leave(stage, run, leaves);
            }
            self.agent_dies(run);
        }
    }

    /// A run's supervisor dies, and its agent with it or not.
    pub fn supervisor_dies(&mut self, run: &RunId, both: bool) {
        let now = self.clock.awake;
        if both {
            self.agent_dies(run);
        } else if let Some(live) = self.table.live.get_mut(run) {
            live.is_supervised = false;
            live.unsupervised_since = Some(now);
            let rest = live.end().map(|end| live.started + end.after);
            if let Some(at) = rest {
                self.agenda.enter(at.max(now), Due::Ends(run.clone()));
            }
        }
    }

    /// Everything of a run is killed; it leaves no record.
    pub fn agent_dies(&mut self, run: &RunId) {
        let Some(live) = self.table.live.remove(run) else { return };
        let used = live.used(self.clock.awake - live.started);
        self.truth.ended(run, used, &live, self.clock.now());
        let logged = match (live.order.uses_model, live.play.tells_usage) {
            (false, _) => Usage::none(),
            (true, true) => used.told(UsageSource::Stream),
            (true, false) => Usage::default(),
        };
        let gone = Gone { started_at: live.started_at, started: live.started, boot: self.clock.boot, logged };
        self.table.gone.insert(run.clone(), gone);
    }

    /// The supervisor collects what its run has left, writes its record, lets go of the lock and starts a tick.
    fn finish(&mut self, stage: Option<&Stage>, run: &RunId, end: End) {
        let Some(live) = self.table.live.get(run).cloned() else { return };
        let began = end.exit != ProcessEnd::None;
        let used = if began { live.used(end.after) } else { Used::default() };
        let by_itself = end.by == EndedBy::Exit;
        let mut outbox = None;
        let fuse = match live.play.accident {
            Some(Accident::DiesAtItsRecord(before)) => Some(before),
            _ => None,
        };
        let supervisor = self.process();
        let others = self.disk.run_as(Process { fuse, ..supervisor });
        let mut written = Ok(());
        if let Some(stage) = stage
            && began
            && (by_itself || live.has_worked(end.after))
            && !matches!(live.play.ending, Ending::Refused(..))
        {
            self.leave(stage, run, live.play.leaves);
            let brief = self.briefs.get(&stage.id).and_then(|brief| brief.as_deref().ok());
            if let Some((kind, bytes)) = document(stage, run, brief, live.play.leaves).filter(|_| by_itself) {
                let name = if kind == Outbox::Handoff { HANDOFF } else { VERDICT };
                outbox = Some(kind);
                let path = self.layout.run(run).join(name);
                written = atomic::write_on(&self.disk, &path, &bytes, Durability::Durable);
            }
            if let (ProcessEnd::Code(0), true, Some(worktree)) = (end.exit, by_itself, self.git.worktrees.get(run)) {
                let parent = self.git.find(&worktree.base).and_then(|commit| commit.parent.as_ref());
                let base = parent.map(|parent| self.git.files(parent)).unwrap_or_default();
                let tree = live.order.tree.as_ref().map(|tree| self.git.tree_files(tree)).unwrap_or_default();
                self.truth.judged(run, &live, &base, &tree);
            }
            if matches!(live.play.leaves, Leaves::Forged(_)) {
                self.truth.forges(run);
            }
        }
        let record = self.record(run, &live, end, used, outbox);
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        let recorded = written.and_then(|()| {
            let dir = self.layout.run(run);
            atomic::make_dirs_on(&self.disk, &dir, Durability::Durable)?;
            atomic::write_on(&self.disk, &dir.join(EXIT), &bytes, Durability::Durable)
        });
        let is_dead = recorded.is_err() && self.disk.process().is_dead;
        self.disk.run_as(others);
        if self.disk.exists(&self.layout.run(run).join(EXIT)) {
            self.table.live.remove(run);
            self.truth.ended(run, used, &live, self.clock.now());
        } else {
            // Without a record it is lost.
            self.agent_dies(run);
        }
        if !self.loses_pulses && !is_dead {
            self.agenda.enter(self.clock.awake + PULSE, Due::Pulse);
        }
    }

    fn record(&self, run: &RunId, live: &Live, end: End, used: Used, outbox: Option<Outbox>) -> ExitRecord {
        let usage = match (live.order.uses_model, live.play.tells_usage || end.exit == ProcessEnd::None) {
            (false, _) => Usage::none(),
            (true, true) if end.exit == ProcessEnd::None => Usage::none(),
            (true, true) => used.told(UsageSource::Result),
            (true, false) => Usage::default(),
        };
        let provider = match live.play.ending {
            Ending::Refused(class, after) if end.by == EndedBy::Exit => ProviderReport {
                refusal: Some(Refusal { class, scope: RefusalScope::Family, line: "no".to_owned() }),
                resets_at: after
                    .map(|after| self.clock.now() + TimeDelta::seconds(i64::try_from(after.0).unwrap_or_default())),
            },
            _ => ProviderReport::default(),
        };
        let gates = match live.play.leaves {
            Leaves::Gates(play) if end.by == EndedBy::Exit => vec![gate(play)],
            _ => Vec::new(),
        };
        ExitRecord {
            run_id: run.clone(),
            started_at: live.started_at,
            ended_at: self.clock.now(),
            #[expect(clippy::cast_precision_loss, reason = "a night has far fewer milliseconds than that")]
            elapsed_seconds: end.after as f64 / 1000.0,
            exit: end.exit,
            ended_by: end.by,
            usage,
            provider,
            peak_rss_bytes: 0,
            cpu_seconds: 0.0,
            outbox,
            outbox_fault: None,
            gates,
            secrets_in_work: Vec::new(),
        }
    }
}

fn gate(play: GatePlay) -> GateResult {
    let (exit, retries) = match play {
        GatePlay::Passes => (ProcessEnd::Code(0), 0),
        GatePlay::Fails(retries) => (ProcessEnd::Code(1), retries),
        GatePlay::Killed => (ProcessEnd::Signal(9), 0),
    };
    GateResult {
        name: "acceptance".to_owned(),
        command: "true".to_owned(),
        exit,
        timed_out: false,
        elapsed_seconds: 1.0,
        output_tail: String::new(),
        retries,
        error_line: None,
    }
}

/// What a run hands in.
fn document(stage: &Stage, run: &RunId, brief: Option<&Brief>, leaves: Leaves) -> Option<(Outbox, Vec<u8>)> {
    let handoff = |status: HandoffStatus| Handoff {
        stage_id: stage.id.clone(),
        status,
        deliverables: Vec::new(),
        notes: format!("by {run}"),
        failed_acceptance: Vec::new(),
        question: (status == HandoffStatus::Blocked).then(|| "which?".to_owned()),
    };
    let criteria = brief.map_or(1, |brief| brief.card.criteria.len());
    let verdict = |judged: Judgement| Verdict {
        stage_id: stage.id.clone(),
        overall: judged,
        headline: format!("Do {}", stage.id),
        criteria: (1..)
            .take(criteria)
            .map(|id| CriterionVerdict {
                id,
                name: "it works".to_owned(),
                verdict: judged,
                evidence: "looked at".to_owned(),
            })
            .collect(),
        additional_findings: "nothing".to_owned(),
        scores: None,
    };
    let (kind, honest) = match (run.role, leaves) {
        (Role::Worker, Leaves::Handoff(status, _)) => (Outbox::Handoff, serde_json::to_value(handoff(status))),
        (Role::Verifier, Leaves::Verdict(judged)) => (Outbox::Verdict, serde_json::to_value(verdict(judged))),
        (Role::Worker, Leaves::Forged(_)) => (Outbox::Handoff, serde_json::to_value(handoff(HandoffStatus::Pass))),
        (Role::Verifier, Leaves::Forged(_)) => (Outbox::Verdict, serde_json::to_value(verdict(Judgement::Pass))),
        _ => return None,
    };
    let mut value = honest.ok()?;
    let Leaves::Forged(forgery) = leaves else { return Some((kind, serde_json::to_vec(&value).ok()?)) };
    match forgery {
        Forgery::OtherStage => value["stage_id"] = "99-other".into(),
        Forgery::MoreKeys => value["approved_by"] = "the operator".into(),
        Forgery::Torn => {}
    }
    let mut bytes = serde_json::to_vec(&value).ok()?;
    if forgery == Forgery::Torn {
        bytes.truncate(bytes.len() / 2);
    }
    Some((kind, bytes))
}
