//! Texts of others on a terminal: no escape sequence passes, and widths are counted as terminals count them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One line that is safe to print: escape sequences and control characters are gone, marks that turn or hide text as
/// well, and every run of white space is one space.
pub fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut gap = false;
    for c in without_escapes(text) {
        if c.is_whitespace() {
            gap = !line.is_empty();
        } else if !c.is_control() && !is_hidden(c) {
            if gap {
                line.push(' ');
                gap = false;
            }
            line.push(c);
        }
    }
    line
}

/// Lines that are safe to print, each as it is indented; a tab becomes spaces up to the next eighth column.
pub fn clean_lines(text: &str) -> Vec<String> {
    let safe: String = without_escapes(text).filter(|c| matches!(c, '\n' | '\t') || is_shown(*c)).collect();
    safe.lines().map(|line| expand_tabs(line).trim_end().to_owned()).collect()
}

fn is_shown(c: char) -> bool {
    !c.is_control() && !is_hidden(c)
}

fn expand_tabs(line: &str) -> String {
    const STOP: usize = 8;
    let mut wide = String::with_capacity(line.len());
    for part in line.split_inclusive('\t') {
        let (part, is_tab) = part.strip_suffix('\t').map_or((part, false), |part| (part, true));
        wide.push_str(part);
        if is_tab {
            wide.push_str(&" ".repeat(STOP - width(&wide) % STOP));
        }
    }
    wide
}

/// Marks that turn the direction of what follows, or that have no width: they show people something else than what is
/// there. The joiner of emoji and the variation selectors are among them: terminals do not agree how wide what they make
/// is, and do agree without them.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// The characters that are not part of an escape sequence (ECMA-48), finished or not.
fn without_escapes(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            match chars.next()? {
                '\u{1b}' => match chars.peek() {
                    Some('[') => {
                        chars.next();
                        control_sequence(&mut chars);
                    }
                    Some(']' | 'P' | 'X' | '^' | '_') => {
                        chars.next();
                        control_string(&mut chars);
                    }
                    _ => {
                        while chars.next_if(|c| matches!(c, ' '..='/')).is_some() {}
                        chars.next_if(|c| matches!(c, '0'..='~'));
                    }
                },
                '\u{9b}' => control_sequence(&mut chars),
                '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => control_string(&mut chars),
                c => return Some(c),
            }
        }
    })
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parameters, intermediates and the final letter.
fn control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// A title, a link or another text for the terminal, up to its end; one without an end goes no further than its line.
fn control_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text of at most this many columns, with this mark where it was cut.
pub fn cut(text: &str, room: usize, mark: &str) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let room = room.saturating_sub(width(mark));
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        kept.push(c);
    }
    // Marks that widen the character before them are not in the sum.
    while width(&kept) > room {
        kept.pop();
    }
    kept.truncate(kept.trim_end().len());
    kept.push_str(mark);
    kept
}

/// A text in lines of at most this many columns, broken between words where that is possible.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word;
        if !line.is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while width(word) > room {
            let head = cut(word, room, "");
            // A character that is wider than the room stands alone.
            let end = if head.is_empty() { word.chars().next().map_or(0, char::len_utf8) } else { head.len() };
            lines.push(word[..end].to_owned());
            word = &word[end..];
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A text with spaces after it up to this width.
pub fn padded(text: &str, room: usize) -> String {
    format!("{text}{}", " ".repeat(room.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_agent_reaches_the_terminal_as_an_order() {
        for (text, expected) in [
            ("plain", "plain"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("a\x1b[2J\x1b[Hb", "ab"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\u{9b}31mred", "red"),
            ("\x1bPq#0\x1b\\after", "after"),
            ("a\r\n\tb\u{7}", "a b"),
            ("\x1b(Bx\x1b7y", "xy"),
            ("cut \x1b[3", "cut"),
            ("cut \x1b]0;no end\nnext", "cut next"),
            ("evil\u{202e}txt.exe", "eviltxt.exe"),
            ("日本", "日本"),
            ("👩\u{200d}👧 \u{26a0}\u{fe0f}!", "👩👧 \u{26a0}!"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        assert_eq!(clean_lines("a\tb\n  \x1b[1mc  \r\n"), ["a       b", "  c"]);
    }

    #[test]
    fn texts_are_cut_and_wrapped_by_columns() {
        for (text, room, expected) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("👩👩👧 family", 6, "👩👩…"),
            ("a b c", 4, "a b…"),
            ("x", 0, "…"),
        ] {
            let cut = cut(text, room, "…");
            assert!(width(&cut) <= room.max(1), "{text:?} {cut:?}");
            assert_eq!(cut, expected, "{text:?}");
        }
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("endless-word", 5), ["endle", "ss-wo", "rd"]);
        assert_eq!(wrap("日本語", 3), ["日", "本", "語"]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
        assert_eq!(wrap("", 5), [""]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_clean_and_fits(text in "\\PC*|(.|\x1b|\n|\t|\u{9b})*", room in 2_usize..60) {
            let line = clean(&text);
            proptest::prop_assert!(!line.chars().any(char::is_control));
            proptest::prop_assert!(width(&cut(&line, room, "…")) <= room);
            for part in wrap(&line, room) {
                proptest::prop_assert!(width(&part) <= room, "{part:?}");
            }
        }
    }
}
