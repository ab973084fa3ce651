//! Making one decision again, from what was recorded of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::track::Moment;
use crate::core::ids::StageId;
use crate::core::journal::{BriefRef, Briefs, Cause, Record};
use crate::core::observation::{Brief, Observation};
use crate::core::operate::operate_all;
use crate::core::policy::Policy;
use crate::core::step::Note;
use crate::files::document;
use crate::files::journal::{self, JournalError};
use crate::files::layout::Layout;
use crate::files::store::Loaded;
use crate::tick::engine::{Decision, decide};

/// How many briefs are remembered between records.
const REMEMBERED: usize = 64;

/// Why a decision cannot be made again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// What it followed from is gone.
    #[error("{0}")]
    Gone(JournalError),
    /// What it followed from is not what it was.
    #[error("{0}")]
    Changed(String),
}

impl From<JournalError> for Lost {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Part { why, .. } if why.contains("not what it was") => Self::Changed(error.to_string()),
            other => Self::Gone(other),
        }
    }
}

/// Reads parts; those that repeat from record to record are read once.
pub(super) struct Parts<'a> {
    layout: &'a Layout,
    policy: Option<(String, Policy)>,
    briefs: BTreeMap<String, Box<Brief>>,
}

impl<'a> Parts<'a> {
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, policy: None, briefs: BTreeMap::new() }
    }

    fn read<T: DeserializeOwned + JsonSchema>(&self, sha256: &str) -> Result<T, Lost> {
        let bytes = journal::part(self.layout, sha256)?;
        let path = self.layout.journal_part(sha256);
        document::from_json(bytes).map_err(|faults| Lost::Changed(format!("{}: {faults}", path.display())))
    }

    fn policy(&mut self, sha256: &str) -> Result<Policy, Lost> {
        match &self.policy {
            Some((known, policy)) if known == sha256 => Ok(policy.clone()),
            _ => {
                let policy: Policy = self.read(sha256)?;
                self.policy = Some((sha256.to_owned(), policy.clone()));
                Ok(policy)
            }
        }
    }

    fn brief(&mut self, sha256: &str) -> Result<Box<Brief>, Lost> {
        if let Some(brief) = self.briefs.get(sha256) {
            return Ok(brief.clone());
        }
        let brief: Box<Brief> = Box::new(self.read(sha256)?);
        if self.briefs.len() >= REMEMBERED {
            self.briefs.clear();
        }
        self.briefs.insert(sha256.to_owned(), brief.clone());
        Ok(brief)
    }

    /// What was seen, briefs included.
    fn seen(&mut self, seen: &Observation, briefs: &Briefs) -> Result<Observation, Lost> {
        let named: BTreeMap<StageId, BriefRef> = match briefs {
            Briefs::Here(named) => named.clone(),
            Briefs::Part(sha256) => self.read(sha256)?,
        };
        let mut seen = seen.clone();
        for (stage, brief) in named {
            let brief = match brief {
                BriefRef::Part(sha256) => Ok(self.brief(&sha256)?),
                BriefRef::Unusable(why) => Err(why),
            };
            seen.briefs.insert(stage, brief);
        }
        Ok(seen)
    }
}

/// What this version of the machine makes of what was recorded.
pub(super) enum Again {
    /// A state, a budget, and what happened.
    Decided(Box<Loaded>, Vec<Note>),
    /// A command is refused.
    Refused(String),
    /// There was nothing to decide.
    Nothing,
}

/// Decides again.
pub(super) fn again(parts: &mut Parts<'_>, before: &Moment, record: &Record) -> Result<Again, Lost> {
    let Loaded { state, budget } = &before.loaded;
    Ok(match &record.cause {
        Cause::Step { idle, policy, briefs, seen } => {
            let policy = parts.policy(policy)?;
            let seen = parts.seen(seen, briefs)?;
            let Decision { after, notes, .. } = decide(&before.loaded, &seen, &policy, *idle, record.at);
            Again::Decided(Box::new(after), notes)
        }
        Cause::Commands { commands, brought_back } => {
            let mut state = state.clone();
            for stage in brought_back {
                state.stages.insert(0, stage.clone());
            }
            match operate_all(&state, budget, commands.clone(), record.at) {
                Ok(step) => {
                    let after = Loaded { state: step.state, budget: step.budget };
                    Again::Decided(Box::new(after), step.notes)
                }
                Err(refused) => Again::Refused(refused.to_string()),
            }
        }
        Cause::Whole { .. } => Again::Nothing,
    })
}
