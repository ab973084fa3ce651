//! A block of our own in a crontab, and everything else byte for byte. Pure: bytes in, bytes out.
//!
//! The first line of the block says what stood before it, because taking the block out has to give back exactly the
//! bytes that were there: a crontab whose last line had no end, an empty one, or none at all.
//!
//! What a crontab's lines mean is not known here.

use std::ops::Range;

use thiserror::Error;

/// What was there when the block was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A crontab that was empty or whose last line was ended.
    Whole,
    /// A crontab whose last line was not ended.
    OpenEnd,
    /// No crontab.
    Nothing,
}

impl Before {
    const ALL: [Self; 3] = [Self::Whole, Self::OpenEnd, Self::Nothing];

    fn note(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::OpenEnd => "; the line before had no end",
            Self::Nothing => "; there was no crontab before",
        }
    }
}

/// A block that somebody has edited.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the crontab has the first line of the block for {home} and not its last")]
pub struct Torn {
    /// The home that the block serves.
    pub home: String,
}

/// The block as it stands in a crontab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it stands, its markers and the end of its last line included.
    pub range: Range<usize>,
    /// What stands between its markers, without the end of the last line.
    pub entry: Vec<u8>,
    before: Before,
}

/// What taking the block out leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// This crontab.
    Crontab(Vec<u8>),
    /// No crontab.
    Nothing,
}

/// The block's first line, without its end.
fn first_line(home: &str, before: Before) -> String {
    format!("# >>> autometta timer for {home} >>> (`autometta timer uninstall` removes it{})", before.note())
}

/// The block's last line, without its end.
fn last_line(home: &str) -> String {
    format!("# <<< autometta timer for {home} <<<")
}

/// The block itself.
fn block(home: &str, entry: &str, before: Before) -> String {
    format!("{}\n{entry}\n{}\n", first_line(home, before), last_line(home))
}

/// Finds the first block for this home.
///
/// # Errors
/// The block has no end.
pub fn find(crontab: &[u8], home: &str) -> Result<Option<Block>, Torn> {
    let last = last_line(home);
    let mut opened: Option<(usize, usize, Before)> = None;
    let mut start = 0;
    for line in crontab.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match opened {
            None => {
                let before = Before::ALL.into_iter().find(|before| first_line(home, *before).as_bytes() == text);
                opened = before.map(|before| (start, end, before));
            }
            Some((first, inside, before)) if text == last.as_bytes() => {
                let entry = crontab[inside..start].strip_suffix(b"\n").unwrap_or_default().to_vec();
                return Ok(Some(Block { range: first..end, entry, before }));
            }
            Some(_) => {}
        }
        start = end;
    }
    if opened.is_some() { Err(Torn { home: home.to_owned() }) } else { Ok(None) }
}

/// The crontab with this entry: in the place of the block that is there, else at the end. None is a crontab that does
/// not exist, which is something else than an empty one.
///
/// # Errors
/// The block has no end.
pub fn install(crontab: Option<&[u8]>, home: &str, entry: &str) -> Result<Vec<u8>, Torn> {
    let old = crontab.unwrap_or_default();
    let mut new = Vec::with_capacity(old.len() + 512);
    if let Some(found) = find(old, home)? {
        new.extend_from_slice(&old[..found.range.start]);
        new.extend_from_slice(block(home, entry, found.before).as_bytes());
        new.extend_from_slice(&old[found.range.end..]);
        return Ok(new);
    }
    let before = match crontab {
        None => Before::Nothing,
        Some(bytes) if bytes.is_empty() || bytes.ends_with(b"\n") => Before::Whole,
        Some(_) => Before::OpenEnd,
    };
    new.extend_from_slice(old);
    if before == Before::OpenEnd {
        new.push(b'\n');
    }
    new.extend_from_slice(block(home, entry, before).as_bytes());
    Ok(new)
}

/// What is left without our blocks; none where there is no block.
///
/// # Errors
/// A block has no end.
pub fn uninstall(crontab: &[u8], home: &str) -> Result<Option<Left>, Torn> {
    let mut left = None;
    let mut rest = crontab.to_vec();
    while let Some(found) = find(&rest, home)? {
        let mut before = rest[..found.range.start].to_vec();
        let after = &rest[found.range.end..];
        // Where lines were added behind the block since, the end that we gave to the line before it is needed.
        if found.before == Before::OpenEnd && after.is_empty() && before.ends_with(b"\n") {
            before.pop();
        }
        before.extend_from_slice(after);
        rest = before;
        left = Some(match found.before {
            Before::Nothing if rest.is_empty() => Left::Nothing,
            _ => Left::Crontab(rest.clone()),
        });
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOME: &str = "/home/you/.autometta";
    const ENTRY: &str = "*/5 * * * * '/usr/bin/autometta' tick";

    fn there_and_back(crontab: Option<&[u8]>) {
        let installed = install(crontab, HOME, ENTRY).expect("no block yet");
        assert_eq!(find(&installed, HOME).expect("whole").expect("there").entry, ENTRY.as_bytes());
        let expected = crontab.map_or(Left::Nothing, |bytes| Left::Crontab(bytes.to_vec()));
        assert_eq!(uninstall(&installed, HOME).expect("whole"), Some(expected), "{crontab:?}");
        assert_eq!(install(Some(&installed), HOME, ENTRY).expect("again"), installed, "installing twice is once");
    }

    #[test]
    fn what_was_there_before_comes_back() {
        for crontab in [
            None,
            Some(&b""[..]),
            Some(b"\n"),
            Some(b"0 1 * * * backup\n"),
            Some(b"0 1 * * * backup"),
            Some(b"# windows\r\n0 1 * * * backup\r\n"),
            Some(b"# windows\r\n0 1 * * * backup\r"),
            Some(b"0 1 * * * caf\xe9 \\% \xff\n\n\n"),
        ] {
            there_and_back(crontab);
        }
    }

    #[test]
    fn the_block_reads_like_this() {
        let text = String::from_utf8(install(Some(b"A=1"), HOME, ENTRY).expect("installed")).expect("text");
        assert_eq!(
            text,
            "A=1\n\
             # >>> autometta timer for /home/you/.autometta >>> (`autometta timer uninstall` removes it; the line \
             before had no end)\n\
             */5 * * * * '/usr/bin/autometta' tick\n\
             # <<< autometta timer for /home/you/.autometta <<<\n"
        );
    }

    #[test]
    fn another_entry_takes_the_place_of_ours_and_homes_do_not_disturb_each_other() {
        let mine = install(Some(b"first\n"), HOME, ENTRY).expect("installed");
        let both = install(Some(&mine), "/other", "0 * * * * other").expect("installed");
        let changed = install(Some(&both), HOME, "0 * * * * mine").expect("installed");
        assert_eq!(find(&changed, HOME).expect("whole").expect("there").entry, b"0 * * * * mine");
        assert_eq!(find(&changed, HOME).expect("whole").expect("there").range.start, "first\n".len());
        let Some(Left::Crontab(left)) = uninstall(&changed, HOME).expect("whole") else { panic!("there was a block") };
        assert_eq!(left, install(Some(b"first\n"), "/other", "0 * * * * other").expect("installed"));
    }

    #[test]
    fn lines_that_were_added_behind_the_block_stay() {
        for (before, expected) in [
            (None, &b"later\n"[..]),
            (Some(&b"open"[..]), b"open\nlater\n"),
            (Some(b""), b"later\n"),
            (Some(b"whole\n"), b"whole\nlater\n"),
        ] {
            let mut crontab = install(before, HOME, ENTRY).expect("installed");
            crontab.extend_from_slice(b"later\n");
            assert_eq!(uninstall(&crontab, HOME).expect("whole"), Some(Left::Crontab(expected.to_vec())));
        }
    }

    #[test]
    fn a_torn_block_is_left_to_a_person_and_a_copied_one_goes_as_well() {
        let whole = install(None, HOME, ENTRY).expect("installed");
        let torn = whole[..whole.len() - 10].to_vec();
        assert_eq!(find(&torn, HOME), Err(Torn { home: HOME.to_owned() }));
        assert!(install(Some(&torn), HOME, ENTRY).is_err() && uninstall(&torn, HOME).is_err());
        // An editor may take the end of the last line away.
        assert!(find(&whole[..whole.len() - 1], HOME).expect("whole").is_some());
        let twice = [&whole[..], b"between\n", &whole[..]].concat();
        assert_eq!(uninstall(&twice, HOME).expect("whole"), Some(Left::Crontab(b"between\n".to_vec())));
        assert_eq!(uninstall(b"nothing of ours\n", HOME).expect("whole"), None);
    }

    /// Any bytes that a crontab may hold, pieces of our own markers among them.
    fn crontabs() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(1_u8..=255, 0..40),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(last_line(HOME).into_bytes()),
            Just(first_line("/other", Before::OpenEnd).into_bytes()),
            Just(b"# >>> autometta timer for ".to_vec()),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_crontab_comes_back_byte_for_byte(crontab in crontabs()) {
            there_and_back(Some(&crontab));
        }

        #[test]
        fn a_changed_entry_changes_nothing_else(crontab in crontabs(), entry in "[ -~]{1,80}") {
            let once = install(Some(&crontab), HOME, ENTRY).expect("installed");
            let changed = install(Some(&once), HOME, &entry).expect("installed");
            prop_assert_eq!(uninstall(&changed, HOME).expect("whole"), Some(Left::Crontab(crontab)));
        }
    }
}
