//! Our own checks of a candidate, before anything runs: its changed paths, its deliverables, its contract tests, its
//! secrets. Each has a reason of its own, and names the file.

use crate::core::card::Scope;
use crate::core::honesty::{Found, PatchExtent, Standing, is_git_file};
use crate::core::manifest::RepoPath;
use crate::core::observation::{Brief, Captured};
use crate::core::paths::PathPatterns;
use crate::core::policy::Policy;
use crate::core::state::Reason;
use crate::core::words::list;

/// What is wrong with a candidate. All of it is the worker's to mend.
pub fn fault_of(brief: &Brief, policy: &Policy, captured: &Captured) -> Option<Reason> {
    if !captured.embedded.is_empty() {
        let detail = format!("it contains a repository or submodule of its own: {}", list(&captured.embedded));
        return Some(Reason::new("embedded-repository", detail));
    }
    if captured.changed.is_empty() && !brief.card.may_change_nothing() {
        let detail = if brief.card.deliverables.is_empty() {
            "the candidate changes nothing, and the card's completion checks ask for `diff_not_empty`"
        } else {
            "the candidate changes nothing, and the card does not say `Deliverables: none`"
        };
        return Some(Reason::new("empty-diff", detail));
    }
    protected(policy, captured)
        .or_else(|| out_of_scope(brief, captured))
        .or_else(|| git_file(brief, captured))
        .or_else(|| contract(captured))
        .or_else(|| deliverables(brief, captured))
        .or_else(|| secrets(captured))
}

fn protected(policy: &Policy, captured: &Captured) -> Option<Reason> {
    let patterns = match PathPatterns::new(policy.protected.iter().map(RepoPath::as_str)) {
        Ok(patterns) => patterns,
        Err(error) => return Some(Reason::new("protected-path", format!("`protected:` in .autometta.yaml: {error}"))),
    };
    let touched: Vec<String> = captured
        .changed
        .iter()
        .filter_map(|path| Some(format!("{path} (by `{}`)", patterns.matching(path)?)))
        .collect();
    (!touched.is_empty()).then(|| {
        let detail =
            format!("it changes what `protected:` in .autometta.yaml keeps from every worker: {}", list(&touched));
        Reason::new("protected-path", detail)
    })
}

fn out_of_scope(brief: &Brief, captured: &Captured) -> Option<Reason> {
    let outside: Vec<String> = captured
        .changed
        .iter()
        .filter_map(|path| match brief.card.covers(path) {
            Scope::Allowed => None,
            Scope::OutOfScope => Some(format!("{path} (the card says out of scope)")),
            Scope::Outside => Some(path.clone()),
        })
        .collect();
    (!outside.is_empty()).then(|| {
        let detail = format!("it changes what is neither a deliverable nor claimed: {}", list(&outside));
        Reason::new("out-of-scope", detail)
    })
}

/// A folder that is claimed is no leave to tell git how to treat the files in it.
fn git_file(brief: &Brief, captured: &Captured) -> Option<Reason> {
    let unnamed = |path: &&String| is_git_file(path) && !brief.card.names(path, is_git_file);
    let found: Vec<String> = captured.changed.iter().filter(unnamed).cloned().collect();
    (!found.is_empty()).then(|| {
        let detail = format!("git or its hooks act upon this, and the card does not name it: {}", list(&found));
        Reason::new("git-file-undeclared", detail)
    })
}

fn contract(captured: &Captured) -> Option<Reason> {
    let changed = &captured.findings.contract_changed;
    (!changed.is_empty()).then(|| {
        let detail = format!("contract tests stay as they were, and these did not: {}", list(changed));
        Reason::new("contract-changed", detail)
    })
}

fn deliverables(brief: &Brief, captured: &Captured) -> Option<Reason> {
    brief.card.deliverables.iter().find_map(|deliverable| {
        let path = deliverable.path.as_str();
        let standing: &Standing = captured.findings.deliverables.iter().find(|standing| standing.path == path)?;
        let (code, words) = match (standing.found, deliverable.removed, deliverable.path.is_folder()) {
            (Found::Nothing, true, _) | (Found::File, false, false) | (Found::Folder, false, true) => return None,
            (_, true, _) => ("deliverable-still-there", "is to be removed by its card, and is still in the candidate"),
            (Found::Nothing, ..) => ("deliverable-missing", "is a deliverable, and is not in the candidate"),
            (Found::EmptyFile, _, false) => ("deliverable-empty", "is a deliverable, and is empty"),
            (Found::Link, ..) => ("deliverable-is-a-link", "is a deliverable, and a symbolic link stands in its place"),
            (Found::Repository, ..) => {
                ("deliverable-is-a-repository", "is a deliverable, and a repository of its own stands in its place")
            }
            (Found::Folder, _, false) => {
                ("deliverable-missing", "is a file by its card, and a folder stands in its place")
            }
            (Found::File | Found::EmptyFile, _, true) => {
                ("deliverable-missing", "is a folder by its card, and a file stands in its place")
            }
        };
        Some(Reason::new(code, format!("{path} {words}")))
    })
}

fn secrets(captured: &Captured) -> Option<Reason> {
    let secrets: Vec<String> = captured.findings.secrets.iter().map(ToString::to_string).collect();
    if !secrets.is_empty() {
        let detail = format!(
            "it adds what looks like a secret; take it out, and have whoever owns it revoke it: {}",
            list(&secrets)
        );
        return Some(Reason::new("secret-in-diff", detail));
    }
    (captured.findings.extent == PatchExtent::TooLarge).then(|| {
        let detail = "its diff is larger than what can be looked through for secrets; split the stage";
        Reason::new("diff-too-large", detail)
    })
}
