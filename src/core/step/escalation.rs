//! Up the ladder: what becomes of work that its worker will not mend.
//!
//! Whether the same worker gets another try is its caller's to decide. Here the next rung of the card's ladder takes
//! over, from the candidate and with everything that is known of its failure; above the last rung the stage ends.

use super::turn::{Turn, WorkFailure, keep};
use crate::core::ids::RunId;
use crate::core::ladder::{self, Rung};
use crate::core::state::{Awaits, Stage};

impl Turn<'_> {
    /// Gives the stage to the next rung, or ends it with its work kept where there is none.
    pub(super) fn climb_or_end(&mut self, stage: &mut Stage, failure: WorkFailure) {
        match self.next_rung(stage, &failure.run) {
            Some(rung) => self.climb(stage, failure, rung),
            None => {
                let WorkFailure { status, reason, work, candidate, run, .. } = failure;
                let kept = keep(&work, candidate, Awaits::Nothing);
                self.end(stage, status, reason, Some(kept), Some(&run));
            }
        }
    }

    /// The next rung on which somebody can work; none as well where the card cannot be read now, so that nobody knows.
    fn next_rung(&mut self, stage: &Stage, run: &RunId) -> Option<Rung> {
        let Some(Ok(brief)) = self.seen.briefs.get(&stage.id) else { return None };
        let climb = ladder::above(brief, stage.rung);
        for (number, why) in climb.skipped {
            self.note(&stage.id, Some(run), "rung-skipped", format!("rung {number}: {why}"));
        }
        climb.to
    }

    fn climb(&mut self, stage: &mut Stage, failure: WorkFailure, rung: Rung) {
        let words = in_words(stage, &rung);
        stage.failures += 1;
        stage.failures_below = stage.failures;
        stage.rung = rung.number;
        stage.fallback = None;
        stage.worker = rung.worker;
        stage.verifiers = rung.verifiers;
        let (run, predecessor) = (failure.run.clone(), failure.candidate.run.clone());
        self.go_on_from(stage, failure, Some(predecessor));
        self.note(&stage.id, Some(&run), "escalated", words);
    }
}

/// Who hands over to whom, and which seats change with it.
fn in_words(stage: &Stage, rung: &Rung) -> String {
    let mut words = format!("{} → {} (rung {} of {})", stage.worker, rung.worker, rung.number, rung.of);
    let seats = stage.verifiers.iter().zip(&rung.verifiers);
    for (before, after) in seats.filter(|(before, after)| before != after) {
        words.push_str(&format!("; verifier {before} → {after}"));
    }
    words
}
