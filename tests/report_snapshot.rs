//! The page of a night that is written down: the same data, the same bytes.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test report_snapshot` rewrites the snapshot; look at the difference.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use autometta::core::night::Night;
use autometta::report::page;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

#[test]
fn the_page_of_a_night_is_the_one_that_was_looked_at() {
    let text = fs::read_to_string(here("fixtures/report/night.json")).expect("fixture");
    let mut night: Night = serde_json::from_str(&text).expect("a night");
    night.sum_up();
    let html = page(&night);
    assert_eq!(html, page(&night.clone()), "the same data gives the same bytes");
    // The style is a file of its own; here it would hide what changed.
    let (before, rest) = html.split_once("<style>").expect("a style");
    let (_, after) = rest.split_once("</style>").expect("its end");
    let (before, after) = (before.split("sha256-").next().expect("policy"), after.replace("><", ">\n<"));
    let shown = format!("{}…\n{after}\n", before.replace("><", ">\n<"));
    let snapshot = here("snapshots/report/night.html");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&snapshot, &shown).expect("written");
        if let Some(whole) = std::env::var_os("REPORT_PAGE") {
            fs::write(whole, &html).expect("written");
        }
    }
    let known = fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(known == shown, "the page has changed; UPDATE_SNAPSHOTS=1 cargo test --test report_snapshot, and look");
}
