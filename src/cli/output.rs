//! Printing: aligned tables, notes in words, JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::core::step::Note;

/// Rows under a heading, each column as wide as its widest cell; the last column takes what is left.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    width: usize,
}

/// The narrowest line that a table is laid out for.
const NARROWEST: usize = 40;

impl Table {
    /// A table with a heading, for lines of this width.
    pub fn new(heading: &[&str], width: usize) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()], width: width.max(NARROWEST) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, every line ended.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                let one_line = cell.lines().next().unwrap_or_default();
                if index + 1 == columns {
                    let room = self.width.saturating_sub(line.chars().count()).max(16);
                    line.push_str(&shortened(one_line, room));
                } else {
                    let pad = widths[index].saturating_sub(one_line.chars().count());
                    line.push_str(one_line);
                    line.push_str(&" ".repeat(pad + 2));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text that fits, with an ellipsis where it was cut.
pub fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

/// Prints text; a reader that has gone away is no failure of ours.
pub fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints a value as JSON.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A note in words, on one line.
pub fn words(note: &Note) -> String {
    let subject = note.run.as_ref().map(ToString::to_string).or_else(|| note.stage.as_ref().map(ToString::to_string));
    let subject = subject.unwrap_or_else(|| "the repository".to_owned());
    let moved = match (&note.from, &note.to) {
        (Some(from), Some(to)) if from != to => format!(" [{from} → {to}]"),
        (None, Some(to)) => format!(" [{to}]"),
        _ => String::new(),
    };
    let detail = note.detail.lines().next().unwrap_or_default();
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    format!("{subject} {}{moved}{detail}", note.event)
}

/// Notes in words, a line each, or as JSON.
pub fn notes(notes: &[Note], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&notes);
    }
    print(&notes.iter().map(|note| words(note) + "\n").collect::<String>())
}
