//! The YAML parser as it is used here: its strictness, its limits, and its errors in plain words.

use serde::de::DeserializeOwned;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options, UserMessageFormatter};

use super::tree::Tree;
use crate::core::fault::Fault;

/// What is wrong with a document that has text but no content.
pub(super) const NOTHING: &str = "it holds nothing but comments";
/// Nodes in one document: a stage has some 60, so this is a queue of tens of thousands.
const MAX_NODES: usize = 4_000_000;
/// Levels of nesting: our documents have fewer than ten, and each level costs stack.
const MAX_DEPTH: usize = 16;
/// Events that aliases may add: plenty for a person's anchors, nothing for a bomb.
const MAX_REPLAYED: usize = 100_000;

/// A typed value.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_saphyr::from_str_with_options(text, options())
}

/// The document with its lines.
pub(super) fn tree(text: &str) -> Result<Tree, Error> {
    parse(text).map(|root| Tree::from_root(text, root))
}

/// The parser's error as a fault, with its place where the tree is known.
pub(super) fn fault(error: &Error, tree: Option<&Tree>) -> Fault {
    let message = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is given twice"),
        Error::MultipleDocuments { .. } => "a second document begins here; only one may stand in a file".to_owned(),
        Error::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not supported; write the keys out".to_owned(),
        Error::Eof { .. } => NOTHING.to_owned(),
        Error::InvalidScalar { ty, .. } => format!("it is not in the range of a number of this kind ({ty})"),
        Error::Message { msg, .. } => msg.clone(),
        other => plain(&other.render_with_formatter(&UserMessageFormatter)),
    };
    let location = error.location();
    let place = location.as_ref().and_then(|location| tree?.place_at(location)).unwrap_or_default();
    let line = location.and_then(|location| usize::try_from(location.line()).ok()).filter(|line| *line > 0);
    Fault { line, place: place.to_owned(), message }
}

/// Whether this is an error that the type itself raised, such as a newtype that refused its text.
pub(super) fn is_own_check(error: &Error) -> bool {
    matches!(error.without_snippet(), Error::Message { .. })
}

/// One sentence without the place that the renderer appends: the fault carries the line itself.
fn plain(rendered: &str) -> String {
    let first = rendered.lines().next().unwrap_or(rendered).trim();
    let end = first.rfind(" at line ").unwrap_or(first.len());
    first[..end].trim_end_matches([',', ' ']).to_owned()
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}
