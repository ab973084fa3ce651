//! The timer: installed once, starting a program that is there, in an environment that finds everything, and on time.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::core::quantity::Seconds;
use crate::core::timer::TimerRecord;
use crate::files::home::Home;
use crate::timers::status::{Fleet, Status};
use crate::timers::{Host, Own, Timers};

use super::super::heartbeat;
use super::super::site::Site;
use super::agents::Wanted;
use super::finding::{Area, Finding};
use super::probe;

/// `exe` is this program.
pub(super) fn check(home: &Home, exe: &Path, sites: &[&Site], wanted: &[Wanted], now: DateTime<Utc>) -> Vec<Finding> {
    let record = match home.timer() {
        Ok(record) => record,
        Err(error) => return vec![Finding::fault(Area::Timer, error.to_string()).mend("autometta timer install")],
    };
    let host = Host::from_env();
    let status = Timers::new(&host, home, exe).and_then(|timers| timers.status(Fleet::Empty, now));
    let mut findings = match (&status, &record) {
        (Ok(status), None) if status.installed.is_empty() && status.others.is_empty() => {
            let says = "no timer is installed, so nothing starts a tick after a reboot, a pause or a lost supervisor";
            return vec![Finding::warning(Area::Timer, says).mend("autometta timer install")];
        }
        (Ok(status), _) => in_scheduler(status),
        (Err(error), _) => vec![Finding::warning(Area::Timer, error.to_string()).mend("autometta timer status")],
    };
    let Some(record) = record else { return findings };
    let says = format!("{} starts {} every {}", record.scheduler.as_str(), record.exe.display(), record.every_seconds);
    findings.insert(0, Finding::ok(Area::Timer, says));
    findings.extend(probe::check(&record, wanted));
    findings.extend(sites.iter().filter_map(|site| late(&record, site, now)));
    findings
}

/// What the schedulers themselves have: one entry, taken up, and nobody else's beside it.
fn in_scheduler(status: &Status) -> Vec<Finding> {
    let loaded: Vec<&Own> = status.installed.iter().filter(|own| own.loaded).collect();
    let mut findings: Vec<Finding> =
        loaded.iter().map(|own| Finding::ok(Area::Timer, format!("its entry is in {}", own.place))).collect();
    let fires = !loaded.is_empty() || !status.others.is_empty();
    findings.extend(status.advice.iter().map(|advice| {
        let finding = if fires { Finding::warning(Area::Timer, advice) } else { Finding::fault(Area::Timer, advice) };
        finding.mend("autometta timer status")
    }));
    findings
}

fn late(record: &TimerRecord, site: &Site, now: DateTime<Utc>) -> Option<Finding> {
    let last = heartbeat::read(site).map(|beat| beat.at);
    if !record.is_late(last, now) {
        return None;
    }
    let since = last.map_or_else(
        || "never".to_owned(),
        |last| format!("{} ago", Seconds(u64::try_from(now.signed_duration_since(last).num_seconds()).unwrap_or(0))),
    );
    let says =
        format!("the last tick of {} was {since}, and one is due every {}", site.root.display(), record.every_seconds);
    Some(Finding::fault(Area::Timer, says).mend("autometta timer install; then see whether the scheduler itself runs"))
}
