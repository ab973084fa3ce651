//! Whether a transaction fits the files that it is about to change. Asked before anything is written: one that was
//! damaged, or that belongs to another repository, must not take the place of what is whole.

use std::path::Path;

use super::{
    Archived, Layout, SHORTER, StoreError, Transaction, UNWRITTEN, decode_budget, decode_state, foreign, is_begun,
    read_state_on,
};
use crate::core::state_doc::StageDoc;
use crate::files::disk::Disk;
use crate::files::document;
use crate::files::ledger::{self, Head, Line, sha256_hex};

/// Says why a transaction that a holder of the lock left behind is not carried out.
pub(super) fn check<D: Disk>(disk: &D, layout: &Layout, txn: &Transaction) -> Result<(), StoreError> {
    let refuse = |why: String| StoreError::Transaction { path: layout.txn(), why };
    if let Some(text) = &txn.state {
        let state = decode_state(Path::new("its state"), text.as_bytes()).map_err(|error| refuse(inner(&error)))?;
        // Only a deliberate adoption changes the name, and that stands in the ledger, which is looked at below.
        let there = read_state_on(disk, layout).ok().filter(|_| txn.ledger_lines.is_empty());
        if there.is_some_and(|there| there.repo_id != state.repo_id) {
            return Err(refuse("its state is that of another repository".to_owned()));
        }
    }
    if let Some(budget) = &txn.budget {
        decode_budget(Path::new("its budget"), budget.as_bytes()).map_err(|error| refuse(inner(&error)))?;
    }
    for archived in &txn.archive {
        check_archived(archived).map_err(refuse)?;
    }
    check_lines(disk, layout, txn, refuse)
}

/// What is wrong inside, without the ways out that are for the files themselves.
fn inner(error: &StoreError) -> String {
    match error {
        StoreError::Corrupt { path, faults } => format!("{} is damaged: {faults}", path.display()),
        StoreError::Newer { path, version, known } => {
            format!("{} has version {version}, and this autometta reads up to {known}", path.display())
        }
        StoreError::VersionOne { path } => format!("{} has version 1", path.display()),
        other => other.to_string(),
    }
}

fn check_archived(archived: &Archived) -> Result<(), String> {
    let read = document::from_yaml::<StageDoc>(&archived.text).and_then(StageDoc::into_archived);
    match read {
        Ok(stage) if stage.id == archived.stage => Ok(()),
        Ok(stage) => Err(format!("what it archives as {} is {}", archived.stage, stage.id)),
        Err(faults) => Err(format!("what it archives as {} is damaged: {faults}", archived.stage)),
    }
}

/// Its lines are whole and follow on the ledger's line before them.
fn check_lines<D: Disk>(
    disk: &D,
    layout: &Layout,
    txn: &Transaction,
    refuse: impl Fn(String) -> StoreError,
) -> Result<(), StoreError> {
    if txn.ledger_lines.is_empty() {
        return Ok(());
    }
    let path = layout.ledger();
    let lines = txn.ledger_lines.as_bytes();
    let Some(mut there) = ledger::bytes_from(disk, &path, txn.ledger_offset, lines.len() as u64 + 1)? else {
        return Err(foreign(&path, SHORTER));
    };
    if !is_begun(&mut there, lines) {
        return Err(foreign(&path, UNWRITTEN));
    }
    let Head { mut seq, mut sha256, .. } = ledger::head_at(disk, &path, txn.ledger_offset)?;
    let Some(lines) = txn.ledger_lines.strip_suffix('\n') else {
        return Err(refuse("its last line for the ledger has no end".to_owned()));
    };
    for body in lines.split('\n') {
        let line: Line =
            serde_json::from_str(body).map_err(|error| refuse(format!("a line of it for the ledger: {error}")))?;
        if (line.seq, &line.prev) != (seq + 1, &sha256) {
            return Err(refuse(format!(
                "its line {} does not follow on line {seq} of the ledger; it may be another repository's",
                line.seq
            )));
        }
        (seq, sha256) = (line.seq, sha256_hex(body.as_bytes()));
    }
    Ok(())
}
