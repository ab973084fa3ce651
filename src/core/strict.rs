//! Reading what an agent wrote without believing any of it, and the schemas that are given to agents.

use std::cell::RefCell;
use std::fmt;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::core::fault::Faults;
use crate::core::ids::StageId;

/// The largest envelope that is read, in bytes. Handoffs and verdicts are a few kilobytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The keywords that every provider of structured outputs understands. What a schema loses by this,
/// the parser checks anyway.
const KEYWORDS: [&str; 9] =
    ["type", "description", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"];

/// Reads JSON. A key that stands twice in an object is a fault, and reading goes on with the first.
pub(crate) fn read(bytes: &[u8]) -> Result<(Value, Faults), Faults> {
    if bytes.len() > MAX_BYTES {
        let size = bytes.len();
        return Err(Faults::one(None, "", format!("has {size} bytes; {MAX_BYTES} is the most that is read")));
    }
    let faults = RefCell::new(Faults::default());
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Node { place: String::new(), faults: &faults }
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| Faults::one(Some(error.line()), "", format!("is not JSON: {error}")))?;
    Ok((value, faults.into_inner()))
}

/// The value when nothing is wrong, else what is.
pub(crate) fn finish<T>(value: Option<T>, faults: Faults) -> Result<T, Faults> {
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(faults),
    }
}

/// A whole number from 1 up.
pub(crate) fn counting_number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// An object whose keys are known.
pub(crate) struct Object<'v> {
    place: String,
    keys: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    /// The object at a place, given as a JSON pointer. Unknown keys are faults.
    pub(crate) fn new(value: &'v Value, place: &str, known: &[&str], faults: &mut Faults) -> Option<Self> {
        let Some(keys) = value.as_object() else {
            faults.add(None, place, "is not an object");
            return None;
        };
        for key in keys.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = format!("the key `{key}` is unknown; the keys are {}", known.join(", "));
            faults.add(None, place, message);
        }
        Some(Self { place: place.to_owned(), keys })
    }

    /// The place of a key.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.place)
    }

    /// A value that may be absent or null.
    pub(crate) fn optional(&self, key: &str) -> Option<&'v Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// A value of any kind, which must be there.
    pub(crate) fn any(&self, key: &str, faults: &mut Faults) -> Option<&'v Value> {
        self.required(key, faults)
    }

    fn required(&self, key: &str, faults: &mut Faults) -> Option<&'v Value> {
        let value = self.keys.get(key);
        if value.is_none() {
            faults.add(None, self.at(key), "is missing");
        }
        value
    }

    pub(crate) fn text(&self, key: &str, faults: &mut Faults) -> Option<&'v str> {
        let text = self.required(key, faults)?.as_str();
        if text.is_none() {
            faults.add(None, self.at(key), "is not a text");
        }
        text
    }

    pub(crate) fn list(&self, key: &str, faults: &mut Faults) -> Option<&'v [Value]> {
        let list = self.required(key, faults)?.as_array();
        if list.is_none() {
            faults.add(None, self.at(key), "is not a list");
        }
        list.map(Vec::as_slice)
    }

    pub(crate) fn number(&self, key: &str, faults: &mut Faults) -> Option<u32> {
        let number = counting_number(self.required(key, faults)?);
        if number.is_none() {
            faults.add(None, self.at(key), "is not a whole number from 1 up");
        }
        number
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[T],
        word: impl Fn(T) -> &'static str,
        faults: &mut Faults,
    ) -> Option<T> {
        let text = self.text(key, faults)?;
        let choice = choices.iter().copied().find(|choice| word(*choice) == text);
        if choice.is_none() {
            let words: Vec<_> = choices.iter().map(|choice| word(*choice)).collect();
            faults.add(None, self.at(key), format!("is `{text}`; it is one of {}", words.join(", ")));
        }
        choice
    }

    /// The id of the stage, which must be the expected one.
    pub(crate) fn stage(&self, expected: &StageId, faults: &mut Faults) {
        if let Some(text) = self.text("stage_id", faults)
            && text != expected.as_str()
        {
            faults.add(None, self.at("stage_id"), format!("is `{text}`, but the stage is `{expected}`"));
        }
    }
}

/// The JSON Schema of a type: self-contained, every object closed, every property required, and only keywords
/// that the structured outputs of Codex and Claude both accept.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    name_the_choices(keywords);
    keywords.retain(|keyword, _| KEYWORDS.contains(&keyword.as_str()));
    let names = match keywords.get_mut("properties").and_then(Value::as_object_mut) {
        None => None,
        Some(properties) => {
            properties.values_mut().for_each(tighten);
            Some(properties.keys().cloned().map(Value::String).collect())
        }
    };
    if let Some(names) = names {
        keywords.insert("required".to_owned(), Value::Array(names));
        keywords.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(items) = keywords.get_mut("items") {
        tighten(items);
    }
    if let Some(Value::Array(branches)) = keywords.get_mut("anyOf") {
        branches.iter_mut().for_each(tighten);
    }
}

/// Turns a `oneOf` of described constants, which not every provider takes, into an `enum` with one description.
fn name_the_choices(keywords: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = keywords.remove("oneOf") else { return };
    let mut words = Vec::new();
    let mut meanings = Vec::new();
    for branch in branches {
        let word = branch.get("const").cloned().unwrap_or_default();
        if let (Some(word), Some(meaning)) = (word.as_str(), branch.get("description").and_then(Value::as_str)) {
            meanings.push(format!("{word}: {meaning}"));
        }
        words.push(word);
    }
    keywords.insert("type".to_owned(), "string".into());
    keywords.insert("enum".to_owned(), Value::Array(words));
    keywords.insert("description".to_owned(), meanings.join(" ").into());
}

/// Builds a [`Value`] as `serde_json` does, but sees a key that comes twice.
struct Node<'f> {
    place: String,
    faults: &'f RefCell<Faults>,
}

impl Node<'_> {
    fn below(&self, key: &str) -> Self {
        Self { place: format!("{}/{}", self.place, key.replace('~', "~0").replace('/', "~1")), faults: self.faults }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(&list.len().to_string()))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.below(&key))?;
            if object.contains_key(&key) {
                self.faults.borrow_mut().add(None, &self.place, format!("the key `{key}` stands there twice"));
            } else {
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}
