//! The clocks of the simulated machine: one that stands still while it sleeps, one on the wall, and what is due.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Milliseconds for which the machine was awake since the night began.
pub type Awake = i64;

/// The clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    began: DateTime<Utc>,
    /// How long the machine was awake.
    pub awake: Awake,
    /// By how much the wall's clock is ahead of that: sleeps, and what it was set by, in milliseconds.
    ahead: i64,
    /// How long it has slept, in milliseconds.
    pub asleep: i64,
    /// How often it was started.
    pub boot: u32,
}

impl Clock {
    /// Clocks that begin now.
    pub fn new(began: DateTime<Utc>) -> Self {
        Self { began, awake: 0, ahead: 0, asleep: 0, boot: 0 }
    }

    /// The time on the wall.
    pub fn now(&self) -> DateTime<Utc> {
        self.began + TimeDelta::milliseconds(self.awake + self.ahead)
    }

    /// The machine sleeps for so many milliseconds.
    pub fn sleep(&mut self, time: i64) {
        self.ahead += time;
        self.asleep += time;
    }

    /// The machine was off for so many milliseconds.
    pub fn restart(&mut self, off: i64) {
        self.ahead += off;
        self.asleep = 0;
        self.boot += 1;
    }

    /// Somebody sets the wall's clock, by so many milliseconds.
    pub fn set_by(&mut self, time: i64) {
        self.ahead += time;
    }
}

/// What is due when. What is due at the same moment comes in the order in which it was entered.
#[derive(Debug, Clone)]
pub struct Agenda<T> {
    entries: BTreeMap<(Awake, u64), T>,
    entered: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), entered: 0 }
    }
}

impl<T> Agenda<T> {
    /// Enters something.
    pub fn enter(&mut self, at: Awake, what: T) {
        self.entries.insert((at, self.entered), what);
        self.entered += 1;
    }

    /// When the next thing is due.
    pub fn next_at(&self) -> Option<Awake> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next thing out.
    pub fn take(&mut self) -> Option<(Awake, T)> {
        self.entries.pop_first().map(|((at, _), what)| (at, what))
    }

    /// Strikes everything out that does not hold.
    pub fn keep(&mut self, holds: impl Fn(&T) -> bool) {
        self.entries.retain(|_, what| holds(what));
    }

    /// Everything that is due.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }
}
