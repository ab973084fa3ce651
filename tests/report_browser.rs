//! The report in a real browser, as a person opens it: on a phone and on a desk, in the light and in the dark.
//!
//! It needs Debian's `chromium` (or a browser that `CHROMIUM` names), `node` and `npm`; `.ci/install-browser` brings the
//! rest. `REPORT_SHOTS=FOLDER` keeps the pictures.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use autometta::core::night::{Excerpt, Night};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the driver and with axe; installed once.
fn modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let folder = root().join("target/browser");
        let installed = Command::new("bash").arg(root().join(".ci/install-browser")).arg(&folder).output();
        let installed = installed.expect("bash runs");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        folder.join("node_modules")
    })
}

/// What the browser saw of these pages: each in two sizes and two colour schemes.
fn look(pages: &[&Path]) -> Vec<Value> {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let shots = env::var_os("REPORT_SHOTS").unwrap_or_else(|| "-".into());
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(&chromium)).find(|path| path.is_file());
    let chromium = found.unwrap_or_else(|| PathBuf::from(&chromium));
    let seen = Command::new("node")
        .arg(root().join("tests/browser/look.mjs"))
        .args([modules(), &chromium])
        .arg(shots)
        .args(pages)
        .output()
        .expect("node runs");
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    let seen: Vec<Value> = serde_json::from_slice(&seen.stdout).expect("json");
    assert_eq!(seen.len(), pages.len() * 4);
    seen
}

fn told() -> Night {
    let text = fs::read_to_string(root().join("tests/fixtures/report/night.json")).expect("fixture");
    let mut night: Night = serde_json::from_str(&text).expect("a night");
    night.sum_up();
    night
}

/// The same night, told by agents who write what they should not, at lengths that no screen has.
fn hostile() -> Night {
    let mut night = told();
    let evil = "</script><script>alert(1)</script><img src='http://127.0.0.1:9/x' onerror='alert(2)'>\
                <style>@import 'http://127.0.0.1:9/y'</style><iframe src='http://127.0.0.1:9/z'></iframe>\u{202e}";
    let wide = "wide".repeat(300);
    let text = |more: &str| Excerpt { text: format!("{evil}{more}"), omitted: 7 };
    for stage in &mut night.stages {
        stage.title = format!("{evil} {wide}");
        if let Some(reason) = &mut stage.reason {
            reason.detail = text(&wide);
        }
        for run in &mut stage.runs {
            run.model = Some(wide.clone());
            if let Some(handoff) = &mut run.handoff {
                handoff.notes = text(&format!("\n{wide}\n日本語 العربية"));
            }
            for gate in &mut run.gates {
                (gate.passed, gate.command, gate.output) = (false, text(&wide), Some(text(&format!("\n{wide}"))));
            }
            if let Some(verdict) = &mut run.verdict {
                verdict.headline = text("");
                for criterion in &mut verdict.criteria {
                    (criterion.name, criterion.evidence) = (text(&wide), text(&format!("\n{wide}")));
                }
            }
        }
    }
    for need in &mut night.needs {
        need.detail = text(&wide);
        need.way_out = format!("`autometta answer {wide}`");
    }
    for entry in &mut night.ledger {
        entry.detail = format!("{evil}{wide}");
    }
    night.path = format!("/{wide}");
    night.faults = vec![format!("{wide} {evil}")];
    night
}

/// Everything that must hold of a page, as sentences where it does not.
fn faults(seen: &Value, bars: usize) -> Vec<String> {
    let mut faults = Vec::new();
    for list in ["messages", "requests", "wide"] {
        for one in seen[list].as_array().expect(list) {
            faults.push(format!("{list}: {one}"));
        }
    }
    for when in ["closed", "open"] {
        if seen[when]["scroll"].as_u64() > seen[when]["inner"].as_u64() {
            faults.push(format!("the page scrolls sideways ({when}): {}", seen[when]));
        }
    }
    for violation in seen["violations"].as_array().expect("violations") {
        faults.push(format!("axe: {violation:#}"));
    }
    if seen["scripts"] != 0 {
        faults.push("there is a script".to_owned());
    }
    for key in ["bars", "drawn"] {
        if seen[key] != bars {
            faults.push(format!("{key}: {} and not {bars}", seen[key]));
        }
    }
    let levels: Vec<u64> = seen["headings"].as_array().expect("headings").iter().filter_map(Value::as_u64).collect();
    if levels.first() != Some(&1) || levels.windows(2).any(|pair| pair[1] > pair[0] + 1) {
        faults.push(format!("headings out of order: {levels:?}"));
    }
    faults
}

#[test]
fn it_reads_well_on_a_phone_and_on_a_desk_in_the_light_and_in_the_dark() {
    let folder = tempfile::tempdir().expect("dir");
    let mut nothing = told();
    (nothing.stages, nothing.needs, nothing.ledger, nothing.bands) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    nothing.sum_up();
    let nights = [("night.html", told()), ("hostile.html", hostile()), ("nothing.html", nothing)];
    let pages: Vec<PathBuf> = nights.iter().map(|(name, _)| folder.path().join(name)).collect();
    for ((_, night), path) in nights.iter().zip(&pages) {
        fs::write(path, autometta::report::page(night)).expect("page");
    }
    let seen = look(&pages.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for one in &seen {
        let runs =
            nights.iter().find(|(name, _)| one["page"] == *name).map(|(_, night)| night.outcome.runs).expect("page");
        let at = format!("{} at {} in {}", one["page"], one["width"], one["scheme"]);
        wrong.extend(faults(one, runs).into_iter().map(|fault| format!("{at}: {fault}")));
        if one["page"] == "night.html" {
            assert_eq!(one["chartScrolls"], one["width"] == 360, "{at}: the chart moves in its own box where it must");
        }
        assert!(one["checks"].as_u64() > Some(20), "{at}: axe has looked");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let background =
        |scheme: &str| seen.iter().find(|one| one["scheme"] == scheme).map(|one| one["background"].clone());
    assert_ne!(background("light"), background("dark"));
}

#[test]
fn the_look_bites() {
    // Were nothing found on this page, the test above would be blind.
    let folder = tempfile::tempdir().expect("dir");
    let path = folder.path().join("bad.html");
    let page = autometta::report::page(&told());
    let bad = "<script>console.log('ran')</script><img src='http://127.0.0.1:9/x'>\
               <p style='width:3000px;color:#ccc;background:#fff'>pale</p><h5>deep</h5>";
    let page = page.replacen("<main", &format!("{bad}<main"), 1);
    // With the policy in force the browser complains; without it the script runs.
    fs::write(&path, &page).expect("page");
    let with: Vec<String> = look(&[&path]).iter().flat_map(|one| faults(one, 21)).collect();
    for word in ["messages: ", "Content Security Policy", "headings out of order", "there is a script"] {
        assert!(with.iter().any(|fault| fault.contains(word)), "{word} in {with:#?}");
    }
    let (_, after) = page.split_once("Content-Security-Policy").expect("policy");
    fs::write(&path, format!("<!DOCTYPE html><html><head><meta name=\"{after}")).expect("page");
    let without: Vec<String> = look(&[&path]).iter().flat_map(|one| faults(one, 21)).collect();
    for word in ["messages: \"ran\"", "requests: ", "scrolls sideways", "color-contrast", "html-has-lang"] {
        assert!(without.iter().any(|fault| fault.contains(word)), "{word} in {without:#?}");
    }
}
