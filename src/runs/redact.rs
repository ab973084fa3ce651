//! Making a run's secrets unreadable in everything that is stored of it.
//!
//! Values are known to the supervisor alone, and only while the run lasts, so that is where bytes are changed: before
//! they reach a file. A value is found as it is, as JSON writes it, in base64 at any offset, in hexadecimal and in an
//! address; it may be split over any number of writes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};

use crate::fault;

/// The shortest value that is looked for, in bytes. Anything shorter stands in honest output by chance.
pub const SHORTEST: usize = 6;

/// The shortest line of a value of several lines that is looked for by itself.
const SHORTEST_LINE: usize = 16;

/// Where encoders of base64 break their lines.
const COLUMNS: [usize; 2] = [64, 76];

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The largest program that the patterns may become, in bytes: a dozen values of 64 KiB fit.
const PATTERN_LIMIT: usize = 1 << 30;

/// What to look for, and what to write in its place. It holds secrets, so it has no `Debug`.
#[derive(Default)]
pub(super) struct Redactor {
    forms: Vec<Vec<u8>>,
    names: HashMap<Vec<u8>, String>,
    by_first: HashMap<u8, Vec<usize>>,
    longest: usize,
    pattern: Option<Regex>,
}

impl Redactor {
    /// Looks for these values, each under its variable's name. Fails where the values are too many or too long.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, String> {
        let mut names = HashMap::new();
        for (name, value) in secrets {
            for form in forms(value) {
                names.entry(form).or_insert_with(|| name.to_owned());
            }
        }
        if names.is_empty() {
            return Ok(Self::default());
        }
        let mut forms: Vec<Vec<u8>> = names.keys().cloned().collect();
        // Of two that begin alike, the first alternative that fits wins: it must be the longer one.
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        let literal = |form: &Vec<u8>| form.iter().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat();
        let text = format!("(?s-u){}", forms.iter().map(literal).collect::<Vec<_>>().join("|"));
        let pattern = RegexBuilder::new(&text)
            .size_limit(PATTERN_LIMIT)
            .build()
            .map_err(|_| "the run's secrets are too long to be kept out of its records".to_owned())?;
        let mut by_first: HashMap<u8, Vec<usize>> = HashMap::new();
        for (index, form) in forms.iter().enumerate() {
            by_first.entry(form[0]).or_default().push(index);
        }
        let longest = forms.first().map_or(0, Vec::len);
        Ok(Self { forms, names, by_first, longest, pattern: Some(pattern) })
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.pattern.is_none()
    }

    /// The variable whose value stands in these bytes, if one's does.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&str> {
        let found = self.pattern.as_ref()?.find(bytes)?;
        self.names.get(found.as_bytes()).map(String::as_str)
    }

    /// How many bytes of one piece must be looked at again together with the next one.
    pub(super) fn overlap(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    /// The bytes without any value.
    pub(super) fn bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let Some(pattern) = &self.pattern else { return Cow::Borrowed(bytes) };
        pattern.replace_all(bytes, |found: &regex::bytes::Captures<'_>| self.replacement(&found[0]))
    }

    /// The text without any value.
    pub(super) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    fn replacement(&self, form: &[u8]) -> Vec<u8> {
        let name = self.names.get(form).map_or("secret", String::as_str);
        format!("[redacted {name}]").into_bytes()
    }

    /// Where the longest end of these bytes begins that may be the beginning of a value.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let window = bytes.len().saturating_sub(self.overlap());
        let may_begin = |from: &usize| {
            let end = &bytes[*from..];
            let candidates = self.by_first.get(&end[0]).into_iter().flatten();
            candidates.map(|index| &self.forms[*index]).any(|form| form.len() > end.len() && form.starts_with(end))
        };
        (window..bytes.len()).find(may_begin).unwrap_or(bytes.len())
    }
}

/// A stream on its way into a file. It keeps back no more than what may be the beginning of a value.
pub(super) struct Stream<'a> {
    redactor: &'a Redactor,
    held: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, held: Vec::new() }
    }

    /// Takes the next bytes, and gives what may be written.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len());
        let mut done = 0;
        let mut open = self.redactor.open_end(&self.held);
        while let Some(found) = self
            .redactor
            .pattern
            .as_ref()
            .and_then(|pattern| pattern.find_at(&self.held, done))
            .filter(|found| found.start() < open)
        {
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend(self.redactor.replacement(found.as_bytes()));
            done = found.end();
            if done > open {
                open = done + self.redactor.open_end(&self.held[done..]);
            }
        }
        out.extend_from_slice(&self.held[done..open]);
        self.held.drain(..open);
        out
    }

    /// Gives the rest, now that nothing follows.
    pub(super) fn finish(self) -> Vec<u8> {
        self.redactor.bytes(&self.held).into_owned()
    }
}

/// Copies a stream to its end, redacted. What cannot be written is dropped, so that whoever writes to the other end is
/// not held up, and `failed` is told: nobody meters what is not in the log.
pub(super) fn pump(mut from: impl Read, into: &mut File, redactor: &Redactor, failed: &dyn Fn(io::Error)) {
    let mut stream = Stream::new(redactor);
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                let bytes = stream.push(&chunk[..read]);
                fault::write!("log.write-redacted", &bytes, |bytes| into.write_all(bytes)).unwrap_or_else(failed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let rest = stream.finish();
    fault::write!("log.end-redacted", &rest, |bytes| into.write_all(bytes)).unwrap_or_else(failed);
}

/// Everything that a value may look like.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    if value.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = written(value);
    let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    if lines.len() > 1 {
        // A numbered or indented listing breaks a value of several lines up; its first and last are only a frame.
        let secret = |line: &&&[u8]| line.len() >= SHORTEST_LINE && !line.starts_with(b"-----");
        forms.extend(lines.iter().filter(secret).flat_map(|line| written(line)));
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

fn written(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    if let Ok(text) = std::str::from_utf8(value) {
        let once = json(text);
        let slashes = once.replace('/', "\\/");
        let twice = json(&once);
        let ascii = ascii_json(text);
        forms.extend([once, slashes, twice, ascii].map(String::into_bytes));
    }
    forms.extend(base64_forms(value));
    let hex = |upper: bool| {
        let digits = value.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        digits.collect::<String>().into_bytes()
    };
    forms.extend([hex(false), hex(true), percent(value)]);
    forms
}

/// The text as it stands between the quotes of a JSON string.
fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// The same by a writer that uses no character beyond ASCII.
fn ascii_json(text: &str) -> String {
    let mut out = String::new();
    for character in json(text).chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            let mut units = [0; 2];
            character.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

fn percent(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.extend(format!("%{byte:02X}").bytes());
        }
    }
    out
}

/// The characters that a value gives in base64, whatever stands before and behind it in what was encoded.
fn base64_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let mut padded = vec![0; before];
            padded.extend_from_slice(value);
            let text = engine.encode(&padded);
            // The characters at either end hold bits of the neighbours as well.
            let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            let core = text.get(from..to).unwrap_or_default().to_owned();
            if before == 0 {
                forms.extend(COLUMNS.iter().flat_map(|columns| broken(&core, *columns)));
                // Encoded by itself, its last character is its own too.
                forms.push(text.into_bytes());
            }
            // Of an eighth of a value's characters, chance writes the same somewhere.
            if core.len() >= SHORTEST + 2 {
                forms.push(core.into_bytes());
            }
        }
    }
    forms
}

/// The text in lines of this many characters, as it is and as JSON writes it; nothing where it is a single line.
fn broken(text: &str, columns: usize) -> Vec<Vec<u8>> {
    if text.len() <= columns {
        return Vec::new();
    }
    let lines: Vec<&str> =
        (0..text.len()).step_by(columns).filter_map(|at| text.get(at..(at + columns).min(text.len()))).collect();
    vec![lines.join("\n").into_bytes(), lines.join("\\n").into_bytes()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sk-ant-api03-a\"b\\c/dé+QQQQ";

    fn redactor(values: &[(&str, &str)]) -> Redactor {
        Redactor::new(values.iter().map(|(name, value)| (*name, value.as_bytes()))).expect("patterns")
    }

    fn streamed(redactor: &Redactor, text: &[u8], size: usize) -> Vec<u8> {
        let mut stream = Stream::new(redactor);
        let mut out: Vec<u8> = text.chunks(size.max(1)).flat_map(|chunk| stream.push(chunk)).collect();
        out.extend(stream.finish());
        out
    }

    #[test]
    fn every_form_is_found_whole_and_in_pieces() {
        let redactor = redactor(&[("MY_KEY", KEY)]);
        let standard = base64::engine::general_purpose::STANDARD;
        let texts = [
            KEY.to_owned(),
            serde_json::json!({"said": KEY}).to_string(),
            serde_json::json!({"said": serde_json::json!({"said": KEY}).to_string()}).to_string(),
            standard.encode(KEY),
            standard.encode(format!("{KEY}\n")),
            standard.encode(format!("x{KEY}")),
            standard.encode(format!("Authorization: {KEY} and more")),
            base64::engine::general_purpose::URL_SAFE.encode(format!("xx{KEY}x")),
            KEY.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
            String::from_utf8(percent(KEY.as_bytes())).expect("ascii"),
            format!("{KEY}{KEY}"),
        ];
        for text in texts {
            let framed = format!("before {text} behind");
            let whole = redactor.text(&framed);
            assert!(
                whole.contains("[redacted MY_KEY]") && whole.starts_with("before ") && whole.ends_with(" behind"),
                "{whole}"
            );
            assert!(redactor.find(whole.as_bytes()).is_none() && redactor.find(framed.as_bytes()) == Some("MY_KEY"));
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(streamed(&redactor, framed.as_bytes(), size), whole.as_bytes(), "{size}");
            }
        }
    }

    #[test]
    fn long_values_are_found_in_broken_lines_and_keys_of_several_lines_line_by_line() {
        let long = "k".repeat(40) + &"L".repeat(80);
        let pem = "-----BEGIN KEY-----\nAAAABBBBCCCCDDDDEEEE\nFFFFGGGGHHHHIIIIJJJJ\n-----END KEY-----";
        let redactor = redactor(&[("LONG", &long), ("PEM", pem)]);
        let encoded = STANDARD_NO_PAD.encode(&long);
        let broken = format!("{}\n{}\n{}", &encoded[..76], &encoded[76..152], &encoded[152..]);
        assert!(redactor.text(&broken).starts_with("[redacted LONG]"), "{}", redactor.text(&broken));
        let listed = redactor.text("1 -----BEGIN KEY-----\n2 AAAABBBBCCCCDDDDEEEE\n3 FFFFGGGGHHHHIIIIJJJJ\n");
        assert_eq!(listed, "1 -----BEGIN KEY-----\n2 [redacted PEM]\n3 [redacted PEM]\n");
    }

    #[test]
    fn the_longer_of_two_that_begin_alike_is_found() {
        let redactor = redactor(&[("SHORT", "secret-one"), ("LONG", "secret-one-and-more")]);
        for size in 1..20 {
            let out = streamed(&redactor, b"secret-one-and-more secret-one-and", size);
            assert_eq!(String::from_utf8_lossy(&out), "[redacted LONG] [redacted SHORT]-and", "{size}");
        }
    }

    #[test]
    fn what_cannot_be_a_value_passes_at_once_and_short_values_are_left_alone() {
        let redactor = redactor(&[("MY_KEY", "secret-one"), ("SHORT", "abc"), ("EMPTY", "")]);
        let mut stream = Stream::new(&redactor);
        assert_eq!(stream.push(b"{\"type\":\"result\"}\n"), b"{\"type\":\"result\"}\n");
        assert_eq!(stream.push(b"abc secret-"), b"abc ");
        assert_eq!(stream.push(b"two\n"), b"secret-two\n");
        assert!(Redactor::new([("SHORT", b"abc".as_slice())]).expect("patterns").is_empty());
    }

    proptest! {
        #[test]
        fn a_stream_is_what_the_whole_is(parts in prop::collection::vec("[ab]{0,3}|abcabd|bcabdab|x", 0..12), size in 1..9_usize) {
            let redactor = redactor(&[("ONE", "abcabd"), ("TWO", "bcabdab")]);
            let text = parts.concat();
            let out = streamed(&redactor, text.as_bytes(), size);
            prop_assert_eq!(&out, &redactor.bytes(text.as_bytes()).into_owned());
            prop_assert!(redactor.find(&out).is_none());
        }
    }
}
