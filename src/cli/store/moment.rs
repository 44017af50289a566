//! A time as people type it: RFC 3339, or so long before now, such as `-10m`.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::cli::since::since;
use crate::event::Timestamp;

/// A time; one before now has been counted from the start of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(ago) = text.strip_prefix('-') {
            return since(ago).map(|time| Self(time.into()));
        }
        // A time without an offset is in UTC, a date alone is its first moment.
        if let Ok(date_time) = text.parse::<DateTime>()
            && text.parse::<jiff::Timestamp>().is_err()
        {
            return date_time
                .to_zoned(TimeZone::UTC)
                .map(|zoned| Self(zoned.timestamp().into()))
                .map_err(|error| error.to_string());
        }
        since(text).map(|time| Self(time.into())).map_err(|_| {
            "neither a time as RFC 3339 has it (2026-11-20T21:23:00Z) nor one before now (-10m)"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_before_now() {
        for (text, s, us) in [
            ("1970-01-01T00:00:10Z", 10, 0),
            ("1970-01-01T01:00:10.5+01:00", 10, 500_000),
            ("1970-01-01T00:00:10", 10, 0),
            ("1970-01-02", 86_400, 0),
            ("1969-12-31 23:59:59Z", -1, 0),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.0, Timestamp::new(s, us), "{text}");
        }
        let now = Timestamp::now();
        for (text, seconds) in [("-10m", 600), ("10m", 600), ("-2d", 172_800)] {
            let moment: Moment = text.parse().unwrap();
            let ago = now.checked_duration_since(moment.0).unwrap_or_default();
            assert!(ago.as_secs().abs_diff(seconds) <= 60, "{text}: {ago:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "-10",
            "-m",
            "-10x",
            "yesterday",
            "2026-13-01",
            "--5s",
            "-1e400d",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
