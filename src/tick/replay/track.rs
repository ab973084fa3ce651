//! Which state a record follows on: the journal may tell of commits that never happened, and miss some that did.

use crate::core::journal::{Record, Sums};
use crate::files::journal::{self, JournalError};
use crate::files::layout::Layout;
use crate::files::ledger::sha256_hex;
use crate::files::store::{self, Loaded, StoreError};

/// A state and a budget with the sums of their files.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub loaded: Loaded,
    pub sums: Sums,
}

impl Moment {
    /// These documents.
    pub fn of(layout: &Layout, loaded: Loaded) -> Result<Self, StoreError> {
        let state = sha256_hex(store::encode_state(layout, &loaded.state)?.as_bytes());
        let budget = sha256_hex(store::encode_budget(layout, &loaded.budget)?.as_bytes());
        Ok(Self { loaded, sums: Sums { state, budget } })
    }

    /// Both documents as the parts hold them that a record names.
    pub fn whole(layout: &Layout, record: &Record) -> Result<Self, Gone> {
        let sums = record.after.clone();
        let state = journal::part(layout, &sums.state)?;
        let budget = journal::part(layout, &sums.budget)?;
        let state = store::decode_state(&layout.journal_part(&sums.state), &state)?;
        let budget = store::decode_budget(&layout.journal_part(&sums.budget), &budget)?;
        Ok(Self { loaded: Loaded { state, budget }, sums })
    }

    /// What a record's changes make of it; none where they do not lead to what the record names.
    pub fn changed(&self, layout: &Layout, record: &Record) -> Option<Self> {
        let Loaded { state, budget } = &self.loaded;
        let (state, budget) = record.changes.apply(state, budget).ok()?;
        let after = Self::of(layout, Loaded { state, budget }).ok()?;
        (after.sums == record.after).then_some(after)
    }
}

/// Why documents that a record names whole cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error(transparent)]
    Part(#[from] JournalError),
    #[error(transparent)]
    Document(#[from] StoreError),
}

/// What may be known when the next record begins: what the last one came to, and what it began with, since its commit
/// may never have happened.
#[derive(Debug, Default)]
pub(super) struct Track {
    known: Vec<Moment>,
}

impl Track {
    /// What a record follows on; none where that was not recorded.
    pub fn before(&mut self, record: &Record) -> Option<Moment> {
        let sums = record.before.as_ref()?;
        let index = self.known.iter().position(|moment| moment.sums == *sums)?;
        Some(self.known.swap_remove(index))
    }

    /// Goes on from a record.
    pub fn set(&mut self, after: Option<Moment>, before: Option<Moment>) {
        self.known = after.into_iter().chain(before).collect();
    }
}
