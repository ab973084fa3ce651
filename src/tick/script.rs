//! The two families that need no model: `script` runs a card's `## Script` block and hands in what it came to,
//! `check` judges by running the acceptance commands again in its own checkout.
//!
//! Both are one shell text in the run's own directory; the documents that they hand in are made here beforehand, so
//! that the shell only has to choose one.

use serde_json::{Value, json};

use crate::core::ids::{Role, RunId};
use crate::core::observation::Brief;
use crate::core::state::Stage;
use crate::families::{FamilySpec, ModelUse};

use super::brief;
use super::site::Site;

/// The script of a run, where its family takes one.
pub fn of(site: &Site, family: &FamilySpec, stage: &Stage, run: &RunId, brief: &Brief) -> Option<String> {
    if family.model_use == ModelUse::Calls {
        return None;
    }
    match run.role {
        Role::Worker => Some(worker(stage, brief)),
        Role::Verifier => Some(verifier(site, stage, brief)),
        Role::Gate => None,
    }
}

/// A worker: the card's script, with a handoff at its end unless the script wrote one.
fn worker(stage: &Stage, brief: &Brief) -> String {
    let paths: Vec<&str> = brief.card.deliverables.iter().map(|deliverable| deliverable.path.as_str()).collect();
    let handoff = |status: &str, notes: &str| json!({"stage_id": stage.id, "status": status, "deliverables": paths, "notes": notes});
    let script = brief.card.script.as_deref().unwrap_or("echo 'the card has no ## Script block' >&2\nexit 64");
    format!(
        "outbox=$PWD/.autometta/outbox\n\
         finish() {{\n\
         \x20 code=$?\n\
         \x20 if [ ! -e \"$outbox/handoff.json\" ]; then\n\
         \x20   mkdir -p \"$outbox\"\n\
         \x20   if [ \"$code\" -eq 0 ]; then printf '%s\\n' {pass}; else printf '%s\\n' {fail}; fi \\\n\
         \x20     >\"$outbox/handoff.json\"\n\
         \x20 fi\n\
         }}\n\
         trap finish EXIT\n\
         set -eu\n\
         {script}\n",
        pass = quoted(&handoff("pass", "the script exited 0").to_string()),
        fail = quoted(&handoff("fail", "the script failed; its output is in the run's stderr.log").to_string()),
    )
}

/// A verifier: every acceptance command again; the first that fails makes the verdict.
fn verifier(site: &Site, stage: &Stage, brief: &Brief) -> String {
    let verdict = |overall: &str, evidence: &str| -> Value {
        let criteria: Vec<Value> = (1..)
            .zip(&brief.card.criteria)
            .map(|(id, name)| json!({"id": id, "name": name, "verdict": overall, "evidence": evidence}))
            .collect();
        json!({
            "stage_id": stage.id,
            "overall": overall,
            "headline": brief.card.title,
            "criteria": criteria,
            "additional_findings": "",
        })
    };
    let mut text = String::from("set -u\nout=$PWD/.autometta/outbox/verdict.json\nmkdir -p \"${out%/*}\"\n");
    if brief.card.commands.is_empty() {
        let blocked = verdict("BLOCKED", "the card has no acceptance command, and this verifier can only run commands");
        return format!("{text}printf '%s\\n' {} >\"$out\"\n", quoted(&blocked.to_string()));
    }
    let mut evidence = Vec::new();
    for command in brief::setup(&site.manifest).map(|setup| setup.run).iter().chain(&brief.card.commands) {
        let shown = one_line(command);
        let failed = verdict("FAIL", &format!("command `{shown}` failed when it was run again"));
        evidence.push(format!("command `{shown}` exited 0"));
        text = format!(
            "{text}if ! sh -euc {}; then\n  printf '%s\\n' {} >\"$out\"\n  exit 0\nfi\n",
            quoted(command),
            quoted(&failed.to_string())
        );
    }
    let passed = verdict("PASS", &evidence.join("; "));
    format!("{text}printf '%s\\n' {} >\"$out\"\n", quoted(&passed.to_string()))
}

/// A command on one line, for evidence.
fn one_line(command: &str) -> String {
    const SHOWN: usize = 200;
    let line = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > SHOWN { line.chars().take(SHOWN).chain("…".chars()).collect() } else { line }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_of_the_shell() {
        assert_eq!(quoted("it's \"$x\""), r#"'it'\''s "$x"'"#);
    }
}
