//! Grading: what a corpus expects, what seats said of it, and the figures that follow.
//!
//! Pure: the documents' types and the counting. Building scratch repositories and asking seats is `tick::grade`'s
//! subject; printing is the command line's.

mod figures;
mod past;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::ids::{DefectClass, Identity, RunId, StageId};
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::verdict::{Judgement, Verdict};

pub use figures::{Bakeoff, Corpus, Machine, SeatFigures, Tally, figures};
pub use past::{Candidate, Earlier, Fate, LeftOut, Movement, Now, Regrade, SeatDrift, regrade};

/// The version of the documents that `grade` writes.
pub const VERSION: u32 = 1;

/// `answer.yaml` beside a planted candidate: what is wrong with it. No seat may ever see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What an honest verifier says of the candidate.
    pub expect: Expect,
    /// The kind of defect; none for a clean control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<DefectClass>,
    /// Where the defect is: a path in the candidate, with `:line` where one line is to blame.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is wrong, for people; for a control, what may look wrong and is not.
    pub why: String,
    /// What it takes to see it; none for a clean control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<ShownBy>,
}

impl Answer {
    /// Whether the candidate has a defect.
    pub fn is_defect(&self) -> bool {
        self.expect == Expect::Fail
    }

    /// What contradicts itself. Places are JSON pointers.
    pub fn check(&self) -> Faults {
        let mut faults = Faults::default();
        let mut held = |place: &str, there: bool| match (self.expect, there) {
            (Expect::Fail, false) => faults.add(None, place, "is missing; a planted defect names it"),
            (Expect::Pass, true) => faults.add(None, place, "is there, but a clean control has no defect"),
            _ => {}
        };
        held("/defect", self.defect.is_some());
        held("/where", self.place.is_some());
        held("/shown_by", self.shown_by.is_some());
        if self.why.trim().is_empty() {
            faults.add(None, "/why", "is empty");
        }
        faults
    }

    /// The path in `where`, without its line.
    pub fn path(&self) -> Option<&str> {
        let place = self.place.as_deref()?;
        Some(match place.rsplit_once(':') {
            Some((path, line)) if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()) => path,
            _ => place,
        })
    }
}

/// What an honest verifier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// The candidate has a defect.
    Fail,
    /// It is a clean control.
    Pass,
}

/// What it takes to see a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShownBy {
    /// Running the card's acceptance command in a clean checkout.
    Command,
    /// Reading: every command of the card passes.
    Reading,
}

/// What the machine alone finds out about a candidate, before any verifier is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Screening {
    /// Our own checks of scope and honesty refuse it.
    Refused,
    /// A gate fails.
    GateFailed,
    /// The gates broke or were lost: they say nothing.
    GateBroken,
    /// Nothing is in the way.
    Passed,
}

impl Screening {
    /// Whether such a candidate is refused without a verifier.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Refused | Self::GateFailed)
    }
}

/// One judgement of one seat about one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// The candidate's stage.
    pub stage: StageId,
    /// The run that judged.
    pub run: RunId,
    /// The seat.
    pub seat: Identity,
    /// Which time the seat was asked about this candidate, counted from 1.
    pub round: u32,
    /// What it amounted to.
    pub said: Opinion,
    /// Its headline, or why there is no verdict.
    pub words: String,
    /// Whether a FAIL names the file that the defect is in; none for everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub located: Option<bool>,
    /// Each criterion's judgement, in the card's order; empty without a verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<Judgement>,
    /// Tokens charged.
    pub tokens: Tokens,
    /// Dollars charged.
    pub cost_usd: MicroUsd,
    /// Whether the usage was unknown, so that the run's caps are charged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage_unknown: bool,
    /// How long it took.
    pub seconds: Seconds,
}

/// What a seat's answer amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Opinion {
    /// PASS.
    Pass,
    /// FAIL.
    Fail,
    /// It could not look.
    Blocked,
    /// It was asked, and no usable verdict came.
    NoVerdict,
    /// It was not asked: the provider had refused, or the money was used up.
    NotAsked,
}

impl From<Judgement> for Opinion {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Pass => Self::Pass,
            Judgement::Fail => Self::Fail,
            Judgement::Blocked => Self::Blocked,
        }
    }
}

impl Opinion {
    /// The word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Blocked => "BLOCKED",
            Self::NoVerdict => "no verdict",
            Self::NotAsked => "not asked",
        }
    }
}

/// Whether what a verdict holds against a candidate names the file that the defect is in.
pub fn locates(verdict: &Verdict, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let against = verdict.criteria.iter().filter(|one| one.verdict != Judgement::Pass).map(|one| &one.evidence);
    against.chain([&verdict.additional_findings]).any(|text| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(expect: Expect, full: bool) -> Answer {
        Answer {
            expect,
            defect: full.then(|| "off-by-one".parse().expect("class")),
            place: full.then(|| "src/pages.py:12".to_owned()),
            why: "the last page is left out".to_owned(),
            shown_by: full.then_some(ShownBy::Command),
        }
    }

    #[test]
    fn a_defect_is_described_and_a_control_has_none() {
        assert!(answer(Expect::Fail, true).check().is_empty());
        assert!(answer(Expect::Pass, false).check().is_empty());
        for (expect, full) in [(Expect::Fail, false), (Expect::Pass, true)] {
            let faults = answer(expect, full).check().to_string();
            for place in ["/defect", "/where", "/shown_by"] {
                assert!(faults.contains(place), "{expect:?}: {faults}");
            }
        }
        let silent = Answer { why: " ".to_owned(), ..answer(Expect::Pass, false) };
        assert!(silent.check().to_string().contains("/why"));
    }

    #[test]
    fn a_place_is_a_path_with_or_without_a_line() {
        for (place, path) in [("a/b.py:3", "a/b.py"), ("a/b.py", "a/b.py"), ("odd:name", "odd:name"), ("a:", "a:")] {
            let answer = Answer { place: Some(place.to_owned()), ..answer(Expect::Fail, true) };
            assert_eq!(answer.path(), Some(path), "{place}");
        }
    }

    #[test]
    fn only_what_is_held_against_a_candidate_locates_a_defect() {
        let verdict = |judgement, evidence: &str, findings: &str| Verdict {
            stage_id: "01-a".parse().expect("id"),
            overall: Judgement::Fail,
            headline: String::new(),
            criteria: vec![crate::core::verdict::CriterionVerdict {
                id: 1,
                name: String::new(),
                verdict: judgement,
                evidence: evidence.to_owned(),
            }],
            additional_findings: findings.to_owned(),
            scores: None,
        };
        for (judgement, evidence, findings, found) in [
            (Judgement::Fail, "pages.py:3 leaves one out", "", true),
            (Judgement::Fail, "`test` failed", "", false),
            (Judgement::Pass, "src/pages.py:3 is fine", "", false),
            (Judgement::Pass, "", "src/pages.py looks odd", true),
        ] {
            assert_eq!(locates(&verdict(judgement, evidence, findings), "src/pages.py"), found, "{evidence}");
        }
    }
}
