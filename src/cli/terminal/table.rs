//! Tables that fit: a terminal never wraps their lines.
//!
//! What happens as the room gets less, in this order: the note of each row leaves its column and stands below its row;
//! columns are left out, the least important first. A first cell that is much longer than others stands on a line of its
//! own, and is cut only where it is wider than the screen. A note is wrapped between words, and cut after a few lines.

use super::look::{Look, Tone};
use super::text::{width, wrap};

/// What stands between two columns.
const GAP: usize = 2;
/// The least room in which a note stands in a column of its own.
const NOTE_COLUMN: usize = 48;
/// How far a note below its row is moved in.
const INDENT: usize = 4;
/// The most lines that a note takes.
const NOTE_LINES: usize = 3;
/// The widest that the first column is for the sake of one cell; on wide screens a quarter of them.
const FIRST: usize = 26;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Where its cells stand.
    pub side: Side,
    /// When it is left out: the highest first, 0 never.
    pub dispensable: u8,
}

/// Where a cell's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A piece of text with its tone. The text must be clean.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What it is like.
    pub tone: Tone,
}

impl Cell {
    /// A text like the rest.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    /// A text with a tone.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

/// One line of a table, or more.
#[derive(Debug, Clone)]
pub enum Line {
    /// A heading over the rows that follow.
    Section(String),
    /// Cells, as many as there are columns, and a note of any length.
    Row(Vec<Cell>, Cell),
}

impl Line {
    /// How wide the note is.
    fn note(&self) -> usize {
        match self {
            Self::Row(_, note) => width(&note.text),
            Self::Section(_) => 0,
        }
    }
}

/// A table.
#[derive(Debug)]
pub struct Grid {
    columns: Vec<Column>,
    note: &'static str,
    lines: Vec<Line>,
}

impl Grid {
    /// A table with these columns, and a heading for the notes.
    pub fn new(columns: &[Column], note: &'static str) -> Self {
        Self { columns: columns.to_vec(), note, lines: Vec::new() }
    }

    /// Adds a heading over the rows that follow.
    pub fn section(&mut self, title: impl Into<String>) {
        self.lines.push(Line::Section(title.into()));
    }

    /// Adds a row with its note.
    pub fn row(&mut self, cells: Vec<Cell>, note: Cell) {
        self.lines.push(Line::Row(cells, note));
    }

    /// The table as text, every line ended.
    pub fn render(&self, look: &Look) -> String {
        let plan = Plan::new(self, look.width);
        let mut text = plan.heading(self, look);
        for line in &self.lines {
            match line {
                Line::Section(title) => {
                    text.push_str(&look.paint(Tone::Strong, &look.cut(title, look.width)));
                    text.push('\n');
                }
                Line::Row(cells, note) => plan.row(cells, note, look, &mut text, self),
            }
        }
        text
    }

    fn cells(&self) -> impl Iterator<Item = &Vec<Cell>> {
        self.lines.iter().filter_map(|line| match line {
            Line::Row(cells, _) => Some(cells),
            Line::Section(_) => None,
        })
    }
}

/// Which columns there are, how wide, and where the notes stand.
struct Plan {
    /// The index and width of each column that is shown.
    columns: Vec<(usize, usize)>,
    note: NotePlace,
}

enum NotePlace {
    Column { room: usize },
    Below { room: usize },
}

impl Plan {
    fn new(grid: &Grid, room: usize) -> Self {
        let mut columns: Vec<(usize, usize)> = Vec::new();
        for (index, column) in grid.columns.iter().enumerate() {
            let widest = grid.cells().filter_map(|cells| cells.get(index)).map(|cell| width(&cell.text)).max();
            // A column without anything in it says nothing.
            if let Some(widest) = widest.filter(|widest| *widest > 0 || index == 0) {
                let most = if index == 0 { FIRST.max(room / 4) } else { usize::MAX };
                columns.push((index, widest.max(width(column.title)).min(most)));
            }
        }
        let taken = |columns: &[(usize, usize)]| columns.iter().map(|(_, width)| width + GAP).sum::<usize>();
        let longest = grid.lines.iter().map(Line::note).max().unwrap_or(0);
        if taken(&columns) + longest.min(NOTE_COLUMN) <= room {
            let room = room - taken(&columns);
            return Self { columns, note: NotePlace::Column { room } };
        }
        while taken(&columns) > room + GAP {
            let least = columns.iter().map(|(index, _)| grid.columns[*index].dispensable).max().unwrap_or(0);
            if least == 0 {
                break;
            }
            columns.retain(|(index, _)| grid.columns[*index].dispensable != least);
        }
        let over = taken(&columns).saturating_sub(room + GAP);
        if let Some((_, first)) = columns.first_mut() {
            *first = first.saturating_sub(over);
        }
        Self { columns, note: NotePlace::Below { room: room.saturating_sub(INDENT) } }
    }

    fn heading(&self, grid: &Grid, look: &Look) -> String {
        let mut titles: Vec<Cell> = grid.columns.iter().map(|column| Cell::toned(Tone::Faint, column.title)).collect();
        let mut line = self.line(&mut titles, look, grid);
        if matches!(self.note, NotePlace::Column { .. }) {
            line.push_str(&look.paint(Tone::Faint, grid.note));
        }
        format!("{}\n", line.trim_end())
    }

    fn line(&self, cells: &mut [Cell], look: &Look, grid: &Grid) -> String {
        let mut line = String::new();
        for (index, room) in &self.columns {
            let Some(cell) = cells.get_mut(*index) else { continue };
            let shown = look.cut(&std::mem::take(&mut cell.text), *room);
            let space = " ".repeat(room.saturating_sub(width(&shown)));
            let painted = look.paint(cell.tone, &shown);
            match grid.columns[*index].side {
                Side::Left => line.push_str(&format!("{painted}{space}")),
                Side::Right => line.push_str(&format!("{space}{painted}")),
            }
            line.push_str(&" ".repeat(GAP));
        }
        line
    }

    fn row(&self, cells: &[Cell], note: &Cell, look: &Look, text: &mut String, grid: &Grid) {
        let mut cells = cells.to_vec();
        if let (Some(first), Some((_, room))) = (cells.first_mut(), self.columns.first())
            && width(&first.text) > *room
        {
            let whole = look.cut(&std::mem::take(&mut first.text), look.width);
            text.push_str(&format!("{}\n", look.paint(first.tone, &whole)));
        }
        let line = self.line(&mut cells, look, grid);
        let (room, indent) = match self.note {
            NotePlace::Column { room } => (room, self.columns.iter().map(|(_, width)| width + GAP).sum()),
            NotePlace::Below { room } => (room, INDENT),
        };
        let mut notes = folded(&note.text, room, look).into_iter().map(|part| look.paint(note.tone, &part));
        let beside = if matches!(self.note, NotePlace::Column { .. }) { notes.next() } else { None };
        text.push_str(format!("{line}{}", beside.unwrap_or_default()).trim_end());
        text.push('\n');
        for part in notes {
            text.push_str(&format!("{}{part}\n", " ".repeat(indent)));
        }
    }
}

/// A text in a few lines, with a mark where more of it follows.
pub fn folded(text: &str, room: usize, look: &Look) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut lines = wrap(text, room);
    if lines.len() > NOTE_LINES {
        let rest = lines.split_off(NOTE_LINES - 1).join(" ");
        lines.push(look.cut(&rest, room));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::look::{Color, Letters};
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NAME", side: Side::Left, dispensable: 0 },
        Column { title: "WHO", side: Side::Left, dispensable: 1 },
        Column { title: "COST", side: Side::Right, dispensable: 2 },
    ];

    fn render(width: usize, note: &str) -> String {
        let look = Look { width, letters: Letters::Unicode, color: Color::Off, zone: |at| at.fixed_offset() };
        let mut grid = Grid::new(&COLUMNS, "NEXT");
        grid.section("one");
        grid.row(["01-日本語", "Somebody Long", "$1.00"].map(Cell::plain).to_vec(), Cell::plain(note));
        grid.render(&look)
    }

    #[test]
    fn what_does_not_fit_goes_in_the_stated_order() {
        let note = "waits for the others";
        for (width, expected) in [
            (
                100,
                "NAME       WHO             COST  NEXT\none\n01-日本語  Somebody Long  $1.00  waits for the others\n",
            ),
            (50, "NAME       WHO             COST\none\n01-日本語  Somebody Long  $1.00\n    waits for the others\n"),
            (30, "NAME       WHO\none\n01-日本語  Somebody Long\n    waits for the others\n"),
            (45, "NAME       WHO             COST\none\n01-日本語  Somebody Long  $1.00\n    waits for the others\n"),
            (20, "NAME\none\n01-日本語\n    waits for the\n    others\n"),
        ] {
            assert_eq!(render(width, note), expected, "{width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for columns in [20, 37, 60, 100, 200] {
            let text = render(columns, &"日本 endless-word-without-a-space ".repeat(30));
            assert!(text.lines().all(|line| width(line) <= columns), "{columns}\n{text}");
            assert!(text.contains('…'), "{text}");
        }
    }
}
