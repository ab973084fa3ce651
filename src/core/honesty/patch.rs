//! A unified diff, taken apart by the counts in its hunks' heads, so that no added line can pass for a head.

/// What a diff says about one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePatch {
    /// The file: its new name, or the old one where it is gone.
    pub path: String,
    /// Whether the file is gone.
    pub is_deleted: bool,
    /// Whether git took it for something other than text, so that there are no lines.
    pub is_binary: bool,
    /// The lines that are gone, with their numbers in the old file.
    pub removed: Vec<Line>,
    /// The lines that are new, with their numbers in the new file.
    pub added: Vec<Line>,
}

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// Its text.
    pub text: String,
}

/// Takes a diff apart. Lines that make no sense are passed over.
pub fn parse(text: &str) -> Vec<FilePatch> {
    let mut files: Vec<FilePatch> = Vec::new();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        if let Some(names) = line.strip_prefix("diff --git ") {
            files.push(FilePatch { path: path_of_head(names), ..FilePatch::default() });
            continue;
        }
        let Some(file) = files.last_mut() else { continue };
        if line.starts_with("deleted file mode") {
            file.is_deleted = true;
        } else if line.starts_with("Binary files ") && line.ends_with(" differ") {
            file.is_binary = true;
        } else if let Some((old, new)) = hunk(line) {
            take_hunk(file, &mut lines, old, new);
        }
    }
    files
}

/// Start and length on one side of a hunk.
type Span = (u64, u64);

fn take_hunk<'t>(file: &mut FilePatch, lines: &mut impl Iterator<Item = &'t str>, mut old: Span, mut new: Span) {
    while old.1 > 0 || new.1 > 0 {
        let Some(line) = lines.next() else { return };
        let (mark, text) = line.split_at_checked(1).unwrap_or((line, ""));
        let text = || text.strip_suffix('\r').unwrap_or(text).to_owned();
        match mark {
            "-" => file.removed.push(Line { number: step(&mut old), text: text() }),
            "+" => file.added.push(Line { number: step(&mut new), text: text() }),
            // "\ No newline at end of file" counts on neither side.
            "\\" => {}
            _ => {
                step(&mut old);
                step(&mut new);
            }
        }
    }
}

fn step(span: &mut Span) -> u64 {
    let number = span.0;
    *span = (span.0.saturating_add(1), span.1.saturating_sub(1));
    number
}

/// Reads `@@ -1,2 +3,4 @@`; a length that is left out is 1.
fn hunk(line: &str) -> Option<(Span, Span)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let mut span = |mark| -> Option<Span> {
        let word = words.next()?.strip_prefix(mark)?;
        let (start, length) = word.split_once(',').unwrap_or((word, "1"));
        Some((start.parse().ok()?, length.parse().ok()?))
    };
    Some((span('-')?, span('+')?))
}

/// The path out of `a/x b/x`, which is the same on both sides, because renames are not looked for. Odd names stand in
/// quotes.
fn path_of_head(names: &str) -> String {
    if let Some(quoted) = names.strip_prefix('"') {
        let first = unquote(quoted);
        return first.strip_prefix("a/").unwrap_or(&first).to_owned();
    }
    // `a/` and ` b/` with the same name after each.
    let length = names.len().saturating_sub("a/ b/".len()) / 2;
    names.get(2..2 + length).unwrap_or(names).to_owned()
}

/// Reads a name in quotes as git writes them, up to the closing quote.
fn unquote(quoted: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = quoted.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => break,
            b'\\' => match rest.next() {
                Some(b'n') => bytes.push(b'\n'),
                Some(b't') => bytes.push(b'\t'),
                Some(b'r') => bytes.push(b'\r'),
                Some(first @ b'0'..=b'7') => {
                    let mut value = u32::from(first - b'0');
                    for _ in 0..2 {
                        if let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                            value = value * 8 + u32::from(digit - b'0');
                        }
                    }
                    bytes.push(u8::try_from(value).unwrap_or(b'?'));
                }
                Some(other) => bytes.push(other),
                None => break,
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
