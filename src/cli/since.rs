//! A moment in the past, as a user writes it.

use std::time::{Duration, SystemTime};

/// Reads how long ago (`30s`, `10m`, `2h`, `1.5d`) or when (`2026-11-21T09:00:00Z`); by the clock of this machine.
pub(crate) fn since(text: &str) -> Result<SystemTime, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.into());
    }
    let ago = ago(text).ok_or_else(|| {
        "not how long ago, such as 10m or 2h, nor a time, such as 2026-11-21T09:00:00Z".to_owned()
    })?;
    SystemTime::now()
        .checked_sub(ago)
        .ok_or_else(|| "before all time".to_owned())
}

fn ago(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        _ => return None,
    };
    let number: f64 = text[..text.len() - 1].parse().ok()?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|ago| *ago <= LONGEST)
}

/// Before that there was no such clock.
const LONGEST: Duration = Duration::from_secs(50 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn spans_have_a_unit() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2h", 7_200), ("0.5d", 43_200)] {
            assert_eq!(ago(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        let before = SystemTime::now();
        let read = since(" 10m ").expect("a span");
        let expected = before - Duration::from_secs(600);
        assert!(read >= expected && read <= expected + Duration::from_secs(60));
    }

    #[test]
    fn times_are_read_with_their_offset() {
        for text in ["1970-01-02T00:00:01.5Z", "1970-01-02T02:00:01.5+02:00"] {
            let expected = UNIX_EPOCH + Duration::from_millis(86_401_500);
            assert_eq!(since(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "nanm",
            "infd",
            "1e9d",
            "yesterday",
            "ö",
            "10 minutes",
        ] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
