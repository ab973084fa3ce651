//! Time zones by name, such as `Europe/London`: chrono's calendar with the zone data that jiff carries along.
//!
//! jiff keeps that data as bytes and reads a zone when it is named; a table of every zone in the program would be fixed
//! up by the loader at each start.

use chrono::{Datelike as _, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike as _};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{self, AmbiguousOffset, TimeZoneDatabase};

/// A zone that somebody has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(tz::TimeZone);

/// How far a zone's clocks are from UTC at some moment.
#[derive(Debug, Clone)]
pub struct ZoneOffset {
    zone: Zone,
    offset: FixedOffset,
}

impl Zone {
    /// The zone whose clocks show UTC.
    pub const UTC: Self = Self(tz::TimeZone::UTC);

    /// The zone of this name, in whatever case; none where there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        TimeZoneDatabase::bundled().get(name).ok().map(Self)
    }

    fn with(&self, offset: tz::Offset) -> Option<ZoneOffset> {
        Some(ZoneOffset { zone: self.clone(), offset: FixedOffset::east_opt(offset.seconds())? })
    }

    /// The offset at a moment that has one; UTC's outside of the calendar.
    fn at(&self, seconds: i64) -> ZoneOffset {
        let offset = Timestamp::from_second(seconds).ok().and_then(|moment| self.with(self.0.to_offset(moment)));
        offset.unwrap_or_else(|| ZoneOffset { zone: self.clone(), offset: Offset::fix(&chrono::Utc) })
    }
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.offset
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let Some(shown) = civil_of(local) else { return MappedLocalTime::None };
        match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                self.with(offset).map_or(MappedLocalTime::None, MappedLocalTime::Single)
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => match self.with(before).zip(self.with(after)) {
                Some((before, after)) => MappedLocalTime::Ambiguous(before, after),
                None => MappedLocalTime::None,
            },
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.at(utc.and_utc().timestamp())
    }
}

/// What a clock shows, in whole seconds; none before the year -9999 and after 9999.
fn civil_of(local: &NaiveDateTime) -> Option<civil::DateTime> {
    let part = |value: u32| i8::try_from(value).ok();
    civil::DateTime::new(
        i16::try_from(local.year()).ok()?,
        part(local.month())?,
        part(local.day())?,
        part(local.hour())?,
        part(local.minute())?,
        part(local.second())?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Zones with all kinds of clocks: with summer time and without, half hours, a jump over the date line, the south.
    const ZONES: [&str; 10] = [
        "Europe/London",
        "Europe/Berlin",
        "America/New_York",
        "America/Los_Angeles",
        "America/Sao_Paulo",
        "Asia/Tokyo",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "UTC",
    ];

    proptest! {
        /// Another library with data of its own, for years of which both editions of the data tell the same.
        #[test]
        fn a_zone_shows_what_another_library_says(
            zone in proptest::sample::select(&ZONES[..]),
            seconds in 946_684_800_i64..1_735_689_600,
        ) {
            let other: chrono_tz::Tz = zone.parse().expect("a zone");
            let zone = Zone::named(zone).expect("a zone of this name");
            let utc = chrono::DateTime::from_timestamp(seconds, 0).expect("time").naive_utc();
            prop_assert_eq!(
                zone.offset_from_utc_datetime(&utc).fix(),
                other.offset_from_utc_datetime(&utc).fix(),
                "{} at {}", other.name(), utc
            );
            prop_assert_eq!(
                zone.offset_from_local_datetime(&utc).map(|offset| offset.fix()),
                other.offset_from_local_datetime(&utc).map(|offset| offset.fix()),
                "{} shows {}", other.name(), utc
            );
        }
    }

    #[test]
    fn a_name_of_no_zone_is_none() {
        assert_eq!(Zone::named("Mars/Olympus"), None);
        assert_eq!(Zone::named(""), None);
        assert!(Zone::named("europe/london").is_some());
    }
}
