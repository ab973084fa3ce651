//! Command templates: argument lists with placeholders. A template makes an argument list, never a shell string.
//!
//! In a manifest a template is a list. A text is one argument; a list inside the list is a group of arguments that
//! vanishes as a whole when one of its placeholders has no value:
//! `[my-agent, --model, "{model}", [--effort, "{effort}"]]`. Text in braces that is not a placeholder's shape
//! (lower-case letters and underscores) stands for itself, so TOML and JSON pass through.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::core::family::Word;

macro_rules! placeholders {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A hole in a template that an invocation fills.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Placeholder {
            $($(#[$doc])* $variant),+
        }

        impl Placeholder {
            /// Every placeholder there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, without braces.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}

placeholders! {
    /// The model's name, from the family's `models` or the identity's handle.
    Model = "model",
    /// The effort that the card asks for.
    Effort = "effort",
    /// The absolute path of the run's checkout.
    Worktree = "worktree",
    /// The same path between quotes and escaped, as TOML and JSON write a text.
    WorktreeQuoted = "worktree_quoted",
    /// The absolute path of the prompt.
    PromptFile = "prompt_file",
    /// The JSON Schema of the answer, as text on one line.
    Schema = "schema",
    /// The absolute path of a file that holds that schema.
    SchemaFile = "schema_file",
    /// The absolute path that the CLI writes its last message to.
    LastMessage = "last_message",
    /// A UUID for the CLI's own session.
    SessionId = "session_id",
    /// The absolute path of the outbox folder.
    Outbox = "outbox",
    /// The run's cost cap in dollars, such as `5` or `0.25`.
    BudgetUsd = "budget_usd",
    /// The run's token cap.
    MaxTokens = "max_tokens",
    /// The stage's id.
    Stage = "stage",
    /// The run's id.
    Run = "run",
    /// The absolute path of the script that a `script` or `check` stage runs.
    Script = "script",
    /// The family's sandbox mode: `workspace-write` or `danger-full-access`.
    Sandbox = "sandbox",
}

impl fmt::Display for Placeholder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{}}}", self.name())
    }
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// There is no program to run.
    #[error("the first word must be the program, as a plain text that is not empty")]
    NoProgram,
    /// A group without a placeholder can never vanish, so it is a mistake.
    #[error("the group `{0}` has no placeholder; write its words without the inner brackets")]
    IdleGroup(String),
    /// A placeholder that does not exist.
    #[error("`{{{0}}}` is not a placeholder; the known ones are {known}", known = known_placeholders())]
    Unknown(String),
}

fn known_placeholders() -> String {
    Placeholder::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A word that needs a value which the run does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this run has no value for {0}")]
pub struct MissingValue(pub Placeholder);

/// The values of one run.
pub type Values = BTreeMap<Placeholder, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(Placeholder),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Always(Vec<Piece>),
    Optional(Vec<Vec<Piece>>),
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Entry>);

impl Template {
    /// Checks the words and takes them apart.
    pub fn parse(words: &[Word]) -> Result<Self, TemplateError> {
        match words.first() {
            Some(Word::Always(program)) if !program.trim().is_empty() => {}
            _ => return Err(TemplateError::NoProgram),
        }
        words.iter().map(parse_entry).collect::<Result<_, _>>().map(Self)
    }

    /// The program, where no placeholder is a part of its name.
    pub fn program(&self) -> Option<&str> {
        match self.0.first() {
            Some(Entry::Always(pieces)) => match pieces.as_slice() {
                [Piece::Text(program)] => Some(program),
                _ => None,
            },
            _ => None,
        }
    }

    /// The argument list for these values.
    pub fn fill(&self, values: &Values) -> Result<Vec<String>, MissingValue> {
        let mut argv = Vec::new();
        for entry in &self.0 {
            match entry {
                Entry::Always(pieces) => argv.push(fill_word(pieces, values)?),
                Entry::Optional(words) => {
                    let filled: Result<Vec<String>, MissingValue> =
                        words.iter().map(|pieces| fill_word(pieces, values)).collect();
                    argv.extend(filled.unwrap_or_default());
                }
            }
        }
        Ok(argv)
    }
}

fn parse_entry(word: &Word) -> Result<Entry, TemplateError> {
    match word {
        Word::Always(text) => parse_word(text).map(Entry::Always),
        Word::Optional(texts) => {
            let words = texts.iter().map(|text| parse_word(text)).collect::<Result<Vec<_>, _>>()?;
            if words.iter().flatten().any(|piece| matches!(piece, Piece::Hole(_))) {
                Ok(Entry::Optional(words))
            } else {
                Err(TemplateError::IdleGroup(texts.join(" ")))
            }
        }
    }
}

fn parse_word(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        literal.push_str(before);
        let after = &after[1..];
        let length = after.bytes().take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
        if length > 0 && after[length..].starts_with('}') {
            let name = &after[..length];
            let hole = Placeholder::ALL.iter().find(|one| one.name() == name);
            let hole = *hole.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Hole(hole));
            rest = &after[length + 1..];
        } else {
            literal.push('{');
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

fn fill_word(pieces: &[Piece], values: &Values) -> Result<String, MissingValue> {
    let mut word = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => word.push_str(text),
            Piece::Hole(hole) => word.push_str(values.get(hole).ok_or(MissingValue(*hole))?),
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(json: &str) -> Result<Template, TemplateError> {
        Template::parse(&serde_json::from_str::<Vec<Word>>(json).expect("words"))
    }

    #[test]
    fn a_group_vanishes_whole_and_values_are_never_split() {
        let it =
            template(r#"["agent","-m","{model}",["--effort","{effort}"],"x={stage}.{run}",""]"#).expect("template");
        let mut values = Values::from([
            (Placeholder::Model, "a model; rm -rf {effort}".to_owned()),
            (Placeholder::Stage, "01-a".to_owned()),
            (Placeholder::Run, "r".to_owned()),
        ]);
        let plain = ["agent", "-m", "a model; rm -rf {effort}", "x=01-a.r", ""];
        assert_eq!(it.fill(&values).expect("argv"), plain);
        values.insert(Placeholder::Effort, "high".to_owned());
        let full = ["agent", "-m", "a model; rm -rf {effort}", "--effort", "high", "x=01-a.r", ""];
        assert_eq!(it.fill(&values).expect("argv"), full);
    }

    #[test]
    fn a_word_that_must_be_there_needs_its_value() {
        let it = template(r#"["sh","{script}"]"#).expect("template");
        assert_eq!(it.fill(&Values::new()), Err(MissingValue(Placeholder::Script)));
    }

    #[test]
    fn braces_of_other_languages_pass_through() {
        let it = template(r#"["a","projects={\"x\"={t=1}}","{}","{","{A}","é{b c}"]"#).expect("template");
        let expected = ["a", "projects={\"x\"={t=1}}", "{}", "{", "{A}", "é{b c}"];
        assert_eq!(it.fill(&Values::new()).expect("argv"), expected);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("[]", TemplateError::NoProgram),
            (r#"[["a","{model}"]]"#, TemplateError::NoProgram),
            (r#"[" "]"#, TemplateError::NoProgram),
            (r#"["a","{modle}"]"#, TemplateError::Unknown("modle".into())),
            (r#"["a",["--fast","now"]]"#, TemplateError::IdleGroup("--fast now".into())),
        ];
        for (json, expected) in cases {
            assert_eq!(template(json), Err(expected), "{json}");
        }
    }
}
