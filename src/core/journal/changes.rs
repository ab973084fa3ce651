//! What a commit changed in the two documents, as few words as possible, and laying it over what was there before.
//!
//! Places are JSON pointers into the documents as JSON. Applied in order, the changes of a commit turn the documents
//! before it into those after it, byte for byte, whatever version of the machine decided them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::budget::Budget;
use crate::core::state::{Stage, State};
use crate::core::state_doc::{StageDoc, StateDoc};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// There is another value at this place, or a new one.
    Set {
        /// Where.
        at: String,
        /// What.
        to: Value,
    },
    /// There is nothing at this place any more.
    Unset {
        /// Where.
        at: String,
    },
    /// A list has other elements at these places.
    Splice {
        /// The list.
        at: String,
        /// The first that goes, and where the new ones come.
        from: usize,
        /// How many go.
        drop: usize,
        /// What comes.
        add: Vec<Value>,
    },
}

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// In the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Change>,
    /// In the budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budget: Vec<Change>,
}

/// A place at which two documents differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The place, such as `stages[1].phase`, or `budget.tokens_spent`.
    pub at: String,
    /// What is expected there; null for nothing.
    pub expected: Value,
    /// What is there; null for nothing.
    pub found: Value,
}

/// A document without its stages, which are compared one by one.
fn frame(state: &State) -> Result<Value, serde_json::Error> {
    let State { repo_id, tick_count, last_tick_at, stages, notices, slept } = state;
    let bare = State {
        repo_id: repo_id.clone(),
        tick_count: *tick_count,
        last_tick_at: *last_tick_at,
        stages: Vec::new(),
        notices: notices.clone(),
        slept: slept.clone(),
    };
    let mut doc = StateDoc::from(&bare);
    doc.stage_count = stages.len();
    serde_json::to_value(doc)
}

fn stage(stage: &Stage) -> Result<Value, serde_json::Error> {
    serde_json::to_value(StageDoc::from(stage))
}

fn of_stages(before: &[Stage], after: &[Stage], changes: &mut Vec<Change>) -> Result<(), serde_json::Error> {
    let is_same_list = before.len() == after.len() && before.iter().zip(after).all(|(old, new)| old.id == new.id);
    if is_same_list {
        for (index, (old, new)) in before.iter().zip(after).enumerate().filter(|(_, (old, new))| old != new) {
            compare(&stage(old)?, &stage(new)?, &format!("/stages/{index}"), changes);
        }
        return Ok(());
    }
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let (old, new) = (&before[head..], &after[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let add = new[..new.len() - tail].iter().map(stage).collect::<Result<_, _>>()?;
    changes.push(Change::Splice { at: "/stages".to_owned(), from: head, drop: old.len() - tail, add });
    Ok(())
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.budget.is_empty()
    }

    /// What turns one pair of documents into another.
    ///
    /// # Errors
    /// A value that JSON has no form for.
    pub fn between(before: (&State, &Budget), after: (&State, &Budget)) -> Result<Self, serde_json::Error> {
        let mut changes = Self::default();
        if before.0 != after.0 {
            compare(&frame(before.0)?, &frame(after.0)?, "", &mut changes.state);
            of_stages(&before.0.stages, &after.0.stages, &mut changes.state)?;
        }
        if before.1 != after.1 {
            compare(&serde_json::to_value(before.1)?, &serde_json::to_value(after.1)?, "", &mut changes.budget);
        }
        Ok(changes)
    }

    /// Lays the changes over documents.
    ///
    /// # Errors
    /// They do not fit, in words.
    pub fn apply(&self, state: &State, budget: &Budget) -> Result<(State, Budget), String> {
        let words = |error: serde_json::Error| error.to_string();
        let state = if self.state.is_empty() {
            state.clone()
        } else {
            let mut value = serde_json::to_value(StateDoc::from(state)).map_err(words)?;
            lay(&mut value, &self.state)?;
            let doc: StateDoc = serde_json::from_value(value).map_err(words)?;
            doc.into_state().map_err(|faults| faults.to_string())?
        };
        let budget = if self.budget.is_empty() {
            budget.clone()
        } else {
            let mut value = serde_json::to_value(budget).map_err(words)?;
            lay(&mut value, &self.budget)?;
            serde_json::from_value(value).map_err(words)?
        };
        Ok((state, budget))
    }
}

/// The first place at which two pairs of documents differ; none where they are the same.
///
/// # Errors
/// A value that JSON has no form for.
pub fn first_difference(
    expected: (&State, &Budget),
    found: (&State, &Budget),
) -> Result<Option<Difference>, serde_json::Error> {
    let all = Changes::between(expected, found)?;
    let documents = |change: &Change, name: &str| -> Result<Difference, serde_json::Error> {
        let (expected, found) = match name {
            "budget." => (serde_json::to_value(expected.1)?, serde_json::to_value(found.1)?),
            _ => (serde_json::to_value(StateDoc::from(expected.0))?, serde_json::to_value(StateDoc::from(found.0))?),
        };
        let at = match change {
            Change::Set { at, .. } | Change::Unset { at } => at.clone(),
            Change::Splice { at, from, .. } => format!("{at}/{from}"),
        };
        let value = |document: &Value| document.pointer(&at).cloned().unwrap_or(Value::Null);
        let (expected, found) = (value(&expected), value(&found));
        Ok(Difference { at: format!("{name}{}", place(&at)), expected, found })
    };
    // A stage that went another way says more than the counters around it.
    let telling = |change: &&Change| matches!(change, Change::Set { at, .. } | Change::Unset { at } | Change::Splice { at, .. } if at.starts_with("/stages"));
    let of_state = all.state.iter().find(telling).or(all.state.first());
    match (of_state, all.budget.first()) {
        (Some(change), _) => documents(change, "").map(Some),
        (None, Some(change)) => documents(change, "budget.").map(Some),
        (None, None) => Ok(None),
    }
}

/// A pointer as people write places.
fn place(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    text
}

/// What turns one value into another.
fn compare(before: &Value, after: &Value, at: &str, changes: &mut Vec<Change>) {
    let start = changes.len();
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                changes.push(Change::Unset { at: below(key) });
            }
            for (key, value) in new {
                match old.get(key) {
                    Some(known) => compare(known, value, &below(key), changes),
                    None => changes.push(Change::Set { at: below(key), to: value.clone() }),
                }
            }
            shorten(start, after, at, changes);
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(old, new, &format!("{at}/{index}"), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
            let (old, new) = (&old[head..], &new[head..]);
            let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
            let add = new[..new.len() - tail].to_vec();
            changes.push(Change::Splice { at: at.to_owned(), from: head, drop: old.len() - tail, add });
        }
        _ => changes.push(Change::Set { at: at.to_owned(), to: after.clone() }),
    }
}

/// Says what an object inside of a stage is now, where that takes fewer words than what has changed in it.
fn shorten(start: usize, after: &Value, at: &str, changes: &mut Vec<Change>) {
    const STAGE: usize = 2;
    if changes.len() - start < 2 || at.split('/').skip(1).count() <= STAGE {
        return;
    }
    let whole = vec![Change::Set { at: at.to_owned(), to: after.clone() }];
    let length = |changes: &[Change]| serde_json::to_string(changes).map_or(usize::MAX, |text| text.len());
    if length(&whole) < length(&changes[start..]) {
        changes.truncate(start);
        changes.extend(whole);
    }
}

/// The object that holds a place, and the place's name in it.
fn holder<'a>(value: &'a mut Value, at: &str) -> Option<(&'a mut Map<String, Value>, String)> {
    let (parent, key) = at.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    Some((value.pointer_mut(parent)?.as_object_mut()?, key))
}

fn lay(value: &mut Value, changes: &[Change]) -> Result<(), String> {
    for change in changes {
        let fits = match change {
            Change::Set { at, to } => match value.pointer_mut(at) {
                Some(place) => {
                    *place = to.clone();
                    true
                }
                None => holder(value, at).map(|(object, key)| object.insert(key, to.clone())).is_some(),
            },
            Change::Unset { at } => holder(value, at).and_then(|(object, key)| object.shift_remove(&key)).is_some(),
            Change::Splice { at, from, drop, add } => match value.pointer_mut(at).and_then(Value::as_array_mut) {
                Some(list) if from.checked_add(*drop).is_some_and(|end| end <= list.len()) => {
                    list.splice(from..&(from + drop), add.iter().cloned());
                    true
                }
                _ => false,
            },
        };
        if !fits {
            return Err(format!("a change does not fit what was there before: {change:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..4_u32).prop_map(Value::from), "[a~/]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c~/]{1,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn changes_lead_from_any_value_to_any_other(before in value(), after in value()) {
            let mut changes = Vec::new();
            compare(&before, &after, "", &mut changes);
            prop_assert_eq!(changes.is_empty(), before == after);
            let text = serde_json::to_string(&changes).expect("json");
            let changes: Vec<Change> = serde_json::from_str(&text).expect("changes");
            let mut laid = before;
            lay(&mut laid, &changes).expect("fits");
            prop_assert_eq!(laid, after);
        }
    }

    #[test]
    fn few_words_are_made_of_little_change() {
        let before = json!({"stages": [{"id": "a", "runs": [1, 2]}, {"id": "b"}, {"id": "c"}], "n": 1});
        let after = json!({"stages": [{"id": "a", "runs": [1, 2, 3]}, {"id": "c"}], "n": 1});
        let mut changes = Vec::new();
        compare(&before, &after, "", &mut changes);
        let splice =
            Change::Splice { at: "/stages".to_owned(), from: 0, drop: 2, add: vec![after["stages"][0].clone()] };
        assert_eq!(changes, [splice]);
        let mut changes = Vec::new();
        compare(&json!({"l": [1, 2, 3]}), &json!({"l": [0, 1, 2, 3]}), "", &mut changes);
        assert_eq!(changes, [Change::Splice { at: "/l".to_owned(), from: 0, drop: 0, add: vec![json!(0)] }]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for change in [
            Change::Unset { at: "/gone".to_owned() },
            Change::Set { at: "/no/such".to_owned(), to: Value::Null },
            Change::Splice { at: "/list".to_owned(), from: 1, drop: 2, add: Vec::new() },
            Change::Splice { at: "/list".to_owned(), from: usize::MAX, drop: 2, add: Vec::new() },
        ] {
            let said = lay(&mut json!({"list": [1, 2]}), std::slice::from_ref(&change)).expect_err("does not fit");
            assert!(said.contains("does not fit"), "{change:?}: {said}");
        }
    }

    #[test]
    fn places_read_like_code() {
        assert_eq!(place("/stages/1/runs/0/stopping"), "stages[1].runs[0].stopping");
        assert_eq!(place("/a~1b"), "a/b");
    }
}
