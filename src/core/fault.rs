//! Faults: what is wrong with a document, where, all at once.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The line it stands on, counted from 1, where that is known.
    pub line: Option<usize>,
    /// The place inside the document: a JSON pointer such as `/stages/0/id`, or a section's name.
    pub place: String,
    /// What is wrong, as the rest of a sentence.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, "line {line}: ")?;
        }
        if !self.place.is_empty() {
            write!(out, "{}: ", self.place)?;
        }
        out.write_str(&self.message)
    }
}

/// Everything that is wrong with one document; never empty where it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Notes one more fault.
    pub fn add(&mut self, line: Option<usize>, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { line, place: place.into(), message: message.into() });
    }

    /// A list of one.
    pub fn one(line: Option<usize>, place: impl Into<String>, message: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(line, place, message);
        faults
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("; ")?;
            }
            fault.fmt(out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
