//! The timer: installed once, starting a program that is there, in an environment that finds everything, and on time.

use chrono::{DateTime, Utc};

use crate::core::quantity::Seconds;
use crate::core::timer::TimerRecord;
use crate::files::home::Home;

use super::super::heartbeat;
use super::super::site::Site;
use super::agents::Wanted;
use super::finding::{Area, Finding};
use super::probe;

pub(super) fn check(home: &Home, sites: &[&Site], wanted: &[Wanted], now: DateTime<Utc>) -> Vec<Finding> {
    let record = match home.timer() {
        Ok(Some(record)) => record,
        Ok(None) => {
            let says = "no timer is installed, so nothing starts a tick after a reboot, a pause or a lost supervisor";
            return vec![Finding::warning(Area::Timer, says).mend("autometta timer install")];
        }
        Err(error) => return vec![Finding::fault(Area::Timer, error.to_string()).mend("autometta timer install")],
    };
    let says = format!("{} starts {} every {}", record.scheduler.as_str(), record.exe.display(), record.every_seconds);
    let mut findings = vec![Finding::ok(Area::Timer, says)];
    findings.extend(probe::check(&record, wanted));
    findings.extend(sites.iter().filter_map(|site| late(&record, site, now)));
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
