//! A document as a tree that knows where in the text each of its parts stands.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// A generic value, and where each of its places stands in the text.
#[derive(Debug, Default)]
pub(super) struct Tree {
    value: Value,
    /// Line, counted from 1, by JSON pointer. For a member of a mapping it is the line of its key.
    lines: HashMap<String, usize>,
    /// JSON pointer by line and column: of keys and of values, since errors point at either.
    places: HashMap<(u64, u64), String>,
    /// Numbers and booleans as they are written, by JSON pointer: `3.10` is another text than `3.1`.
    written: HashMap<String, String>,
}

impl Tree {
    /// From what the YAML parser gave for this text.
    pub(super) fn from_root(text: &str, root: Spanned<Part>) -> Self {
        let mut tree = Self::default();
        tree.value = tree.take(text, String::new(), root);
        tree
    }

    /// The document without its lines.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// The same, where nothing else of it is wanted any more.
    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// The line of this place, or of the nearest thing around it.
    pub(super) fn line(&self, place: &str) -> Option<usize> {
        let mut place = place;
        loop {
            if let Some(line) = self.lines.get(place) {
                return Some(*line);
            }
            place = &place[..place.rfind('/')?];
        }
    }

    /// Whether the document has this place.
    pub(super) fn holds(&self, place: &str) -> bool {
        self.lines.contains_key(place)
    }

    /// The place that begins exactly here.
    pub(super) fn place_at(&self, location: &Location) -> Option<&str> {
        self.places.get(&(location.line(), location.column())).map(String::as_str)
    }

    /// The number or boolean at this place as it is written.
    pub(super) fn written(&self, place: &str) -> Option<&str> {
        self.written.get(place).map(String::as_str)
    }

    fn take(&mut self, text: &str, place: String, part: Spanned<Part>) -> Value {
        self.note(&place, &part.referenced);
        match part.value {
            Part::Scalar(value) => {
                if matches!(value, Value::Number(_) | Value::Bool(_))
                    && let Some(written) = slice(text, &part.defined)
                {
                    self.written.insert(place, written.to_owned());
                }
                value
            }
            Part::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(index, item)| self.take(text, format!("{place}/{index}"), item)).collect())
            }
            Part::Mapping(members) => {
                let member = |(key, part): (Spanned<String>, Spanned<Part>)| {
                    let place = step(&place, &key.value);
                    self.note(&place, &key.referenced);
                    (key.value, self.take(text, place, part))
                };
                Value::Object(members.into_iter().map(member).collect::<Map<_, _>>())
            }
        }
    }

    /// A place begins here. What is noted first gives the line: of a member that is its key.
    fn note(&mut self, place: &str, location: &Location) {
        if let Some(line) = usize::try_from(location.line()).ok().filter(|line| *line > 0) {
            self.lines.entry(place.to_owned()).or_insert(line);
            // A list and its first entry begin together; the outer one, which comes first, is what an error means.
            self.places.entry((location.line(), location.column())).or_insert_with(|| place.to_owned());
        }
    }
}

/// The part of the text that stands there.
fn slice<'t>(text: &'t str, location: &Location) -> Option<&'t str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?).filter(|text| !text.is_empty())
}

/// A JSON pointer one step deeper.
pub(super) fn step(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// One part of a document as the YAML parser sees it.
#[derive(Debug)]
pub(super) enum Part {
    Scalar(Value),
    List(Vec<Spanned<Part>>),
    Mapping(Vec<(Spanned<String>, Spanned<Part>)>),
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Part, E> {
        Ok(Part::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Part, E> {
        Ok(Part::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part, D::Error> {
        Part::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Part, E> {
        Ok(Part::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Part, E> {
        Ok(Part::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Part, E> {
        Ok(Part::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Part, E> {
        // The parser refuses what is not finite before it comes here.
        Ok(Part::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Part, E> {
        Ok(Part::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Part, E> {
        Ok(Part::Scalar(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Part, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Part::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Part, A::Error> {
        let mut mapping = Vec::new();
        while let Some(member) = members.next_entry()? {
            mapping.push(member);
        }
        Ok(Part::Mapping(mapping))
    }
}
