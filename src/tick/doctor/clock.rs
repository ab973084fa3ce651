//! The clock: not before what was written down already.

use chrono::{DateTime, TimeDelta, Utc};

use crate::files::ledger::{self, Line};

use super::super::heartbeat;
use super::super::site::Site;
use super::finding::{Area, Finding};

/// How far clocks may disagree before that is worth a word.
const SLACK: TimeDelta = TimeDelta::seconds(60);

/// How much of the ledger's end is read for its last line, in bytes.
const TAIL: u64 = 256 * 1024;

pub(super) fn check(site: &Site, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ahead = |what: &str, at: Option<DateTime<Utc>>| {
        let Some(at) = at.filter(|at| *at > now + SLACK) else { return };
        let says = format!(
            "the clock says {}, and {what} was written at {}; pauses and caps go by this clock",
            now.format("%Y-%m-%d %H:%M:%S UTC"),
            at.format("%Y-%m-%d %H:%M:%S UTC")
        );
        findings.push(Finding::warning(Area::Repository, says).mend("date -u; then set the clock right"));
    };
    ahead("the ledger's last line", last_line(site));
    ahead("the heartbeat", heartbeat::read(site).map(|beat| beat.at));
    if findings.is_empty() {
        findings.push(Finding::ok(Area::Repository, "the clock is not behind what was written last"));
    }
    findings
}

fn last_line(site: &Site) -> Option<DateTime<Utc>> {
    let tail = ledger::tail(&site.layout.ledger(), TAIL).ok()?;
    let last = tail.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty())?;
    serde_json::from_slice::<Line>(last).ok().map(|line| line.at)
}
