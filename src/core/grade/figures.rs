//! The figures of a bake-off: recall and false alarms, per seat and per class of defect.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Heard, Opinion, Screening, ShownBy, VERSION};
use crate::core::ids::{DefectClass, Identity, StageId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};

/// What `grade --planted` found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bakeoff {
    /// The version of this format: 1.
    pub version: u32,
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// What was judged.
    pub corpus: Corpus,
    /// What the machine alone would have refused, whichever seat sits.
    pub machine: Machine,
    /// The seats, in the order in which they were named.
    pub seats: Vec<SeatFigures>,
    /// Every judgement.
    pub judgements: Vec<Heard>,
}

/// What a corpus consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// Candidates with a defect.
    pub defects: u32,
    /// Those of them that the card's own command shows.
    pub shown_by_command: u32,
    /// Clean candidates.
    pub controls: u32,
}

/// What scope checks and gates make of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Defects refused by our own checks of scope and honesty.
    pub refused: u32,
    /// Defects refused by a gate.
    pub gate_failed: u32,
    /// Controls refused: the corpus or this machine is at fault.
    pub controls_refused: Vec<StageId>,
    /// Candidates whose gates could not be run.
    pub broken: Vec<StageId>,
}

/// How often a seat said what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// PASS.
    pub pass: u32,
    /// FAIL.
    pub fail: u32,
    /// It could not look.
    pub blocked: u32,
    /// It was asked and gave no usable verdict.
    pub no_verdict: u32,
    /// It was not asked.
    pub not_asked: u32,
}

impl Tally {
    fn add(&mut self, said: Opinion) {
        let count = match said {
            Opinion::Pass => &mut self.pass,
            Opinion::Fail => &mut self.fail,
            Opinion::Blocked => &mut self.blocked,
            Opinion::NoVerdict => &mut self.no_verdict,
            Opinion::NotAsked => &mut self.not_asked,
        };
        *count += 1;
    }

    /// How often the seat was asked.
    pub fn asked(&self) -> u32 {
        self.pass + self.fail + self.blocked + self.no_verdict
    }

    /// The share of FAILs among all that was asked; none where nothing was.
    pub fn failed_share(&self) -> Option<f64> {
        (self.asked() > 0).then(|| f64::from(self.fail) / f64::from(self.asked()))
    }
}

/// One seat's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatFigures {
    /// The seat.
    pub seat: Identity,
    /// What it said of candidates with a defect.
    pub defects: Tally,
    /// What it said of clean candidates.
    pub controls: Tally,
    /// FAILs among the defects that it was asked about, 0 to 1.
    pub recall: Option<f64>,
    /// The same for defects that the card's command shows.
    pub recall_by_command: Option<f64>,
    /// The same for defects that only reading shows.
    pub recall_by_reading: Option<f64>,
    /// FAILs among the clean candidates that it was asked about, 0 to 1.
    pub false_alarms: Option<f64>,
    /// FAILs on defects that name the file at fault.
    pub located: u32,
    /// Candidates that it judged differently from one round to another.
    pub wavering: Vec<StageId>,
    /// Tokens charged.
    pub tokens: Tokens,
    /// Dollars charged.
    pub cost_usd: MicroUsd,
    /// Judgements whose usage is unknown, charged at their caps.
    pub usage_unknown: u32,
    /// Time in its runs, added up.
    pub seconds: Seconds,
    /// What it said of defects, by class.
    pub by_class: BTreeMap<DefectClass, Tally>,
}

/// Counts. `screened` is what the machine alone says of each candidate.
pub fn figures(
    at: DateTime<Utc>,
    answers: &BTreeMap<StageId, Answer>,
    screened: &BTreeMap<StageId, Screening>,
    seats: &[Identity],
    judgements: Vec<Heard>,
) -> Bakeoff {
    let mut corpus = Corpus::default();
    let mut machine = Machine::default();
    for (stage, answer) in answers {
        let screening = screened.get(stage).copied().unwrap_or(Screening::Passed);
        if screening == Screening::GateBroken {
            machine.broken.push(stage.clone());
        }
        if answer.is_defect() {
            corpus.defects += 1;
            corpus.shown_by_command += u32::from(answer.shown_by == Some(ShownBy::Command));
            machine.refused += u32::from(screening == Screening::Refused);
            machine.gate_failed += u32::from(screening == Screening::GateFailed);
        } else {
            corpus.controls += 1;
            if screening.refuses() {
                machine.controls_refused.push(stage.clone());
            }
        }
    }
    let seats = seats.iter().map(|seat| of_seat(seat, answers, &judgements)).collect();
    Bakeoff { version: VERSION, at, corpus, machine, seats, judgements }
}

fn of_seat(seat: &Identity, answers: &BTreeMap<StageId, Answer>, judgements: &[Heard]) -> SeatFigures {
    let mut figures = SeatFigures {
        seat: seat.clone(),
        defects: Tally::default(),
        controls: Tally::default(),
        recall: None,
        recall_by_command: None,
        recall_by_reading: None,
        false_alarms: None,
        located: 0,
        wavering: Vec::new(),
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        usage_unknown: 0,
        seconds: Seconds(0),
        by_class: BTreeMap::new(),
    };
    let (mut command, mut reading) = (Tally::default(), Tally::default());
    let mut opinions: BTreeMap<&StageId, BTreeSet<Opinion>> = BTreeMap::new();
    for heard in judgements.iter().filter(|heard| heard.seat == *seat) {
        let Some(answer) = answers.get(&heard.stage) else { continue };
        figures.tokens += heard.tokens;
        figures.cost_usd += heard.cost_usd;
        figures.seconds += heard.seconds;
        figures.usage_unknown += u32::from(heard.usage_unknown);
        if heard.said != Opinion::NotAsked {
            opinions.entry(&heard.stage).or_default().insert(heard.said);
        }
        if !answer.is_defect() {
            figures.controls.add(heard.said);
            continue;
        }
        figures.defects.add(heard.said);
        figures.located += u32::from(heard.located == Some(true));
        match answer.shown_by {
            Some(ShownBy::Command) => command.add(heard.said),
            Some(ShownBy::Reading) | None => reading.add(heard.said),
        }
        if let Some(class) = &answer.defect {
            figures.by_class.entry(class.clone()).or_default().add(heard.said);
        }
    }
    figures.recall = figures.defects.failed_share();
    figures.recall_by_command = command.failed_share();
    figures.recall_by_reading = reading.failed_share();
    figures.false_alarms = figures.controls.failed_share();
    figures.wavering =
        opinions.into_iter().filter(|(_, said)| said.len() > 1).map(|(stage, _)| stage.clone()).collect();
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::grade::Expect;

    fn stage(name: &str) -> StageId {
        name.parse().expect("id")
    }

    fn defect(class: &str, shown_by: ShownBy) -> Answer {
        Answer {
            expect: Expect::Fail,
            defect: Some(class.parse().expect("class")),
            place: Some("a".to_owned()),
            why: "w".to_owned(),
            shown_by: Some(shown_by),
        }
    }

    fn heard(of: &str, seat: &Identity, round: u32, said: Opinion) -> Heard {
        Heard {
            stage: stage(of),
            run: format!("{of}.1.verifier-1").parse().expect("run"),
            seat: seat.clone(),
            round,
            said,
            words: String::new(),
            located: (said == Opinion::Fail).then_some(round == 1),
            criteria: Vec::new(),
            tokens: Tokens(10),
            cost_usd: MicroUsd(5),
            usage_unknown: round == 2,
            seconds: Seconds(3),
        }
    }

    #[test]
    fn recall_counts_fails_only_and_what_was_not_asked_counts_nowhere() {
        let seat: Identity = "Judge <judge@local>".parse().expect("identity");
        let control = Answer { expect: Expect::Pass, defect: None, place: None, why: "w".into(), shown_by: None };
        let answers = BTreeMap::from([
            (stage("01-a"), defect("off-by-one", ShownBy::Command)),
            (stage("02-b"), defect("off-by-one", ShownBy::Reading)),
            (stage("03-c"), defect("race", ShownBy::Reading)),
            (stage("04-d"), control.clone()),
            (stage("05-e"), control),
        ]);
        let screened = BTreeMap::from([
            (stage("01-a"), Screening::GateFailed),
            (stage("03-c"), Screening::Refused),
            (stage("05-e"), Screening::GateFailed),
            (stage("02-b"), Screening::GateBroken),
        ]);
        let judgements = vec![
            heard("01-a", &seat, 1, Opinion::Fail),
            heard("01-a", &seat, 2, Opinion::Fail),
            heard("02-b", &seat, 1, Opinion::Pass),
            heard("02-b", &seat, 2, Opinion::Fail),
            heard("03-c", &seat, 1, Opinion::NoVerdict),
            heard("03-c", &seat, 2, Opinion::NotAsked),
            heard("04-d", &seat, 1, Opinion::Pass),
            heard("05-e", &seat, 1, Opinion::Fail),
            heard("04-d", &"Other <o@x>".parse().expect("identity"), 1, Opinion::Fail),
        ];
        let seats = [seat];
        let found = figures(DateTime::UNIX_EPOCH, &answers, &screened, &seats, judgements);
        assert_eq!(found.corpus, Corpus { defects: 3, shown_by_command: 1, controls: 2 });
        assert_eq!((found.machine.refused, found.machine.gate_failed), (1, 1));
        assert_eq!(found.machine.controls_refused, [stage("05-e")]);
        assert_eq!(found.machine.broken, [stage("02-b")]);
        let of = &found.seats[0];
        assert_eq!(of.defects, Tally { pass: 1, fail: 3, blocked: 0, no_verdict: 1, not_asked: 1 });
        assert_eq!((of.recall, of.recall_by_command), (Some(0.6), Some(1.0)));
        assert!((of.recall_by_reading.expect("asked") - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((of.false_alarms, of.located, &of.wavering), (Some(0.5), 1, &vec![stage("02-b")]));
        assert_eq!((of.tokens, of.cost_usd, of.seconds, of.usage_unknown), (Tokens(80), MicroUsd(40), Seconds(24), 3));
        assert_eq!(of.by_class.len(), 2);
        assert_eq!(Tally::default().failed_share(), None, "nothing asked is no recall of zero");
    }
}
