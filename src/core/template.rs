//! Filling in the texts under `templates/`: the agents' prompts and the blank card.
//!
//! A template has `{{name}}` placeholders and nothing else: no conditions, no loops, no escapes. What is filled in is
//! never looked at again, so a card that itself contains `{{…}}` arrives unchanged.

use std::collections::BTreeMap;

use thiserror::Error;

/// The prompt of a worker; it takes [`WORKER_VARIABLES`].
pub const WORKER: &str = include_str!("../../templates/worker.md");
/// The prompt of a verifier; it takes [`VERIFIER_VARIABLES`].
pub const VERIFIER: &str = include_str!("../../templates/verifier.md");
/// The prompt of a verifier on an adversarial seat; it takes [`VERIFIER_VARIABLES`].
pub const VERIFIER_ADVERSARIAL: &str = include_str!("../../templates/verifier-adversarial.md");
/// The blank card that `card new` writes; it takes [`STAGE_CARD_VARIABLES`].
pub const STAGE_CARD: &str = include_str!("../../templates/stage-card.md");
/// One page for whoever plans a night; it takes no variables.
pub const ORCHESTRATOR_CHECKLIST: &str = include_str!("../../templates/orchestrator-checklist.md");

/// What [`WORKER`] takes. `evidence` is empty, or a section of its own with what failed before and what was answered.
pub const WORKER_VARIABLES: [&str; 9] =
    ["stage", "title", "worktree", "card_path", "card", "outbox", "handoff_shape", "attempt", "evidence"];

/// What [`VERIFIER`] takes. `earlier` is empty, or a section of its own with why the seat's answer before did not count;
/// `scoring` is empty, or one more rule.
pub const VERIFIER_VARIABLES: [&str; 14] = [
    "stage",
    "title",
    "card",
    "candidate_tree",
    "base_commit",
    "worktree",
    "diff_stat",
    "gate_results",
    "worker_notes",
    "flags",
    "verdict_shape",
    "criteria_count",
    "earlier",
    "scoring",
];

/// What [`STAGE_CARD`] takes.
pub const STAGE_CARD_VARIABLES: [&str; 2] = ["stage", "title"];

/// Why a template could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A placeholder that nobody gave a value for.
    #[error("line {line} of the template asks for `{name}`, which has no value; correct the placeholder's name")]
    Unknown {
        /// The name between the braces.
        name: String,
        /// The line it stands on, counted from 1.
        line: usize,
    },
    /// A placeholder that does not end on its line.
    #[error("line {line} of the template opens a placeholder and does not close it; add `}}}}`")]
    Unclosed {
        /// The line it stands on, counted from 1.
        line: usize,
    },
}

/// The template with each `{{name}}` replaced by its value. Values that the template does not ask for are left out.
pub fn render(template: &str, values: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let line = template[..template.len() - after.len()].matches('\n').count() + 1;
        let (name, tail) =
            after.split_once("}}").filter(|(name, _)| !name.contains('\n')).ok_or(TemplateError::Unclosed { line })?;
        let value = values.get(name).ok_or_else(|| TemplateError::Unknown { name: name.to_owned(), line })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::card::Card;
    use crate::core::ids::StageId;

    fn values(pairs: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn placeholders_are_replaced_once_and_never_again() {
        let values = values(&[("a", "{{b}}"), ("b", "}} {{"), ("empty", "")]);
        for (template, filled) in [
            ("", ""),
            ("plain }} text { {", "plain }} text { {"),
            ("{{a}}", "{{b}}"),
            ("<{{a}}{{empty}}{{b}}>", "<{{b}}}} {{>"),
            ("ü{{a}}\n{{a}}ü", "ü{{b}}\n{{b}}ü"),
        ] {
            assert_eq!(render(template, &values).as_deref(), Ok(filled), "{template}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_filled_names_its_line() {
        let values = values(&[("a", "1")]);
        let unknown = |name: &str, line| TemplateError::Unknown { name: name.to_owned(), line };
        for (template, error) in [
            ("{{b}}", unknown("b", 1)),
            ("{{a}}\n\n {{ a }}", unknown(" a ", 3)),
            ("{{}}", unknown("", 1)),
            ("{{{a}}}", unknown("{a", 1)),
            ("{{a}} {{a", TemplateError::Unclosed { line: 1 }),
            ("\n{{a\n}}", TemplateError::Unclosed { line: 2 }),
        ] {
            assert_eq!(render(template, &values), Err(error), "{template}");
        }
        let text = TemplateError::Unclosed { line: 2 }.to_string();
        assert!(text.ends_with("add `}}`"), "{text}");
    }

    #[test]
    fn each_template_asks_for_its_variables_and_no_others() {
        for (template, names) in [
            (WORKER, WORKER_VARIABLES.as_slice()),
            (VERIFIER, &VERIFIER_VARIABLES),
            (VERIFIER_ADVERSARIAL, &VERIFIER_VARIABLES),
            (STAGE_CARD, &STAGE_CARD_VARIABLES),
            (ORCHESTRATOR_CHECKLIST, &[]),
        ] {
            let values: BTreeMap<_, _> = names.iter().map(|name| (*name, format!("[{name}]"))).collect();
            let filled = render(template, &values).expect("every placeholder is a known variable");
            for name in names {
                assert!(filled.contains(&format!("[{name}]")), "`{name}` is never asked for:\n{filled}");
            }
        }
    }

    #[test]
    fn the_blank_card_is_refused_until_it_is_filled_in() {
        let stage: StageId = "07-new".parse().expect("id");
        let blank = render(STAGE_CARD, &values(&[("stage", "07-new"), ("title", "<<what it does>>")])).expect("card");
        let faults = Card::parse(stage.clone(), &blank).expect_err("a blank card");
        let (open, others): (Vec<_>, Vec<_>) = faults.0.iter().partition(|fault| fault.message.contains("placeholder"));
        assert_eq!(open.len(), blank.matches("<<").count(), "{faults}");
        assert_eq!(others.len(), 1, "{faults}");
        assert!(others[0].message.contains("holds no command"), "{faults}");

        let answer = |line: &str| match line.split_once("<<") {
            Some((before, _)) if line.contains("Worker:") => format!("{before}A <a@local>\n"),
            Some((before, _)) if line.contains("Verifier:") => format!("{before}B <b@local>\n"),
            Some((before, _)) if line.contains("must not change") => format!("{before}`y`\n"),
            Some((before, _)) => format!("{before}`src/x.rs`\n"),
            None if line.starts_with("# the command") => "true\n".to_owned(),
            None => format!("{line}\n"),
        };
        let filled: String = blank.lines().map(answer).collect();
        let parsed = Card::parse(stage, &filled).expect("a filled-in card");
        assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    }
}
