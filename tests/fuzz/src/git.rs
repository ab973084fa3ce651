//! What git answers.

use autometta::core::honesty;
use autometta::git::fuzzing;

pub(crate) fn answers(bytes: &[u8]) {
    if let Ok((paths, ..)) = fuzzing::diff_tree(bytes) {
        assert!(paths.is_sorted(), "paths in order");
        assert!(paths.len() <= bytes.len());
    }
    if let Ok(stat) = fuzzing::diff_stat(bytes, 3) {
        assert_eq!(stat.files.len(), stat.file_count.min(3));
    }
    for line in bytes.split(|byte| *byte == 0) {
        drop(fuzzing::listed(line));
        drop(fuzzing::tree_file(line));
        let (plain, quoted) = fuzzing::path_lengths(line);
        assert!(plain <= line.len() && quoted >= plain + 2);
    }
    let mut rest = bytes;
    while let Some((object, behind)) = fuzzing::next_object(rest) {
        assert!(object.len() + behind.len() < rest.len(), "it gets shorter");
        rest = behind;
    }
    let (config, filters) = fuzzing::settings(bytes);
    // Only the names and values of a fixed list come through: nothing in it can be a program.
    for line in config.lines() {
        let known = line.starts_with('[') || line.starts_with('\t');
        assert!(known && line.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{line:?}");
    }
    assert!(filters.is_sorted());
    if let Some(order) = fuzzing::landing_note(bytes) {
        assert_eq!(fuzzing::landing_note(fuzzing::landing_text(&order).as_bytes()), Some(order));
    }
    let text = String::from_utf8_lossy(bytes);
    let files = honesty::parse(&text);
    let lines: usize = files.iter().map(|file| file.added.len() + file.removed.len()).sum();
    assert!(lines <= 2 * text.split('\n').count(), "more lines than there are");
}
