//! The inbox: everything that waits for a person, with the command that answers it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::budget::{Budget, HaltReason};
use super::ids::StageId;
use super::notice::{NoticeKind, kind_of, needs_an_edit, way_out};
use super::state::{Life, Reason, State};

/// One thing that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Item {
    /// What kind of thing.
    pub kind: ItemKind,
    /// The stage; none for what concerns the whole repository.
    pub stage: Option<StageId>,
    /// Since when it waits, where that is known.
    pub since: Option<DateTime<Utc>>,
    /// Why: a code for machines.
    pub code: String,
    /// Why, in the words of whoever said it; may be several lines.
    pub detail: String,
    /// What to do about it, in a sentence.
    pub way_out: String,
}

/// What kind of thing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// Nothing is dispatched until a person says so.
    Halt,
    /// A worker or a verifier asks something.
    Question,
    /// A change waits to be let land.
    Approval,
    /// An approved change cannot land before the operator's own files let it.
    Landing,
    /// A card has to be edited.
    Card,
    /// A stage ended without landing.
    Escalation,
}

impl ItemKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Question => "question",
            Self::Approval => "approval",
            Self::Landing => "landing",
            Self::Card => "card",
            Self::Escalation => "escalation",
        }
    }
}

/// Everything that waits for a person: by kind, the most pressing first, and then as queued.
pub fn items(state: &State, budget: &Budget) -> Vec<Item> {
    let mut items: Vec<Item> = budget
        .halt_reasons
        .iter()
        .map(|halt| Item {
            kind: ItemKind::Halt,
            stage: None,
            since: budget.halted_at,
            code: halt.reason.as_str().to_owned(),
            detail: halt.detail.clone(),
            way_out: match halt.reason {
                HaltReason::StateCorrupt => "`autometta doctor --restore`, then `autometta resume`".to_owned(),
                reason if reason.is_spend_cap() => {
                    "`autometta budget set` raises the cap and lifts this; `autometta budget` shows every cap"
                        .to_owned()
                }
                _ => "`autometta resume` once that is mended".to_owned(),
            },
        })
        .collect();
    for stage in &state.stages {
        let mut item = |kind, since, reason: &Reason, way_out| {
            items.push(Item {
                kind,
                stage: Some(stage.id.clone()),
                since,
                code: reason.code.clone(),
                detail: reason.detail.clone(),
                way_out,
            });
        };
        match &stage.life {
            Life::Over(over) => {
                let kind = match kind_of(over) {
                    Some(NoticeKind::Question) => ItemKind::Question,
                    Some(NoticeKind::Approval) => ItemKind::Approval,
                    Some(_) => ItemKind::Escalation,
                    None => continue,
                };
                let reason = over.reason.clone().unwrap_or_else(|| Reason::new(over.status.as_str(), ""));
                item(kind, Some(over.at), &reason, way_out(stage, over));
            }
            Life::Landing(landing) => {
                if let Some(reason) = &landing.waiting {
                    let way_out =
                        format!("it lands by itself once that is mended; `autometta skip {}` closes it", stage.id);
                    item(ItemKind::Landing, Some(landing.decided_at), reason, way_out);
                }
            }
            Life::Pending(pending) => {
                if let Some(reason) = pending.reason.as_ref().filter(|reason| needs_an_edit(&reason.code)) {
                    let way_out = format!("mend {}; the next tick reads it again", stage.card);
                    item(ItemKind::Card, None, reason, way_out);
                }
            }
            Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => {}
        }
    }
    items.sort_by_key(|item| item.kind);
    items
}
