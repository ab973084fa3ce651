//! The outlook: what many simulated nights of the present queue come to, in figures that a person can act on.
//!
//! The nights are played by `tick::outlook` with the machine's own step; here they are counted. Every figure is that of
//! the nights and nothing else: a chance of 90% means that it was so in 90 of 100 of them.

pub mod agents;
pub mod chance;
pub mod fate;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::budget::{Budget, HaltReason, Unit};
use super::ids::StageId;
use super::inbox::{self, Item};
use super::notice;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::state::{EndStatus, Life, Stage, State};
use agents::{Agents, Basis};
use fate::{Amounts, Fate, Limit};

/// How often in a hundred nights a cap has to hold the night up to be worth a look before it.
const WORTH_A_LOOK: u32 = 20;

/// What lies ahead.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outlook {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The end of the nights at the latest.
    pub until: DateTime<Utc>,
    /// How many nights were simulated.
    pub nights: u32,
    /// The seed; the same seed gives the same nights.
    pub seed: u64,
    /// Seconds between two fires of the installed timer; none where the ends of runs alone tick.
    pub timer_seconds: Option<Seconds>,
    /// Whether it can be left alone.
    pub verdict: Verdict,
    /// Why nothing will run, with the way out, where that is certain.
    pub nothing: Option<String>,
    /// How many stages are not over.
    pub stages: usize,
    /// How many of them land by the end.
    pub landed: Range,
    /// In how many of a hundred nights all of them land.
    pub all_land_percent: u32,
    /// When nothing is left that goes on by itself, over the nights in which that is so before the end.
    pub ends_at: Option<Times>,
    /// In how many of a hundred nights something still goes on at the end.
    pub goes_on_percent: u32,
    /// Each stage that is not over, in the order of the queue.
    pub queue: Vec<StageAhead>,
    /// What is spent, against each cap.
    pub spend: Vec<SpendAhead>,
    /// The limit that most nights meet first.
    pub first_limit: Option<LimitAhead>,
    /// Every limit that some night meets, the most frequent first.
    pub limits: Vec<LimitAhead>,
    /// What waits for a person now, and what stands behind it.
    pub waits: Vec<WaitAhead>,
    /// What to do before the night, the most useful first.
    pub advice: Vec<String>,
    /// What the runs are drawn from.
    pub basis: Vec<Basis>,
}

/// Whether a night can be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing that a person could do now is likely to matter.
    Fine,
    /// Something is worth a look before.
    Look,
    /// Nothing will run at all.
    Nothing,
}

/// A number over the nights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Range {
    /// Nine of ten nights have at least this.
    pub low: u64,
    /// Half of the nights have at least this.
    pub median: u64,
    /// Nine of ten nights have at most this.
    pub high: u64,
}

/// A moment over the nights in which it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Times {
    /// One of ten is before.
    pub early: DateTime<Utc>,
    /// Half are before.
    pub median: DateTime<Utc>,
    /// Nine of ten are before.
    pub late: DateTime<Utc>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StageAhead {
    /// Which.
    pub stage: StageId,
    /// How it stands now: `pending`, `working`, …
    pub now: String,
    /// In how many of a hundred nights it lands.
    pub lands_percent: u32,
    /// When, in these.
    pub lands_at: Option<Times>,
    /// What most often happens instead.
    pub otherwise: Option<Otherwise>,
}

/// What happens to a stage that does not land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Otherwise {
    /// A code: that of its reason, or how it stands.
    pub code: String,
    /// The same in a few words.
    pub words: String,
    /// In how many of a hundred nights.
    pub percent: u32,
}

/// What is spent of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SpendAhead {
    /// `tokens`, `cost`, `wall-clock` or `ticks`.
    pub name: &'static str,
    /// What the amounts count.
    pub unit: Unit,
    /// What stands in the window now.
    pub spent: u64,
    /// What the night adds.
    pub adds: Range,
    /// The most that stands in the window at once.
    pub peak: Range,
    /// The cap; none where there is none.
    pub cap: Option<u64>,
    /// In how many of a hundred nights the cap halts the night.
    pub halts_percent: u32,
    /// The cap that nine of ten nights get by with, where the present one halts some.
    pub needed: Option<u64>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LimitAhead {
    /// Which.
    pub limit: Limit,
    /// The same in a few words.
    pub words: String,
    /// In how many of a hundred nights it is met; for the first one, met first.
    pub percent: u32,
    /// When, in these.
    pub at: Times,
}

/// What waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WaitAhead {
    /// What, with its way out.
    pub item: Item,
    /// The stages of the queue that cannot begin before.
    pub behind: Vec<StageId>,
}

/// What the nights were played from.
#[derive(Debug)]
pub struct Played<'a> {
    /// When they began.
    pub now: DateTime<Utc>,
    /// When they were over at the latest.
    pub until: DateTime<Utc>,
    /// The seed.
    pub seed: u64,
    /// Seconds between two fires of the timer.
    pub timer: Option<Seconds>,
    /// The state before them.
    pub state: &'a State,
    /// The budget before them.
    pub budget: &'a Budget,
    /// The nights; at least one.
    pub nights: &'a [Fate],
    /// Caps on spend that nine of ten nights get by with, where the present ones halt some.
    pub needed: Option<Amounts>,
    /// What is known of who runs.
    pub agents: &'a Agents,
}

/// In how many of a hundred nights a cap on spend halts everything.
pub fn halted_by_caps(nights: &[Fate]) -> u32 {
    percent(nights, |fate| {
        fate.limits.iter().any(|(limit, _)| matches!(limit, Limit::Halt(reason) if reason.is_spend_cap()))
    })
}

/// What nine of ten nights need at most.
pub fn needs(nights: &[Fate]) -> Amounts {
    let high = |of: fn(&Amounts) -> u64| range(nights.iter().map(|fate| of(&fate.needed))).high;
    Amounts {
        tokens: Tokens(high(|needed| needed.tokens.0)),
        cost_usd: MicroUsd(high(|needed| needed.cost_usd.0)),
        seconds: Seconds(high(|needed| needed.seconds.0)),
        ticks: high(|needed| needed.ticks),
    }
}

/// Counts the nights.
pub fn of(played: &Played<'_>) -> Outlook {
    let Played { state, budget, nights, .. } = *played;
    let open: Vec<&Stage> = state.stages.iter().filter(|stage| !matches!(stage.life, Life::Over(_))).collect();
    let landed = |fate: &Fate| u64::try_from(fate.landed.len()).unwrap_or(u64::MAX);
    let all_land = percent(nights, |fate| landed(fate) == len(&open));
    let limits = limits(nights);
    let first_limit = first_limit(nights);
    let spend = spend(played);
    let waits = waits(state, budget);
    let nothing = nothing(state, budget, &open, nights, &waits);
    let halts = limits.iter().any(|one| matches!(one.limit, Limit::Halt(_)) && one.percent >= WORTH_A_LOOK);
    let verdict = match &nothing {
        Some(_) => Verdict::Nothing,
        None if halts || waits.iter().any(|wait| !wait.behind.is_empty()) => Verdict::Look,
        None => Verdict::Fine,
    };
    Outlook {
        at: played.now,
        until: played.until,
        nights: u32::try_from(nights.len()).unwrap_or(u32::MAX),
        seed: played.seed,
        timer_seconds: played.timer,
        verdict,
        stages: open.len(),
        landed: range(nights.iter().map(landed)),
        all_land_percent: all_land,
        ends_at: times(nights.iter().filter_map(|fate| fate.quiet_at)),
        goes_on_percent: percent(nights, |fate| fate.quiet_at.is_none()),
        queue: open.iter().map(|stage| stage_ahead(stage, nights)).collect(),
        advice: advice(budget, &spend, &limits, &waits, nothing.is_some()),
        nothing,
        spend,
        first_limit,
        limits,
        waits,
        basis: played.agents.basis(&nights.iter().flat_map(|fate| &fate.ran).collect()),
    }
}

fn len<T>(all: &[T]) -> u64 {
    u64::try_from(all.len()).unwrap_or(u64::MAX)
}

/// In how many of a hundred nights it is so. Never none or all of them by rounding alone.
fn percent(nights: &[Fate], holds: impl Fn(&Fate) -> bool) -> u32 {
    let (count, all) = (len(&nights.iter().filter(|fate| holds(fate)).collect::<Vec<_>>()), len(nights).max(1));
    let rounded = (count * 200 + all) / (all * 2);
    let percent = if count == 0 || count == all { rounded } else { rounded.clamp(1, 99) };
    u32::try_from(percent).unwrap_or(100)
}

/// The tenth, the half and the ninetieth of a hundred.
fn spread<T: Copy + Ord>(all: impl Iterator<Item = T>) -> Option<[T; 3]> {
    let mut sorted: Vec<T> = all.collect();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    Some([10, 50, 90].map(|share| sorted[last * share / 100]))
}

fn range(all: impl Iterator<Item = u64>) -> Range {
    spread(all).map_or_else(Range::default, |[low, median, high]| Range { low, median, high })
}

fn times(all: impl Iterator<Item = DateTime<Utc>>) -> Option<Times> {
    spread(all).map(|[early, median, late]| Times { early, median, late })
}

fn stage_ahead(stage: &Stage, nights: &[Fate]) -> StageAhead {
    let mut instead: BTreeMap<&str, u32> = BTreeMap::new();
    for code in nights.iter().filter_map(|fate| fate.left.get(&stage.id)) {
        *instead.entry(code).or_default() += 1;
    }
    let most = instead.into_iter().max_by_key(|(_, count)| *count);
    let otherwise = most.map(|(code, _)| Otherwise {
        code: code.to_owned(),
        words: fate::in_words(code).to_owned(),
        percent: percent(nights, |fate| fate.left.get(&stage.id).is_some_and(|left| left == code)),
    });
    StageAhead {
        stage: stage.id.clone(),
        now: stage.life.word().to_owned(),
        lands_percent: percent(nights, |fate| fate.landed.contains_key(&stage.id)),
        lands_at: times(nights.iter().filter_map(|fate| fate.landed.get(&stage.id).copied())),
        otherwise,
    }
}

fn limit_ahead(limit: &Limit, nights: &[Fate], met: impl Fn(&Fate) -> Option<DateTime<Utc>>) -> Option<LimitAhead> {
    Some(LimitAhead {
        limit: limit.clone(),
        words: limit.in_words(),
        percent: percent(nights, |fate| met(fate).is_some()),
        at: times(nights.iter().filter_map(&met))?,
    })
}

/// Every limit that some night meets, the most frequent first.
fn limits(nights: &[Fate]) -> Vec<LimitAhead> {
    let mut known: Vec<&Limit> = nights.iter().flat_map(|fate| &fate.limits).map(|(limit, _)| limit).collect();
    known.sort_unstable();
    known.dedup();
    let met = |limit: &Limit, fate: &Fate| fate.limits.iter().find(|(one, _)| one == limit).map(|(_, at)| *at);
    let mut limits: Vec<LimitAhead> =
        known.into_iter().filter_map(|limit| limit_ahead(limit, nights, |fate| met(limit, fate))).collect();
    limits.sort_by_key(|one| (std::cmp::Reverse(one.percent), one.at.median));
    limits
}

/// The limit that most nights meet before any other.
fn first_limit(nights: &[Fate]) -> Option<LimitAhead> {
    let mut counts: BTreeMap<&Limit, u32> = BTreeMap::new();
    for (limit, _) in nights.iter().filter_map(|fate| fate.limits.first()) {
        *counts.entry(limit).or_default() += 1;
    }
    let (limit, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    limit_ahead(limit, nights, |fate| fate.limits.first().filter(|(one, _)| one == limit).map(|(_, at)| *at))
}

impl Limit {
    /// It in a few words, as the subject of a sentence.
    pub fn in_words(&self) -> String {
        match self {
            Self::Halt(reason) => {
                use HaltReason as R;
                match reason {
                    R::TokenCap => "the token cap",
                    R::CostCap => "the cost cap",
                    R::WallClockCap => "the cap on the time of runs",
                    R::TickCap => "the cap on ticks",
                    R::FailureCap => "the cap on failures in a row",
                    R::NoProgress => "the cap on spend without a landing",
                    R::DispatchConfigurationFault => "an agent that cannot be started",
                    R::BaseWritten | R::StateCorrupt | R::Operator => "a halt",
                }
                .to_owned()
            }
            Self::Provider(family) => format!("{family}'s provider"),
            Self::Curfew => "the curfew".to_owned(),
            Self::FleetDay => "the fleet's day".to_owned(),
        }
    }
}

/// What is spent of each thing that a cap may be on.
fn spend(played: &Played<'_>) -> Vec<SpendAhead> {
    use HaltReason as R;
    let budget = played.budget;
    let caps = [
        ("tokens", Unit::Tokens, R::TokenCap, budget.tokens_allowed().map(|cap| cap.0)),
        ("cost", Unit::MicroUsd, R::CostCap, budget.cost_allowed().map(|cap| cap.0)),
        ("wall-clock", Unit::Seconds, R::WallClockCap, budget.wall_clock_cap_seconds.map(|cap| cap.0)),
        ("ticks", Unit::Count, R::TickCap, budget.clock_tick_cap),
    ];
    let now = Amounts::in_window(budget);
    let line = |(name, unit, reason, cap): (&'static str, Unit, R, Option<u64>)| {
        let of = |amounts: &Amounts| match reason {
            R::TokenCap => amounts.tokens.0,
            R::CostCap => amounts.cost_usd.0,
            R::WallClockCap => amounts.seconds.0,
            _ => amounts.ticks,
        };
        let halts = |fate: &Fate| fate.limits.iter().any(|(limit, _)| *limit == Limit::Halt(reason));
        let halts_percent = percent(played.nights, halts);
        let needed = played.needed.as_ref().map(of).filter(|needed| cap.is_some_and(|cap| *needed > cap));
        SpendAhead {
            name,
            unit,
            spent: of(&now),
            adds: range(played.nights.iter().map(|fate| of(&fate.spent))),
            peak: range(played.nights.iter().map(|fate| of(&fate.peak))),
            cap,
            halts_percent,
            needed: needed.filter(|_| halts_percent > 0),
        }
    };
    caps.into_iter().map(line).collect()
}

/// What waits for a person now, with the stages of the queue that stand behind it.
fn waits(state: &State, budget: &Budget) -> Vec<WaitAhead> {
    let behind = |stage: &StageId| {
        let mut held: Vec<&StageId> = vec![stage];
        // Each pass finds those behind what is known; a queue is no deeper than it is long.
        for _ in 0..state.stages.len() {
            let before = held.len();
            for other in &state.stages {
                let waits = !matches!(other.life, Life::Over(_)) && !held.contains(&&other.id);
                if waits && other.depends_on.iter().any(|needed| held.contains(&needed)) {
                    held.push(&other.id);
                }
            }
            if held.len() == before {
                break;
            }
        }
        held.into_iter().skip(1).cloned().collect()
    };
    let wait = |item: Item| {
        let behind = item.stage.as_ref().map(behind).unwrap_or_default();
        WaitAhead { item, behind }
    };
    inbox::items(state, budget).into_iter().map(wait).collect()
}

/// Why nothing will run, with the way out, where that is certain.
fn nothing(state: &State, budget: &Budget, open: &[&Stage], nights: &[Fate], waits: &[WaitAhead]) -> Option<String> {
    let happens = |fate: &Fate| fate.dispatched > 0 || !fate.landed.is_empty();
    if state.flights().next().is_some() || nights.iter().any(happens) {
        return None;
    }
    if open.is_empty() {
        return Some("nothing is queued; `autometta add-stage` queues a card".to_owned());
    }
    if let Some(halt) = budget.halt_reasons.first().filter(|_| budget.halted) {
        let way_out = waits.first().map(|wait| format!("; {}", wait.item.way_out)).unwrap_or_default();
        return Some(format!("halted, {}: {}{way_out}", halt.reason.as_str(), first_line(&halt.detail)));
    }
    let needed = waits.iter().find(|wait| !wait.behind.is_empty()).or_else(|| waits.first());
    if let Some(WaitAhead { item, behind }) = needed
        && notice::moving(state).is_empty()
    {
        let stage = item.stage.as_ref().map(|stage| format!("{stage} waits for you: ")).unwrap_or_default();
        let held = if behind.is_empty() { String::new() } else { format!(", {} behind it", behind.len()) };
        return Some(format!("{stage}{}{held}; {}", first_line(&item.detail), item.way_out));
    }
    let blocked = open.iter().find_map(|stage| {
        let gone = |needed: &&StageId| {
            state
                .stage(needed)
                .is_none_or(|other| matches!(&other.life, Life::Over(over) if over.status != EndStatus::Completed))
        };
        let needed = stage.depends_on.iter().find(gone)?;
        Some(format!("{} waits for {needed}, which has not landed; `autometta requeue {needed}`", stage.id))
    });
    let held = || {
        let code = nights.first().and_then(|fate| fate.left.get(&open.first()?.id));
        code.map_or("nothing can begin", |code| fate::in_words(code)).to_owned()
    };
    Some(blocked.unwrap_or_else(|| format!("{}; `autometta status` says until when", held())))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What to do before the night.
fn advice(
    budget: &Budget,
    spend: &[SpendAhead],
    limits: &[LimitAhead],
    waits: &[WaitAhead],
    is_nothing: bool,
) -> Vec<String> {
    let mut advice = Vec::new();
    let mut by_behind: Vec<&WaitAhead> = waits.iter().filter(|wait| !wait.behind.is_empty()).collect();
    by_behind.sort_by_key(|wait| std::cmp::Reverse(wait.behind.len()));
    for WaitAhead { item, behind } in by_behind {
        let who = item.stage.as_ref().map(ToString::to_string).unwrap_or_default();
        let stages = if behind.len() == 1 { "stage waits" } else { "stages wait" };
        advice.push(format!("{who}: {} {stages} behind it; {}", behind.len(), item.way_out));
    }
    if budget.halted && !is_nothing {
        advice.extend(waits.iter().filter(|wait| wait.item.stage.is_none()).map(|wait| wait.item.way_out.clone()));
    }
    for line in spend.iter().filter(|line| line.halts_percent > 0) {
        let Some(needed) = line.needed else { continue };
        advice.push(format!(
            "the cap on {} halts {} of 100 nights; `autometta budget set {}` lets nine of ten go on",
            line.name.replace('-', " "),
            line.halts_percent,
            line.unit.raised_to(needed)
        ));
    }
    let failures = limits.iter().find(|one| one.limit == Limit::Halt(HaltReason::FailureCap));
    if let (Some(one), Some(cap)) = (failures.filter(|one| one.percent >= WORTH_A_LOOK), budget.consecutive_failure_cap)
    {
        advice.push(format!(
            "the cap on failures in a row, {cap}, halts {} of 100 nights; mend the cards that are likely to fail, or \
             `autometta budget set --failures {}`",
            one.percent,
            cap.saturating_mul(2)
        ));
    }
    advice
}

#[cfg(test)]
mod tests;
