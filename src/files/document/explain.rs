//! A generic document held against the schema of its type, and every disagreement in plain words.

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind as Kind};
use jsonschema::{JsonType, Validator};
use schemars::JsonSchema;
use serde_json::{Map, Number, Value};

use super::tree::{Tree, step};
use crate::core::fault::Faults;

/// The longest piece of a document that a message quotes, in characters.
const MAX_QUOTED: usize = 60;
/// The most faults that one document reports: an agent may write anything, and nobody reads a million lines.
const MAX_FAULTS: usize = 100;

/// A schema, ready to be held against documents.
pub(super) struct Check {
    schema: Value,
    /// None only if a type's schema is not one, which the tests of that type would show; then nothing is found here
    /// and the typed parse speaks for itself.
    validator: Option<Validator>,
}

impl Check {
    /// The schema that `T` derives.
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self::with(schemars::schema_for!(T).to_value())
    }

    /// The schema that `T` derives, without room for keys that `T` would ignore.
    pub(super) fn closed<T: JsonSchema>() -> Self {
        let mut schema = schemars::schema_for!(T).to_value();
        close(&mut schema);
        Self::with(schema)
    }

    fn with(schema: Value) -> Self {
        // The dates of our types are parsed by chrono, so chrono decides here too.
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_format("date-time", |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().is_ok())
            .build(&schema)
            .ok();
        Self { schema, validator }
    }

    /// All disagreements, in the order of their lines.
    pub(super) fn faults(&self, value: &Value, tree: &Tree) -> Faults {
        let mut report = Report { schema: &self.schema, tree, faults: Faults::default() };
        for error in self.errors(value) {
            report.explain(&error);
        }
        report.sorted()
    }

    /// Only the keys that the schema does not know.
    pub(super) fn unknown_keys(&self, value: &Value, tree: &Tree) -> Faults {
        let mut report = Report { schema: &self.schema, tree, faults: Faults::default() };
        for error in self.errors(value) {
            report.unknown_within(&error);
        }
        report.sorted()
    }

    /// The document with each scalar as what the typed parse takes it for, where that is not what it looks like.
    ///
    /// YAML says of a type only what a plain scalar looks like, so the typed parse takes `commit: 1234567` for text
    /// where a text is wanted, `"3"` for a number, and nothing at all for an empty list. So must this.
    pub(super) fn as_typed(&self, tree: &Tree) -> Value {
        let mut changes = Vec::new();
        for error in self.errors(tree.value()) {
            collect_as_typed(&error, tree, &mut changes);
        }
        let mut value = tree.value().clone();
        for (place, typed) in changes {
            if let Some(found) = value.pointer_mut(&place) {
                *found = typed;
            }
        }
        value
    }

    fn errors<'v>(&'v self, value: &'v Value) -> Vec<ValidationError<'v>> {
        self.validator.as_ref().map(|validator| validator.iter_errors(value).collect()).unwrap_or_default()
    }
}

/// Forbids unknown keys in every object schema that names its keys.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn collect_as_typed(error: &ValidationError<'_>, tree: &Tree, changes: &mut Vec<(String, Value)>) {
    match error.kind() {
        Kind::Type { kind } => {
            let place = error.instance_path().as_str();
            if let Some(typed) = as_typed(error.instance(), tree.written(place), kind) {
                changes.push((place.to_owned(), typed));
            }
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| collect_as_typed(error, tree, changes));
        }
        _ => {}
    }
}

/// This value as one of the wanted types, where the typed parse sees it so.
fn as_typed(value: &Value, written: Option<&str>, wanted: &TypeKind) -> Option<Value> {
    let wanted = |one| wants(wanted, one);
    match value {
        Value::Number(_) | Value::Bool(_) if wanted(JsonType::String) => {
            Some(Value::String(written.map_or_else(|| value.to_string(), str::to_owned)))
        }
        Value::String(text) => {
            let text = text.trim();
            if wanted(JsonType::Integer) {
                let positive = text.parse::<u64>().ok().map(Value::from);
                positive.or_else(|| text.parse::<i64>().ok().map(Value::from))
            } else if wanted(JsonType::Number) {
                text.parse().ok().and_then(Number::from_f64).map(Value::Number)
            } else if wanted(JsonType::Boolean) {
                text.to_ascii_lowercase().parse().ok().map(Value::Bool)
            } else {
                None
            }
        }
        Value::Null if wanted(JsonType::Array) => Some(Value::Array(Vec::new())),
        Value::Null if wanted(JsonType::Object) => Some(Value::Object(Map::new())),
        _ => None,
    }
}

fn wants(kind: &TypeKind, wanted: JsonType) -> bool {
    match kind {
        TypeKind::Single(one) => *one == wanted,
        TypeKind::Multiple(set) => set.contains(wanted),
    }
}

/// Faults as they are collected for one document.
struct Report<'a> {
    schema: &'a Value,
    tree: &'a Tree,
    faults: Faults,
}

impl Report<'_> {
    fn add(&mut self, place: &str, message: String) {
        if self.is_full() {
            return;
        }
        let line = self.tree.line(place);
        // One sentence for one place: a second one would say the same thing in the schema's other words.
        if !self.faults.0.iter().any(|fault| fault.place == place && fault.message == message) {
            self.faults.add(line, place, message);
        }
    }

    fn is_full(&self) -> bool {
        self.faults.0.len() >= MAX_FAULTS
    }

    fn sorted(mut self) -> Faults {
        self.faults.0.sort_by(|one, two| (one.line, &one.place).cmp(&(two.line, &two.place)));
        if self.is_full() {
            self.faults.add(None, "", format!("and perhaps more; only {MAX_FAULTS} faults are listed"));
        }
        self.faults
    }

    fn explain(&mut self, error: &ValidationError<'_>) {
        let place = error.instance_path().as_str();
        let found = quoted(error.instance());
        let message = match error.kind() {
            Kind::AdditionalProperties { unexpected } => return self.unknown(error, unexpected),
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                return self.alternatives(error, context);
            }
            Kind::Required { property } => format!("`{}` is required", property.as_str().unwrap_or_default()),
            Kind::Type { kind } => format!("{found} is not {}", type_words(kind)),
            Kind::Enum { options } => format!("{found} is not {}", choice(options.as_array().into_iter().flatten())),
            Kind::Constant { expected_value } => format!("{found} is not {}", choice([expected_value.as_ref()])),
            Kind::Pattern { pattern } => match self.described(error) {
                Some(described) => format!("{found} does not have the right form; expected is {described}"),
                None => format!("{found} does not match `{pattern}`"),
            },
            Kind::Format { format } if format == "date-time" => {
                format!("{found} is not a time such as `2026-09-06T10:00:00Z`")
            }
            Kind::Format { format } => format!("{found} is not a {format}"),
            Kind::Minimum { limit } => format!("{found} is less than {limit}"),
            Kind::Maximum { limit } => format!("{found} is more than {limit}"),
            Kind::MinItems { limit } => format!("it has fewer than {limit} entries"),
            Kind::MaxItems { limit } => format!("it has more than {limit} entries"),
            Kind::MinLength { limit: 1 } => "it may not be empty".to_owned(),
            Kind::MinLength { limit } => format!("{found} is shorter than {limit} characters"),
            Kind::MaxLength { limit } => format!("{found} is longer than {limit} characters"),
            Kind::PropertyNames { error } => match self.described(error) {
                Some(described) => format!("the key {} is not {described}", quoted(error.instance())),
                None => format!("the key {} does not have the right form", quoted(error.instance())),
            },
            _ => error.to_string(),
        };
        self.add(place, message);
    }

    fn unknown(&mut self, error: &ValidationError<'_>, unexpected: &[String]) {
        let schema = error.schema_path().as_str();
        let around = schema.rsplit_once('/').and_then(|(around, _)| self.schema.pointer(around));
        let known = around.and_then(|around| around.get("properties")).and_then(Value::as_object);
        for key in unexpected {
            if self.is_full() {
                return;
            }
            let nearest = known.and_then(|known| similar(key, known.keys().map(String::as_str)));
            let message = match nearest {
                Some(nearest) => format!("unknown key {}; did you mean `{nearest}`?", quoted_text(key)),
                None => format!("unknown key {}", quoted_text(key)),
            };
            self.add(&step(error.instance_path().as_str(), key), message);
        }
    }

    fn unknown_within(&mut self, error: &ValidationError<'_>) {
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => self.unknown(error, unexpected),
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                for error in nearest(error, context).into_iter().flatten() {
                    self.unknown_within(error);
                }
            }
            _ => {}
        }
    }

    /// A value that fits none of several shapes: the faults of the shape that was meant, or the choices.
    fn alternatives(&mut self, error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) {
        if let Some(branch) = nearest(error, context) {
            return branch.iter().for_each(|error| self.explain(error));
        }
        // Every shape names a constant at one place: an enumeration, or the tag of a variant.
        let root = error.instance_path().as_str();
        let constants: Option<Vec<_>> = context.iter().map(|branch| branch.iter().find_map(constant)).collect();
        let constants = constants.unwrap_or_default();
        let place = constants.first().map(|(place, _)| *place).filter(|place| place.starts_with(root));
        match place.filter(|place| constants.iter().all(|(other, _)| other == place)) {
            Some(place) => {
                let found = error.instance().pointer(&place[root.len()..]).map(quoted).unwrap_or_default();
                let options = choice(constants.iter().flat_map(|(_, options)| options));
                self.add(place, format!("{found} is not {options}"));
            }
            None => self.add(root, shapes(error, context)),
        }
    }

    /// What the schema around an error says that it is for, as the rest of a sentence.
    fn described(&self, error: &ValidationError<'_>) -> Option<String> {
        let (around, _) = error.schema_path().as_str().rsplit_once('/')?;
        let text = self.schema.pointer(around)?.get("description")?.as_str()?;
        let paragraph = text.split("\n\n").next()?.replace('\n', " ");
        let paragraph = paragraph.trim().trim_end_matches('.');
        let mut letters = paragraph.chars();
        let first = letters.next()?;
        Some(first.to_lowercase().chain(letters).collect())
    }
}

/// The constants that an error asks for, with their place.
fn constant<'e>(error: &'e ValidationError<'static>) -> Option<(&'e str, Vec<Value>)> {
    let options = match error.kind() {
        Kind::Constant { expected_value } => vec![expected_value.as_ref().clone()],
        Kind::Enum { options } => options.as_array()?.clone(),
        _ => return None,
    };
    Some((error.instance_path().as_str(), options))
}

/// The one shape of several that this value was meant to have, where that is clear: the only one that is not of
/// another type and has not another tag, or else the only one of these that has its own key.
fn nearest<'c>(
    error: &ValidationError<'_>,
    context: &'c [Vec<ValidationError<'static>>],
) -> Option<&'c Vec<ValidationError<'static>>> {
    let root = error.instance_path().as_str();
    let is_another = |fault: &ValidationError<'static>| match fault.kind() {
        Kind::Type { .. } | Kind::Enum { .. } => fault.instance_path().as_str() == root,
        Kind::Constant { .. } => true,
        _ => false,
    };
    let lacks_its_key = |fault: &ValidationError<'static>| {
        matches!(fault.kind(), Kind::Required { .. }) && fault.instance_path().as_str() == root
    };
    // An optional enumeration: its faults are about the value, though they stand at the root.
    if let [branch, nothing] = context
        && is_only_nothing(nothing)
        && !is_only_nothing(branch)
    {
        return Some(branch);
    }
    let meant: Vec<_> = context.iter().filter(|branch| !branch.iter().any(is_another)).collect();
    if let [one] = meant.as_slice() {
        return Some(one);
    }
    let mut keyed = meant.into_iter().filter(|branch| !branch.iter().any(lacks_its_key));
    let first = keyed.next()?;
    keyed.next().is_none().then_some(first)
}

/// Whether this is how a value fails to be nothing.
fn is_only_nothing(branch: &[ValidationError<'static>]) -> bool {
    matches!(branch, [fault] if matches!(fault.kind(), Kind::Type { kind: TypeKind::Single(JsonType::Null) }))
}

/// What is wrong where no shape is nearer than another.
fn shapes(error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) -> String {
    let found = quoted(error.instance());
    let mut words: Vec<String> = Vec::new();
    for branch in context {
        let here = |fault: &&ValidationError<'static>| fault.instance_path() == error.instance_path();
        let word = branch.iter().filter(here).find_map(|fault| match fault.kind() {
            Kind::Required { property } => Some(format!("a mapping with `{}`", property.as_str().unwrap_or_default())),
            Kind::Constant { expected_value } => Some(quoted(expected_value)),
            _ => None,
        });
        let by_type = || {
            branch.iter().filter(here).find_map(|fault| match fault.kind() {
                Kind::Type { kind } => Some(type_words(kind)),
                _ => None,
            })
        };
        // That it may be left out is no help to somebody who wrote something.
        words.extend(word.or_else(by_type).filter(|word| word != "nothing"));
    }
    words.dedup();
    if words.is_empty() {
        format!("{found} has none of the allowed shapes")
    } else {
        format!("{found} is not {}", words.join(" or "))
    }
}

fn choice<'v>(options: impl IntoIterator<Item = &'v Value>) -> String {
    let words: Vec<String> =
        options.into_iter().map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned)).collect();
    match words.as_slice() {
        [one] => format!("`{one}`"),
        many => format!("one of {}", many.join(", ")),
    }
}

fn type_words(kind: &TypeKind) -> String {
    let word = |one: JsonType| match one {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a mapping",
        JsonType::String => "text",
    };
    match kind {
        TypeKind::Single(one) => word(*one).to_owned(),
        // That it may also be left out is no help to somebody who wrote something.
        TypeKind::Multiple(set) => {
            set.iter().filter(|one| *one != JsonType::Null).map(word).collect::<Vec<_>>().join(" or ")
        }
    }
}

fn quoted(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "a mapping".to_owned(),
        Value::String(text) => return quoted_text(text),
        other => other.to_string(),
    };
    quoted_text(&text)
}

fn quoted_text(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// The known key that this one was probably meant to be.
fn similar<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let letters = key.chars().take(MAX_QUOTED + 1).count();
    let most = if letters > MAX_QUOTED { return None } else { letters.max(3) / 3 };
    known
        .map(|candidate| (distance(key, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to make one word the other (Levenshtein), with `-` and `_`
/// and both cases being alike.
fn distance(one: &str, two: &str) -> usize {
    let letters =
        |word: &str| word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect::<Vec<_>>();
    let (one, two) = (letters(one), letters(two));
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let mut corner = row[0];
        row[0] = index + 1;
        for (column, other) in two.iter().enumerate() {
            let changed = corner + usize::from(letter != other);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[two.len()]
}
