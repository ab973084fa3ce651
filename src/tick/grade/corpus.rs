//! A corpus of planted candidates, read: `<dir>/<stage>/` with `card.md`, `answer.yaml`, `base/`, `candidate/` and,
//! where the worker has something to say, `notes.md`.
//!
//! The folder's name is the stage's id, and so it stands in prompts: it names the task and never the defect.

use std::path::{Path, PathBuf};

use crate::core::card::Card;
use crate::core::grade::Answer;
use crate::core::ids::StageId;
use crate::files::document;

use super::refused;
use crate::tick::error::TickError;

/// The planted candidates of a folder, in the order of their names.
#[derive(Debug)]
pub struct Corpus {
    pub(super) cases: Vec<Case>,
}

/// One planted candidate.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: StageId,
    pub(super) card: Card,
    /// The card's bytes.
    pub(super) bytes: Vec<u8>,
    pub(super) answer: Answer,
    /// What the worker says of its work.
    pub(super) notes: String,
    /// The project before the work; a corpus may leave it out for an empty one.
    pub(super) base: Option<PathBuf>,
    /// The project as the worker left it, all of it.
    pub(super) candidate: PathBuf,
}

impl Corpus {
    /// Reads a corpus; every fault at once. With `only`, the candidates of these stages and no others.
    pub fn read(dir: &Path, only: &[StageId]) -> Result<Self, TickError> {
        let io = |source| TickError::Io { path: dir.to_owned(), source };
        let mut folders: Vec<PathBuf> = std::fs::read_dir(dir)
            .map_err(io)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        let mut cases = Vec::new();
        let mut faults = Vec::new();
        for folder in folders {
            match Case::read(&folder) {
                Ok(case) => cases.push(case),
                Err(error) => faults.push(error.to_string()),
            }
        }
        if !faults.is_empty() {
            let (count, list) = (faults.len(), faults.join("\n  "));
            return Err(TickError::Cards(format!("{count} of the planted candidates cannot be used:\n  {list}")));
        }
        for id in only {
            if !cases.iter().any(|case| case.id == *id) {
                return Err(refused(dir, format!("it has no candidate {id}")));
            }
        }
        cases.retain(|case| only.is_empty() || only.contains(&case.id));
        if cases.is_empty() {
            return Err(refused(dir, "there is no planted candidate in it; docs/grading.md says what one consists of"));
        }
        Ok(Self { cases })
    }
}

impl Case {
    fn read(folder: &Path) -> Result<Self, TickError> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let id: StageId = name.parse().map_err(|error| refused(folder, error))?;
        let file = |name: &str| -> Result<(PathBuf, Vec<u8>), TickError> {
            let path = folder.join(name);
            let bytes = document::read(&path)?.ok_or_else(|| refused(&path, "it does not exist"))?;
            Ok((path, bytes))
        };
        let (path, bytes) = file("card.md")?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refused(&path, "it is not UTF-8"))?;
        let card = Card::parse(id.clone(), text).map_err(|faults| refused(&path, faults))?.card;
        let (path, answer) = file("answer.yaml")?;
        let answer: Answer = document::from_yaml(&answer).map_err(|faults| refused(&path, faults))?;
        let faults = answer.check();
        if !faults.is_empty() {
            return Err(refused(&path, faults));
        }
        let candidate = folder.join("candidate");
        if !candidate.is_dir() {
            return Err(refused(&candidate, "it is no folder"));
        }
        let notes = document::read(&folder.join("notes.md"))?.unwrap_or_default();
        let base = Some(folder.join("base")).filter(|base| base.is_dir());
        Ok(Self { id, card, bytes, answer, notes: String::from_utf8_lossy(&notes).into_owned(), base, candidate })
    }
}
