//! How long a program may go on retrying while its provider only refuses.
//!
//! A single refusal says nothing about the next try, which may be working silently for many minutes. Only a further
//! refusal proves that the provider has refused all along, so patience is measured from the first refusal since the
//! last answer to the newest one. A program that says nothing any more is up to the caps on silence and time.

use std::time::{Duration, Instant};

use super::meter::{Hurry, Refused};

/// How long a program gets for its last words, once it is clear that no retry can succeed.
const MOMENT: Duration = Duration::from_secs(5);

/// Watches for refusals that follow each other without an answer between them.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    streak: Option<Streak>,
}

#[derive(Debug)]
struct Streak {
    answers: u64,
    refusals: u64,
    first: Instant,
    last: Instant,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, streak: None }
    }

    /// Whether the program is to be stopped for this, seen now.
    pub(super) fn is_over(&mut self, refused: &Refused, now: Instant) -> bool {
        let new = Streak { answers: refused.answers, refusals: refused.refusals, first: now, last: now };
        let streak = self.streak.get_or_insert(new);
        if streak.answers != refused.answers {
            *streak = Streak { answers: refused.answers, refusals: refused.refusals, first: now, last: now };
        } else if streak.refusals != refused.refusals {
            (streak.refusals, streak.last) = (refused.refusals, now);
        }
        match refused.hurry {
            Hurry::Now => true,
            Hurry::Moment => now.duration_since(streak.first) >= MOMENT,
            Hurry::Patience => streak.last > streak.first && streak.last.duration_since(streak.first) >= self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::{Refusal, RefusalClass, RefusalScope};

    /// Whether a program is stopped that shows these counts of refusals and answers at these seconds.
    fn stopped(hurry: Hurry, looks: &[(u64, u64, u64)]) -> Vec<bool> {
        let begun = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(180));
        let refusal = Refusal { class: RefusalClass::Overloaded, scope: RefusalScope::Family, line: String::new() };
        let refused = |refusals, answers| Refused { refusal: refusal.clone(), hurry, refusals, answers };
        let look = |&(at, refusals, answers): &(u64, u64, u64)| {
            patience.is_over(&refused(refusals, answers), begun + Duration::from_secs(at))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn refusals_that_go_on_beyond_the_patience_end_the_run() {
        let looks = [(0, 1, 0), (100, 4, 0), (179, 5, 0), (200, 5, 0), (201, 6, 0)];
        assert_eq!(stopped(Hurry::Patience, &looks), [false, false, false, false, true]);
    }

    #[test]
    fn an_answer_starts_the_patience_anew() {
        let looks = [(0, 1, 0), (170, 2, 1), (300, 3, 1), (349, 4, 1), (350, 5, 1)];
        assert_eq!(stopped(Hurry::Patience, &looks), [false, false, false, false, true]);
    }

    #[test]
    fn one_refusal_never_ends_a_run_however_long_it_stands() {
        assert_eq!(stopped(Hurry::Patience, &[(0, 1, 0), (10_000, 1, 0)]), [false, false]);
    }

    #[test]
    fn what_cannot_succeed_is_not_waited_for() {
        assert_eq!(stopped(Hurry::Now, &[(0, 1, 0)]), [true]);
        assert_eq!(stopped(Hurry::Moment, &[(0, 1, 0), (4, 1, 0), (5, 1, 0)]), [false, false, true]);
    }
}
