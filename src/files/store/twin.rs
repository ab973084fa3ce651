//! `.state.json`: the same as a large `state.yaml`, in a form that is quick to read. YAML costs some thirty times what
//! JSON does, and a queue of hundreds is read by every tick that does something.
//!
//! Nothing is known by it alone: it holds for the very bytes of `state.yaml` that it names, and for the program that
//! wrote it. Where it is missing, torn, or left behind by a file that was written since, the YAML is read.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Layout, StoreError, decode_state};
use crate::core::ids::StageId;
use crate::core::state::{Stage, State};
use crate::core::state_doc::{StageDoc, StateDoc};
use crate::files::atomic::{self, Durability};
use crate::files::disk::Disk;
use crate::files::document;
use crate::files::journal::PROGRAM;
use crate::files::ledger::sha256_hex;

/// The first line. On the second follows the state without its stages, and then each of them on its own.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    /// The program that wrote it.
    program: String,
    /// The sha256 of the `state.yaml` that it is the twin of.
    state_yaml: String,
    /// The sha256 of what follows.
    sha256: String,
}

impl Label {
    fn of(state_yaml: &str, rest: &str) -> Self {
        let sum = |text: &str| sha256_hex(text.as_bytes());
        Self { program: PROGRAM.to_owned(), state_yaml: sum(state_yaml), sha256: sum(rest) }
    }
}

/// A stage as it was read or encoded last.
#[derive(Debug, PartialEq)]
struct Written {
    stage: Stage,
    /// Its lines of `state.yaml`.
    yaml: String,
    /// Its line of the twin.
    json: String,
}

impl Written {
    fn new(stage: &Stage) -> Result<Self, String> {
        let doc = StageDoc::from(stage);
        let yaml = document::to_yaml(&[&doc]).map_err(|error| error.to_string())?;
        let json = serde_json::to_string(&doc).map_err(|error| error.to_string())?;
        Ok(Self { stage: stage.clone(), yaml, json })
    }
}

/// The stages as they were read or encoded last: those that are still the same need not be made into text again.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<StageId, Written>);

/// Reads a state that this program wrote, with its texts; none where it has no twin.
pub(super) fn read<D: Disk>(disk: &D, layout: &Layout, state_yaml: &[u8]) -> Option<(State, Texts)> {
    if state_yaml.len() < disk.twin_from() {
        return None;
    }
    let bytes = document::read_on(disk, &layout.state_twin()).ok()??;
    let (state_yaml, twin) = (std::str::from_utf8(state_yaml).ok()?, std::str::from_utf8(&bytes).ok()?);
    let (label, rest) = twin.split_once('\n')?;
    if serde_json::from_str::<Label>(label).ok()? != Label::of(state_yaml, rest) {
        return None;
    }
    let mut lines = rest.lines();
    let mut doc: StateDoc = serde_json::from_str(lines.next()?).ok()?;
    let stages: Vec<&str> = lines.collect();
    doc.stages = stages.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>().ok()?;
    let state = doc.into_state().ok()?;
    debug_assert_eq!(Some(&state), decode_state(&layout.state_yaml(), state_yaml.as_bytes()).ok().as_ref());
    let texts = Texts::cut(state_yaml, &stages, &state)?;
    Some((state, texts))
}

/// Writes the twin of a state that has been written, or removes one that is not needed any more. It is not synced, and
/// nothing is lost without it.
pub(super) fn write<D: Disk>(disk: &D, layout: &Layout, state: &State, state_yaml: &str, texts: &Texts) {
    let path = layout.state_twin();
    if state_yaml.len() < disk.twin_from() {
        if disk.exists(&path) {
            drop(atomic::remove_on(disk, &path));
        }
        return;
    }
    let written = texts.twin(state, state_yaml).and_then(|twin| {
        atomic::write_on(disk, &path, twin.as_bytes(), Durability::Volatile).map_err(|error| error.to_string())
    });
    if let Err(why) = written {
        debug!("{why}; the next tick reads {}", layout.state_yaml().display());
    }
}

const STAGES: &str = "\nstages:\n";
const NO_STAGES: &str = "\nstages: []\n";

impl Texts {
    /// Cuts `state.yaml` into its stages, each beside its line of the twin.
    fn cut(state_yaml: &str, twin: &[&str], state: &State) -> Option<Self> {
        let mut texts = HashMap::with_capacity(state.stages.len());
        if state.stages.is_empty() {
            return Some(Self(texts));
        }
        let (_, rest) = state_yaml.split_once(STAGES)?;
        let mut starts = std::iter::once(0).chain(rest.match_indices("\n- ").map(|(at, _)| at + 1)).peekable();
        let end = rest.rfind("\nstage_count: ")? + 1;
        for (stage, json) in state.stages.iter().zip(twin) {
            let start = starts.next()?;
            let yaml = rest.get(start..starts.peek().copied().unwrap_or(end))?.to_owned();
            texts.insert(stage.id.clone(), Written { stage: stage.clone(), yaml, json: (*json).to_owned() });
        }
        starts.next().is_none().then_some(Self(texts))
    }

    /// `state.yaml` as text; remembers the texts of its stages.
    pub(super) fn encode(&mut self, layout: &Layout, state: &State) -> Result<String, StoreError> {
        let encode = |why: String| StoreError::Encode { path: layout.state_yaml(), why };
        let frame = document::to_yaml(&StateDoc::frame(state)).map_err(|error| encode(error.to_string()))?;
        if state.stages.is_empty() {
            return Ok(frame);
        }
        let (head, foot) =
            frame.rsplit_once(NO_STAGES).ok_or_else(|| encode("it has no place for stages".to_owned()))?;
        let mut text = [head, STAGES].concat();
        let mut texts = HashMap::with_capacity(state.stages.len());
        for stage in &state.stages {
            let known = self.0.remove(&stage.id).filter(|known| known.stage == *stage);
            let own = known.map_or_else(|| Written::new(stage), Ok).map_err(encode)?;
            text.push_str(&own.yaml);
            texts.insert(stage.id.clone(), own);
        }
        text.push_str(foot);
        self.0 = texts;
        Ok(text)
    }

    /// The twin of a state.
    fn twin(&self, state: &State, state_yaml: &str) -> Result<String, String> {
        let text = |error: serde_json::Error| error.to_string();
        let mut rest = serde_json::to_string(&StateDoc::frame(state)).map_err(text)?;
        for stage in &state.stages {
            rest.push('\n');
            match self.0.get(&stage.id).filter(|written| written.stage == *stage) {
                Some(written) => rest.push_str(&written.json),
                None => rest.push_str(&serde_json::to_string(&StageDoc::from(stage)).map_err(text)?),
            }
        }
        let label = serde_json::to_string(&Label::of(state_yaml, &rest)).map_err(text)?;
        Ok([&label, "\n", &rest].concat())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests damage files by hand")]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::files::disk::Os;

    fn layout(base: &TempDir) -> Layout {
        std::fs::create_dir(base.path().join("state")).expect("folder");
        Layout::new(base.path(), "state")
    }

    /// A state of stages with these numbers and words.
    fn state(stages: &[(u16, String)]) -> State {
        let stages: Vec<_> = stages
            .iter()
            .map(|(number, words)| {
                serde_json::json!({
                    "id": format!("{number:02}-work"), "title": words, "card": words, "status": "pending", "attempt": 1,
                    "worker": "A <a@local>", "verifiers": ["B <b@local>"], "base_branch": "main", "path_claims": [words],
                    "reason": {"code": "base-moved", "detail": words}, "tokens": 1, "cost_usd": 0.1,
                })
            })
            .collect();
        let doc = serde_json::json!({
            "version": 2, "repo_id": "r", "tick_count": stages.len(), "last_tick_at": "2026-11-22T06:59:33.333Z",
            "stage_count": stages.len(), "stages": stages,
        });
        let doc: StateDoc = serde_json::from_value(doc).expect("a document");
        doc.into_state().expect("a state")
    }

    fn words() -> impl Strategy<Value = String> {
        let lines = prop_oneof![
            Just("- id: 01-work"),
            Just("stages:"),
            Just("stages: []"),
            Just("stage_count: 7"),
            Just("  - a"),
            Just(""),
            Just("true"),
            Just("é\u{7f}\u{2028}\t"),
            Just("# no"),
            Just("a: b"),
        ];
        prop::collection::vec(lines, 0..4).prop_map(|lines| lines.join("\n"))
    }

    fn stages() -> impl Strategy<Value = Vec<(u16, String)>> {
        prop::collection::btree_map(0..12_u16, words(), 0..6)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
    }

    proptest! {
        #[test]
        fn texts_that_are_put_together_are_what_the_whole_would_be(after in prop::collection::vec(stages(), 1..4)) {
            let layout = Layout::new(Path::new("/repo"), "state");
            let mut texts = Texts::default();
            for stages in after {
                let state = state(&stages);
                let text = texts.encode(&layout, &state).expect("text");
                prop_assert_eq!(&text, &document::to_yaml(&StateDoc::from(&state)).expect("text"));
                if !stages.is_empty() {
                    let twin = texts.twin(&state, &text).expect("a twin");
                    let lines: Vec<&str> = twin.lines().skip(2).collect();
                    let cut = Texts::cut(&text, &lines, &state).expect("its lines");
                    prop_assert_eq!(&cut.0, &texts.0);
                    texts = cut;
                }
            }
        }
    }

    #[test]
    fn a_twin_tells_what_its_file_tells_and_nothing_of_any_other() {
        let base = TempDir::new().expect("folder");
        let layout = layout(&base);
        let many: Vec<_> = (0..60).map(|number| (number, "x".repeat(200))).collect();
        let known = state(&many);
        let mut texts = Texts::default();
        let text = texts.encode(&layout, &known).expect("text");
        write(&Os, &layout, &known, &text, &texts);
        let (read_back, cut) = read(&Os, &layout, text.as_bytes()).expect("a twin");
        assert_eq!((read_back, cut.0), (known, texts.0));
        let edited = text.replacen("xxx", "yyy", 1);
        assert!(read(&Os, &layout, edited.as_bytes()).is_none(), "the file was edited");
        let twin = std::fs::read(layout.state_twin()).expect("twin");
        for at in (0..twin.len()).step_by(997) {
            let mut torn = twin.clone();
            torn[at] ^= 1;
            std::fs::write(layout.state_twin(), &torn).expect("written");
            assert!(read(&Os, &layout, text.as_bytes()).is_none(), "byte {at} is another");
            std::fs::write(layout.state_twin(), &twin[..at]).expect("written");
            assert!(read(&Os, &layout, text.as_bytes()).is_none(), "cut off at {at}");
        }
        std::fs::remove_file(layout.state_twin()).expect("removed");
        assert!(read(&Os, &layout, text.as_bytes()).is_none(), "it is gone");
    }

    #[test]
    fn a_small_state_needs_none() {
        let base = TempDir::new().expect("folder");
        let layout = layout(&base);
        let few = state(&[(1, "x".to_owned())]);
        let mut texts = Texts::default();
        let text = texts.encode(&layout, &few).expect("text");
        write(&Os, &layout, &few, &text, &texts);
        assert!(!layout.state_twin().exists());
        std::fs::write(layout.state_twin(), "of a queue that was longer").expect("file");
        write(&Os, &layout, &few, &text, &texts);
        assert!(!layout.state_twin().exists());
    }
}
