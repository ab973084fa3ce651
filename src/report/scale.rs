//! From moments to places on the chart's time axis.

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::night::{Window, Zone};

/// The chart's width in its own units.
pub(super) const WIDTH: f64 = 1000.0;
/// The room on either side, so that a label at the edge is whole.
const MARGIN: f64 = 24.0;
/// The most marks on the axis.
const MOST_MARKS: i64 = 9;
/// Distances of marks that people like, in seconds.
const STEPS: [i64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800];

/// The time axis.
#[derive(Debug)]
pub(super) struct Scale {
    from: DateTime<Utc>,
    milliseconds: f64,
}

/// A mark on the axis.
#[derive(Debug, PartialEq)]
pub(super) struct Mark {
    /// Where.
    pub(super) x: f64,
    /// What stands there: a time, or the day that begins.
    pub(super) label: String,
}

impl Scale {
    pub(super) fn new(window: &Window) -> Self {
        Self { from: window.from, milliseconds: milliseconds(window.until - window.from).max(1.0) }
    }

    /// Where a moment is; moments outside the window are at its edge.
    pub(super) fn x(&self, at: DateTime<Utc>) -> f64 {
        let part = (milliseconds(at - self.from) / self.milliseconds).clamp(0.0, 1.0);
        MARGIN + part * (WIDTH - 2.0 * MARGIN)
    }

    /// Marks at full hours, minutes or whatever fits, of the operator's clock.
    pub(super) fn marks(&self, zone: &Zone) -> Vec<Mark> {
        #[expect(clippy::cast_possible_truncation, reason = "a window of seconds")]
        let length = (self.milliseconds / 1000.0).ceil() as i64;
        let step = STEPS.into_iter().find(|step| length / step < MOST_MARKS).unwrap_or(length / MOST_MARKS + 1);
        let format = if step < 60 { "%H:%M:%S" } else { "%H:%M" };
        let local = |at: DateTime<Utc>| at.timestamp() + i64::from(zone.local(at).offset().local_minus_utc());
        let mut marks = Vec::new();
        // From the last full step before the window; a change of the clock within it moves the marks along.
        let mut at = self.from - TimeDelta::seconds(local(self.from).rem_euclid(step));
        at = DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at);
        for _ in 0..2 * MOST_MARKS {
            let inside = milliseconds(at - self.from);
            if inside > self.milliseconds {
                break;
            }
            if inside >= 0.0 {
                let midnight = step >= 60 && local(at).rem_euclid(86_400) == 0;
                let shown = zone.local(at).format(if midnight { "%a %-d %b" } else { format }).to_string();
                marks.push(Mark { x: self.x(at), label: shown });
            }
            at += TimeDelta::seconds(step);
            at -= TimeDelta::seconds(local(at).rem_euclid(step).min(step - 1));
        }
        marks
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for a thousand years")]
fn milliseconds(delta: TimeDelta) -> f64 {
    delta.num_milliseconds() as f64
}

/// A place for the page: a tenth of a unit is finer than any screen.
pub(super) fn place(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::night::{Begun, Offset};

    fn window(from: i64, until: i64) -> Window {
        let at = |seconds| DateTime::from_timestamp(1_763_690_400 + seconds, 0).expect("time");
        Window { from: at(from), until: at(until), begun: Begun::AfterRest }
    }

    #[test]
    fn marks_stand_at_full_steps_of_the_local_clock() {
        // 2025-11-21T02:00:00Z
        let zone = |seconds| Zone { name: None, offsets: vec![Offset { from: DateTime::UNIX_EPOCH, seconds }] };
        let labels = |window: Window, zone: &Zone| -> Vec<String> {
            Scale::new(&window).marks(zone).into_iter().map(|mark| mark.label).collect()
        };
        assert_eq!(labels(window(60, 3 * 3600), &zone(0)), ["02:30", "03:00", "03:30", "04:00", "04:30", "05:00"]);
        assert_eq!(
            labels(window(60, 2400), &zone(5 * 3600 + 1800)),
            ["07:35", "07:40", "07:45", "07:50", "07:55", "08:00", "08:05", "08:10"]
        );
        assert_eq!(
            labels(window(-5 * 3600, 3600), &zone(0)),
            ["21:00", "22:00", "23:00", "Fri 21 Nov", "01:00", "02:00", "03:00"]
        );
        assert_eq!(labels(window(0, 2), &zone(0)), ["02:00:00", "02:00:01", "02:00:02"]);
        assert_eq!(labels(window(0, 0), &zone(0)), ["02:00:00"]);
        assert!(labels(window(0, 400 * 86_400), &zone(0)).len() <= 2 * 9);
    }

    #[test]
    fn places_are_within_the_chart() {
        let scale = Scale::new(&window(0, 100));
        let at = |seconds| scale.x(window(seconds, seconds).from);
        assert_eq!(place(at(-10)), "24");
        assert_eq!(place(at(50)), "500");
        assert_eq!(place(at(101)), "976");
    }
}
