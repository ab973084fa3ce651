//! What we find in a candidate ourselves, with git: its deliverables, its contract tests, its secrets, and what a
//! verifier should look at twice. Everything follows from two trees and the card, so it is never kept but made again.

use crate::core::card::Card;
use crate::core::honesty::{self, FilePatch, Findings, Found, FrozenFile, Gates, PatchExtent, Report, Standing};
use crate::core::ids::{CommitId, ObjectId, RunId, TreeId};
use crate::core::manifest::Manifest;
use crate::core::paths::PathPatterns;
use crate::core::state::{Candidate, Life, NextRun, Stage};
use crate::files::ledger::sha256_hex;
use crate::git::{Extent, GitError, Objects, TreeFile, TreeKind};

use super::brief;

/// The largest diff that is looked through, in bytes. No verifier reads as much.
const PATCH_BYTES: usize = 16 << 20;

/// The most bytes of one file's diff that a prompt quotes.
const GATE_DIFF_BYTES: usize = 8_000;

/// What is found in a candidate on top of this base. `frozen` is what the stage's contract tests were.
pub fn findings(
    objects: &Objects,
    card: &Card,
    frozen: &[FrozenFile],
    base: &CommitId,
    tree: &TreeId,
) -> Result<Findings, GitError> {
    let (patch, extent) = patch(objects, base, tree)?;
    Ok(Findings {
        deliverables: standings(objects, card, tree)?,
        contract_changed: contract_changed(objects, frozen, tree)?,
        secrets: Findings::secrets_in(&patch),
        extent,
        strays: Vec::new(),
    })
}

fn patch(objects: &Objects, base: &ObjectId, tree: &ObjectId) -> Result<(Vec<FilePatch>, PatchExtent), GitError> {
    let patch = objects.diff_lines(base, tree, PATCH_BYTES)?;
    let extent = match patch.extent {
        Extent::Whole => PatchExtent::Whole,
        Extent::Cut => PatchExtent::TooLarge,
    };
    Ok((honesty::parse(&patch.text), extent))
}

fn standings(objects: &Objects, card: &Card, tree: &TreeId) -> Result<Vec<Standing>, GitError> {
    if card.deliverables.is_empty() {
        return Ok(Vec::new());
    }
    let paths: Vec<&str> = card.deliverables.iter().map(|one| one.path.as_str()).collect();
    let files = objects.tree_files(tree, &paths)?;
    let standing =
        |path: &&str| Standing { path: (*path).to_owned(), found: found(&files, path.trim_end_matches('/')) };
    Ok(paths.iter().map(standing).collect())
}

/// What a tree has at a path, of all that it has there and below.
fn found(files: &[TreeFile], path: &str) -> Found {
    let below = |file: &TreeFile| file.path.text().strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    match files.iter().find(|file| file.path.text() == path) {
        Some(file) => match (file.kind, file.bytes) {
            (TreeKind::Link, _) => Found::Link,
            (TreeKind::Repository, _) => Found::Repository,
            (TreeKind::File, Some(0)) => Found::EmptyFile,
            (TreeKind::File, _) => Found::File,
        },
        // Links alone are no work: somebody else's files stand behind them.
        None if files.iter().any(|file| file.kind == TreeKind::File && below(file)) => Found::Folder,
        None if files.iter().any(below) => Found::Link,
        None => Found::Nothing,
    }
}

/// The contract tests that are not, byte for byte, what they were.
fn contract_changed(objects: &Objects, frozen: &[FrozenFile], tree: &TreeId) -> Result<Vec<String>, GitError> {
    if frozen.is_empty() {
        return Ok(Vec::new());
    }
    let paths: Vec<&str> = frozen.iter().map(|file| file.path.as_str()).collect();
    let now = hashed(objects, objects.tree_files(tree, &paths)?)?;
    let changed = frozen.iter().filter_map(|file| match now.iter().find(|now| now.path == file.path) {
        Some(now) if now.sha256 == file.sha256 => None,
        Some(_) => Some(file.path.clone()),
        None => Some(format!("{} (gone)", file.path)),
    });
    Ok(changed.collect())
}

/// The files among these with the sha256 of their bytes. A link counts as gone: what stands behind it may change.
fn hashed(objects: &Objects, files: Vec<TreeFile>) -> Result<Vec<FrozenFile>, GitError> {
    let files: Vec<TreeFile> = files.into_iter().filter(|file| file.kind == TreeKind::File).collect();
    let ids: Vec<&ObjectId> = files.iter().map(|file| &file.id).collect();
    let blobs = objects.blobs(&ids)?;
    let frozen = files.iter().zip(blobs);
    Ok(frozen
        .map(|(file, bytes)| FrozenFile { path: file.path.text().into_owned(), sha256: sha256_hex(&bytes) })
        .collect())
}

/// The contract tests of a card as they are at a commit; or, in words, why they cannot be frozen there.
pub fn freeze(objects: &Objects, card: &Card, base: &CommitId) -> Result<Vec<FrozenFile>, String> {
    let failed = |error: GitError| format!("the contract tests cannot be read: {error}");
    let all = objects.tree_files(base, &[]).map_err(failed)?;
    let mut chosen: Vec<TreeFile> = Vec::new();
    for pattern in &card.contract_tests {
        let patterns = PathPatterns::new([pattern.as_str()]).map_err(|error| error.to_string())?;
        let meant = all.iter().filter(|file| patterns.matching(&file.path.text()).is_some());
        let files: Vec<&TreeFile> = meant.filter(|file| file.kind == TreeKind::File).collect();
        if files.is_empty() {
            return Err(format!(
                "the contract test `{pattern}` is no file at {base}; commit it before the stage starts"
            ));
        }
        chosen.extend(files.into_iter().cloned());
    }
    chosen.sort_by(|one, other| one.path.cmp(&other.path));
    chosen.dedup();
    hashed(objects, chosen).map_err(failed)
}

/// What a verifier should look at twice.
pub fn report(
    objects: &Objects,
    manifest: &Manifest,
    card: &Card,
    base: &CommitId,
    tree: &TreeId,
) -> Result<Report, GitError> {
    let commands: Vec<String> = brief::gates(manifest, card).into_iter().map(|gate| gate.run).collect();
    Ok(honesty::scan(&patch(objects, base, tree)?.0, Gates { commands: &commands }))
}

/// The report as a verifier reads it, with the diff of each file that a gate's command names.
pub fn report_text(objects: &Objects, report: &Report, base: &CommitId, tree: &TreeId) -> Result<String, GitError> {
    let mut text = String::new();
    for flag in &report.flags {
        text.push_str(&format!("- {flag}\n"));
    }
    if report.left_out > 0 {
        text.push_str(&format!("- and {} more\n", report.left_out));
    }
    for flag in report.flags.iter().filter(|flag| flag.rule == honesty::Rule::GateFileChanged) {
        let patch = objects.diff_of(base, tree, &flag.file, GATE_DIFF_BYTES)?;
        let cut = if patch.extent == Extent::Cut { "    [cut off here]\n" } else { "" };
        text.push_str(&format!("\nThe candidate changed {}, which judges it:\n\n", flag.file));
        for line in honesty::secrets::redact(&patch.text).lines() {
            text.push_str(&format!("    {line}\n"));
        }
        text.push_str(cut);
    }
    Ok(if text.is_empty() { "none\n".to_owned() } else { text })
}

/// What a worker's run handed in, with the base that it stands on, as far as its stage still tells.
pub fn handed_in(stage: &Stage, run: &RunId) -> Option<(CommitId, TreeId)> {
    let of = |base: &CommitId, candidate: &Candidate| {
        (candidate.run == *run).then(|| (base.clone(), candidate.tree.clone()))
    };
    match &stage.life {
        Life::Pending(pending) => match &pending.next {
            NextRun::Continue(resume) if resume.evidence.contains(run) => {
                Some((resume.base_commit.clone(), resume.tree.clone()))
            }
            NextRun::Continue(_) | NextRun::Fresh | NextRun::Again { .. } => None,
        },
        Life::Working(_) => None,
        Life::Gating(gating) => of(&gating.work.base_commit, &gating.candidate),
        Life::Verifying(verifying) => of(&verifying.work.base_commit, &verifying.candidate),
        Life::Landing(landing) => of(&landing.work.base_commit, &landing.candidate),
        Life::Over(over) => over.kept.as_ref().and_then(|kept| of(&kept.base_commit, &kept.candidate)),
    }
}
