//! Dates and times as RFC 3339 writes them.

use jiff::Timestamp;

/// Whether a text is a `date-time` of RFC 3339, section 5.6.
///
/// `T` and `Z` may be small. Second 60 is one only where it is 23:59:60 in UTC.
pub(super) fn is_date_time(text: &str) -> bool {
    parts(text.as_bytes()).is_some()
}

/// Writes a time in UTC with microseconds, so that the texts of times sort as the times do.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// `Some` for a text that is a date-time.
fn parts(text: &[u8]) -> Option<()> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let month = number(&[*m1, *m2])?;
    let day = number(&[*d1, *d2])?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't', h1, h2, b':', n1, n2, b':', s1, s2] = time else {
        return None;
    };
    let hour = number(&[*h1, *h2])?;
    let minute = number(&[*n1, *n2])?;
    let second = number(&[*s1, *s2])?;
    let rest = match rest {
        [b'.', fraction @ ..] => {
            let len = fraction
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if len == 0 {
                return None;
            }
            &fraction[len..]
        }
        rest => rest,
    };
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', n1, n2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    let of_day = (hour * 60 + minute - offset).rem_euclid(24 * 60);
    let exists = (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && (second <= 59 || second == 60 && of_day == 23 * 60 + 59);
    exists.then_some(())
}

fn days(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Among them the examples of RFC 3339, section 5.8.
    const GOOD: &[&str] = &[
        "1985-04-12T23:20:50.52Z",
        "1996-12-19T16:39:57-08:00",
        "1990-12-31T23:59:60Z",
        "1990-12-31T15:59:60-08:00",
        "1937-01-01T12:00:27.87+00:20",
        "2024-02-29T00:00:00Z",
        "2000-02-29t00:00:00z",
        "0000-01-01T00:00:00-00:00",
        "9999-12-31T23:59:59.999999999999+23:59",
    ];

    const BAD: &[&str] = &[
        "",
        "yesterday",
        "2026-06-07",
        "2026-06-07 19:00:00Z",
        "2026-06-07T19:00:00",
        "2026-06-07T19:00Z",
        "2026-06-07T19:00:00.Z",
        "2026-06-07T24:00:00Z",
        "2026-06-07T19:60:00Z",
        "2026-06-07T19:00:60Z",
        "2026-06-07T23:59:61Z",
        "2026-13-07T19:00:00Z",
        "2026-00-07T19:00:00Z",
        "2026-06-31T19:00:00Z",
        "2026-06-00T19:00:00Z",
        "2026-02-29T19:00:00Z",
        "1900-02-29T19:00:00Z",
        "2026-06-07T19:00:00+24:00",
        "2026-06-07T19:00:00+00:60",
        "2026-06-07T19:00:00+0000",
        "2026-06-07T19:00:00Z ",
        "+002026-06-07T19:00:00Z",
        "2026-06-07T19:00:00\u{0660}Z",
    ];

    #[test]
    fn date_times_are_those_of_the_rfc() {
        for text in GOOD {
            assert!(is_date_time(text), "{text}");
        }
        for text in BAD {
            assert!(!is_date_time(text), "{text}");
        }
    }

    #[test]
    fn no_truncation_of_one_is_one() {
        for text in GOOD {
            for len in 0..text.len() {
                assert!(!is_date_time(&text[..len]), "{}", &text[..len]);
            }
        }
    }

    #[test]
    fn a_written_time_is_a_date_time_of_fixed_length() {
        let time = |text: &str| time_text(text.parse().expect("a time"));
        assert_eq!(time("2026-06-07T19:00:00Z"), "2026-06-07T19:00:00.000000Z");
        assert_eq!(
            time("2026-06-07T21:00:00.1234567+02:00"),
            "2026-06-07T19:00:00.123456Z"
        );
        for moment in [Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            assert!(is_date_time(&time_text(moment)));
        }
    }
}
