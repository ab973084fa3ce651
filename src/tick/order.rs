//! From a run in the state to what its supervisor is told: `run.json`, the prompt and the files beside it.
//!
//! Everything here follows from the state, the pinned card and the manifest, so that `--plan` shows exactly what a
//! tick then does.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::core::exit::Outbox;
use crate::core::family::{AuthMode, DecoderKind};
use crate::core::ids::{CommitId, Role, RunId};
use crate::core::observation::Brief;
use crate::core::quantity::Seconds;
use crate::core::run::{
    Caps, EnvEntry, EnvSource, LAST_MESSAGE, LoginRule, ModelUse, OutboxOrder, Program, RUN_ORDER_VERSION, RunOrder,
};
use crate::core::secrecy::{GIVEN_SCHEME, names_secret};
use crate::core::state::{Candidate, Flight, Life, Stage, Work};
use crate::core::verdict::{Scoring, Verdict};
use crate::families::{self, AgentRole, Ask, FamilySpec, LaunchUser, PromptInput, SchemaRef};
use crate::files::ledger::sha256_hex;

use super::brief;
use super::error::TickError;
use super::script;
use super::site::{FollowUp, Site, run_branch};

/// How long an agent has between TERM and KILL.
const GRACE: Seconds = Seconds(5);

/// What a run is about, taken out of its stage's life.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// The run.
    pub flight: &'a Flight,
    /// What it is built on.
    pub work: &'a Work,
    /// What its checkout holds at first.
    pub start: CommitId,
    /// What is judged; none for a worker.
    pub candidate: Option<&'a Candidate>,
}

impl<'a> Job<'a> {
    /// The job of a run in flight.
    pub fn of(stage: &'a Stage, run: &RunId) -> Option<Self> {
        let flight = stage.life.flights().into_iter().find(|flight| flight.run == *run)?;
        let (work, start, candidate) = match &stage.life {
            Life::Working(working) => {
                let start = working.resume.as_ref().map_or(&working.work.base_commit, |resume| &resume.start);
                (&working.work, start.clone(), None)
            }
            Life::Gating(gating) => (&gating.work, gating.candidate.commit.clone(), Some(&gating.candidate)),
            Life::Verifying(verifying) => {
                (&verifying.work, verifying.candidate.commit.clone(), Some(&verifying.candidate))
            }
            Life::Pending(_) | Life::Landing(_) | Life::Over(_) => return None,
        };
        Some(Self { stage, flight, work, start, candidate })
    }

    /// The branch that its checkout is on; gates and verifiers have none.
    pub fn branch(&self) -> Option<String> {
        (self.flight.run.role == Role::Worker).then(|| run_branch(&self.stage.id))
    }
}

/// A launch as it will be.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What its supervisor is told.
    pub order: RunOrder,
    /// Files that the run's own directory gets first: name and content.
    pub files: Vec<(String, String)>,
}

/// Makes the order of a run.
pub fn make(
    site: &Site,
    job: &Job<'_>,
    brief: &Brief,
    prompt: String,
    now: DateTime<Utc>,
) -> Result<Launch, TickError> {
    let order = for_gates(site, job, brief, now);
    let role = match job.flight.run.role {
        Role::Gate => return Ok(Launch { order, files: Vec::new() }),
        Role::Worker => AgentRole::Worker,
        Role::Verifier => AgentRole::Verifier,
    };
    for_agent(site, job, brief, prompt, order, role)
}

/// The order of a gate, which is also what every order has in common.
fn for_gates(site: &Site, job: &Job<'_>, brief: &Brief, now: DateTime<Utc>) -> RunOrder {
    let run = &job.flight.run;
    let defaults = &site.manifest.defaults;
    RunOrder {
        version: RUN_ORDER_VERSION,
        run_id: run.clone(),
        family: job.flight.family.clone(),
        identity: job.flight.identity.clone(),
        model: None,
        cli_version: None,
        cwd: site.worktree(run),
        setup: None,
        program: Program::Gates { commands: brief::gates(&site.manifest, &brief.card) },
        env: base_env(),
        caps: Caps {
            wall_clock_seconds: job.flight.reserved.seconds,
            tokens: None,
            cost_usd: None,
            output_bytes: defaults.output_limit_mb.saturating_mul(1_000_000),
            silence_seconds: None,
        },
        grace_seconds: GRACE,
        patience_seconds: site.manifest.retry.patience.seconds(),
        disk_floor_bytes: defaults.disk_floor_mb.saturating_mul(1_000_000),
        decoder: DecoderKind::Plain,
        uses_model: ModelUse::None,
        outbox: None,
        login: None,
        prompt_sha256: None,
        verdict_schema: None,
        card_sha256: brief.card_sha256.clone(),
        base_commit: job.work.base_commit.clone(),
        candidate_tree: job.candidate.map(|candidate| candidate.tree.clone()),
        reserved: job.flight.reserved,
        rates: None,
        pulse: pulse(site),
        repo: site.root.clone(),
        watched: None,
        created_at: now,
    }
}

/// What an agent's order has besides: its command, its environment, its caps, its outbox.
fn for_agent(
    site: &Site,
    job: &Job<'_>,
    brief: &Brief,
    prompt: String,
    mut order: RunOrder,
    role: AgentRole,
) -> Result<Launch, TickError> {
    let run = &job.flight.run;
    let dir = site.layout.run(run);
    let outbox = order.cwd.join(".autometta/outbox");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    order.prompt_sha256 = Some(sha256_hex(prompt.as_bytes()));
    let mut files = vec![("prompt.md".to_owned(), prompt)];
    let (identity, family) = agent(site, job.flight)?;
    let calls = family.model_use == families::ModelUse::Calls;
    // What was decided at the dispatch holds, whatever the tables say by now.
    let model = match &job.flight.model {
        Some(model) => model.clone(),
        None => family.resolve(identity).map_err(|error| TickError::Prompt(error.to_string()))?,
    };
    let script = script::of(site, family, job.stage, run, brief).map(|script| {
        files.push(("script.sh".to_owned(), script));
        text(&dir.join("script.sh"))
    });
    let (kind, name, effort, schema) = match role {
        AgentRole::Worker => (Outbox::Handoff, "handoff.json", brief.card.worker_effort, None),
        AgentRole::Verifier => {
            (Outbox::Verdict, "verdict.json", brief.card.verifier_effort, Some(verdict_schema(site, job.flight)))
        }
    };
    let schema_text = schema.as_ref().map(ToString::to_string);
    let schema_file = text(&dir.join("schema.json"));
    files.extend(schema_text.iter().map(|schema| ("schema.json".to_owned(), schema.clone())));
    let limits = job.flight.reserved;
    let invocation = family
        .invocation(&Ask {
            role,
            model: &model,
            run,
            worktree: &text(&order.cwd),
            prompt_file: &text(&dir.join("prompt.md")),
            outbox: &text(&outbox),
            session_id: &session_id(&site.repo_id, run),
            schema: schema_text.as_deref().map(|text| SchemaRef { text, file: &schema_file }),
            last_message: Some(&text(&order.cwd.join(LAST_MESSAGE))),
            effort: effort.map(crate::core::card::Effort::as_str),
            budget: calls.then_some(limits.cost_usd),
            max_tokens: calls.then_some(limits.tokens),
            script: script.as_deref(),
            user: if nix::unistd::geteuid().is_root() { LaunchUser::Root } else { LaunchUser::Ordinary },
        })
        .map_err(|error| TickError::Prompt(error.to_string()))?;
    order.setup = brief::setup(&site.manifest);
    order.program = Program::Agent {
        argv: invocation.argv,
        stdin: (invocation.stdin == PromptInput::PromptFile).then(|| dir.join("prompt.md")),
    };
    order.env = invocation.env.into_iter().map(env_entry).collect();
    order.rates = calls.then(|| site.families.rates().of(&model, order.created_at.date_naive()));
    order.login = login_rule(family);
    order.model = calls.then_some(model);
    order.decoder = family.decoder;
    if calls {
        order.uses_model = ModelUse::Model;
        order.caps.tokens = Some(limits.tokens);
        order.caps.cost_usd = Some(limits.cost_usd);
    }
    order.caps.silence_seconds = brief.card.silence_limit;
    order.outbox = Some(OutboxOrder { kind, path: outbox.join(name) });
    order.verdict_schema = schema;
    Ok(Launch { order, files })
}

/// Whether a verifier is asked for scores: where the manifest says so, and a model answers.
pub fn scoring(site: &Site, flight: &Flight) -> Scoring {
    let family = flight.family.as_ref().and_then(|name| site.families.get(name));
    let calls = family.is_some_and(|family| family.model_use == families::ModelUse::Calls);
    if calls && site.manifest.review.scores { Scoring::Asked } else { Scoring::NotAsked }
}

fn verdict_schema(site: &Site, flight: &Flight) -> serde_json::Value {
    match scoring(site, flight) {
        Scoring::Asked => Verdict::scored_schema(),
        Scoring::NotAsked => Verdict::schema(),
    }
}

/// The agent of a flight, with its family as it is now.
fn agent<'a>(
    site: &'a Site,
    flight: &'a Flight,
) -> Result<(&'a crate::core::ids::Identity, &'a FamilySpec), TickError> {
    let identity = flight.identity.as_ref();
    let family = flight.family.as_ref().and_then(|name| site.families.get(name));
    identity.zip(family).ok_or_else(|| {
        let family = flight.family.as_ref().map_or("?", |name| name.as_str());
        TickError::Prompt(format!("{}: the family {family} is no longer in the manifest", flight.run))
    })
}

/// What a gate's commands get: what agents get, and no key of anybody's.
fn base_env() -> Vec<EnvEntry> {
    let names = families::invocation::BASE_ENV.iter();
    names.map(|name| EnvEntry { name: (*name).to_owned(), source: EnvSource::Parent }).collect()
}

fn env_entry(entry: families::EnvEntry) -> EnvEntry {
    let source = match entry.source {
        // A key that stands in the manifest itself is not written down a second time.
        families::EnvSource::Literal(_) if names_secret(&entry.name) => {
            EnvSource::Secret(format!("{GIVEN_SCHEME}{}", entry.name))
        }
        families::EnvSource::Literal(text) => EnvSource::Literal(text),
        families::EnvSource::Secret(reference) => EnvSource::Secret(reference.to_string()),
        families::EnvSource::Parent => EnvSource::Parent,
    };
    EnvEntry { name: entry.name, source }
}

/// The values that an order asks for by `given:NAME`: literals of the manifest, as it is now.
pub fn given(site: &Site, order: &RunOrder) -> BTreeMap<String, String> {
    let family = order.family.as_ref().and_then(|name| site.families.get(name));
    let entries = family.map(|family| family.environment(LaunchUser::Ordinary)).unwrap_or_default();
    let secret = |entry: families::EnvEntry| match entry.source {
        families::EnvSource::Literal(text) if names_secret(&entry.name) => Some((entry.name, text)),
        _ => None,
    };
    entries.into_iter().filter_map(secret).collect()
}

/// What must hold of a family's own login before its agents start.
pub fn login_rule(family: &FamilySpec) -> Option<LoginRule> {
    let login = family.api_login.filter(|_| family.auth == AuthMode::Api)?;
    Some(LoginRule {
        home_variable: login.home_variable.to_owned(),
        file: login.file.to_owned(),
        key: login.key.to_owned(),
        must_be: login.must_be.to_owned(),
        way_out: login.way_out.to_owned(),
    })
}

/// The tick that follows on a run's end, where one does.
fn pulse(site: &Site) -> Vec<String> {
    if site.follow_up == FollowUp::Nothing {
        return Vec::new();
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    vec![text(&site.exe), "tick".to_owned(), "--repo".to_owned(), text(&site.root)]
}

/// A session id in the form of a UUID that names the run, so that a plan shows the one that is used.
fn session_id(repo_id: &str, run: &RunId) -> String {
    let hex = sha256_hex(format!("{repo_id}\0{run}").as_bytes());
    // Version 8 of RFC 9562 is the one whose bits an application may choose.
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
