//! The little Markdown a card needs: a title, sections, list items and fenced blocks, each with its line number.
//!
//! Nothing here knows what a card means. HTML comments are dropped, so that a deliverable that was commented out is
//! not a deliverable; fenced text is kept byte for byte.

use crate::core::fault::Faults;

/// A card's text, taken apart.
#[derive(Debug, Default)]
pub(super) struct Document<'t> {
    /// The level-one heading.
    pub(super) title: Option<(usize, &'t str)>,
    /// The level-two headings with what stands under each.
    pub(super) sections: Vec<Section<'t>>,
}

/// One level-two heading and everything up to the next.
#[derive(Debug)]
pub(super) struct Section<'t> {
    pub(super) line: usize,
    pub(super) heading: &'t str,
    pub(super) elements: Vec<Element<'t>>,
}

/// What a section is made of.
#[derive(Debug)]
pub(super) enum Element<'t> {
    /// A line outside fenced blocks and comments; it may be blank.
    Line { number: usize, text: &'t str },
    /// A fenced block.
    Code(Code<'t>),
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Code<'t> {
    /// The line of its opening fence.
    pub(super) line: usize,
    /// The first word after the opening fence.
    pub(super) language: &'t str,
    /// What follows that word.
    pub(super) info: &'t str,
    /// Its lines, joined by line feeds, without the indentation of its fence.
    pub(super) text: String,
}

/// How a list item is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Bullet,
    Number(u64),
}

/// A list item with its continuation lines, nested items and blocks.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) line: usize,
    pub(super) marker: Marker,
    pub(super) text: String,
}

struct Fence {
    mark: char,
    length: usize,
    indent: usize,
}

/// Takes a text apart. Notes control characters, unclosed blocks and comments, placeholders and a second title.
pub(super) fn read<'t>(text: &'t str, faults: &mut Faults) -> Document<'t> {
    let mut document = Document::default();
    let mut open: Option<(Fence, Code<'t>)> = None;
    let mut comment: Option<usize> = None;
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(odd) = line.chars().find(|c| c.is_control() && *c != '\t') {
            let code = u32::from(odd);
            faults.add(Some(number), "", format!("a control character (U+{code:04X}) stands here; remove it"));
        }
        if let Some((fence, mut code)) = open.take() {
            if closes(line, &fence) {
                push(&mut document, Element::Code(code));
            } else {
                code.text.push_str(without_indent(line, fence.indent));
                code.text.push('\n');
                open = Some((fence, code));
            }
            continue;
        }
        if let Some(placeholder) = placeholder(line) {
            faults.add(Some(number), "", format!("the placeholder `{placeholder}` is not filled in"));
        }
        if comment.is_some() {
            if line.contains("-->") {
                comment = None;
            }
        } else if line.trim_start().starts_with("<!--") {
            if !line.contains("-->") {
                comment = Some(number);
            }
        } else if let Some((fence, info)) = opens(line) {
            let (language, info) = info.split_once(char::is_whitespace).unwrap_or((info, ""));
            open = Some((fence, Code { line: number, language, info: info.trim(), text: String::new() }));
        } else if let Some(heading) = heading(line, 1) {
            match document.title {
                None => document.title = Some((number, heading)),
                Some((first, _)) => faults.add(
                    Some(number),
                    "",
                    format!("a second title; the first is on line {first} (is this a shell comment outside a block?)"),
                ),
            }
        } else if let Some(heading) = heading(line, 2) {
            document.sections.push(Section { line: number, heading, elements: Vec::new() });
        } else {
            push(&mut document, Element::Line { number, text: line });
        }
    }
    if let Some((_, code)) = open {
        faults.add(Some(code.line), "", "the fenced block that opens here is never closed");
        push(&mut document, Element::Code(code));
    }
    if let Some(line) = comment {
        faults.add(Some(line), "", "the comment that opens here is never closed");
    }
    document
}

/// The first `<<…>>` of a line.
pub(super) fn placeholder(line: &str) -> Option<&str> {
    let start = line.find("<<")?;
    let end = line[start + 2..].find(">>").filter(|length| *length > 0)?;
    Some(&line[start..start + 2 + end + 2])
}

/// The top-level items of a section's lists, and the lines that belong to none.
pub(super) fn items<'t>(elements: &[Element<'t>]) -> (Vec<Item>, Vec<(usize, &'t str)>) {
    let mut items: Vec<Item> = Vec::new();
    let mut strays = Vec::new();
    let mut base = None;
    let mut inside = false;
    let mut after_blank = false;
    for element in elements {
        let (number, text) = match element {
            Element::Line { number, text } => (*number, *text),
            Element::Code(code) => {
                if let (true, Some(item)) = (inside, items.last_mut()) {
                    item.text.push('\n');
                    item.text.push_str(&code.text);
                }
                continue;
            }
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            after_blank = true;
            continue;
        }
        let indent = indent(text);
        let top_level = base.is_none_or(|base| indent <= base + 1);
        if let (true, Some((marker, rest))) = (top_level, marker(trimmed)) {
            base.get_or_insert(indent);
            items.push(Item { line: number, marker, text: rest.to_owned() });
            inside = true;
        } else if let (true, Some(item)) =
            (inside && !trimmed.starts_with('#') && (!top_level || !after_blank), items.last_mut())
        {
            item.text.push(' ');
            item.text.push_str(trimmed);
        } else {
            inside = false;
            strays.push((number, trimmed));
        }
        after_blank = false;
    }
    (items, strays)
}

/// What stands between the first pair of backticks, when an item begins with one, and what follows.
pub(super) fn leading_code(text: &str) -> Option<(&str, &str)> {
    let (code, rest) = text.strip_prefix('`')?.split_once('`')?;
    Some((code.trim(), rest))
}

fn push<'t>(document: &mut Document<'t>, element: Element<'t>) {
    // What stands before the first section is the author's note to people.
    if let Some(section) = document.sections.last_mut() {
        section.elements.push(element);
    }
}

/// The text of a heading of exactly this level, without closing `#`s.
fn heading(line: &str, level: usize) -> Option<&str> {
    let rest = line.trim_start_matches(' ');
    let text = rest.trim_start_matches('#');
    let marks = rest.len() - text.len();
    if line.len() - rest.len() > 3 || marks != level || !(text.is_empty() || text.starts_with([' ', '\t'])) {
        return None;
    }
    let text = text.trim();
    let bare = text.trim_end_matches('#');
    Some(if bare.is_empty() || bare.ends_with([' ', '\t']) { bare.trim_end() } else { text })
}

/// An opening fence with what stands behind it. Any indentation will do: blocks stand inside list items, too.
fn opens(line: &str) -> Option<(Fence, &str)> {
    let rest = line.trim_start();
    let mark = rest.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = rest.trim_start_matches(mark);
    let length = rest.len() - info.len();
    if length < 3 || (mark == '`' && info.contains('`')) {
        return None;
    }
    let fence = Fence { mark, length, indent: line.len() - rest.len() };
    Some((fence, info.trim()))
}

fn closes(line: &str, fence: &Fence) -> bool {
    let rest = line.trim();
    rest.len() >= fence.length && rest.chars().all(|c| c == fence.mark)
}

/// A line of a block without the indentation that its fence has, as far as it has it.
fn without_indent(line: &str, indent: usize) -> &str {
    let own = line.len() - line.trim_start_matches([' ', '\t']).len();
    &line[own.min(indent)..]
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 4 } else { 1 }).sum()
}

/// The list marker a line begins with, and the rest of the line.
fn marker(line: &str) -> Option<(Marker, &str)> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    if let Some(rest) = line.strip_prefix(['-', '*', '+']) {
        return ends(rest).then(|| (Marker::Bullet, rest.trim()));
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = line[digits..].strip_prefix(['.', ')'])?;
    let number = line[..digits].parse().ok()?;
    ends(rest).then(|| (Marker::Number(number), rest.trim()))
}
