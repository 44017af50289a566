//! Standard output: one JSON object a line, or text for people, in colour on a terminal.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::time::civil;

/// Where a verb prints, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    terminal: bool,
}

/// What a colour says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    /// The name of a thing.
    Name,
    /// Success.
    Good,
    /// Something to look at.
    Notice,
    /// Failure, and emergencies.
    Bad,
    /// Beside the point.
    Faint,
}

impl Output {
    /// Standard output; colours only where a person sees them and has not turned them off.
    pub(crate) fn new(json: bool) -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        Self {
            json,
            colour: !json && !unwanted && terminal,
            terminal,
        }
    }

    /// Whether one JSON object a line is wanted.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Data of a peer as people see them: without control characters, and on a terminal not longer than a few lines.
    pub(crate) fn data(self, text: &str) -> String {
        let text = harmless(text);
        match text.char_indices().nth(LONGEST_ON_A_TERMINAL) {
            Some((end, _)) if self.terminal => {
                format!("{}... (all of it with --json)", &text[..end])
            }
            _ => text,
        }
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
        line.push(b'\n');
        write_out(&line)
    }

    /// Prints a line of text; control characters other than colours of ours are shown, not obeyed.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        write_out(format!("{text}\n").as_bytes())
    }

    /// The text in a colour, if this is a terminal.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Name => "1",
            Colour::Good => "32",
            Colour::Notice => "33",
            Colour::Bad => "1;31",
            Colour::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Prints a line on standard error, where a reader of the output does not see it.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text from a peer without the control characters that would command the terminal.
pub(crate) fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The time of day in UTC, as `12:34:56.789`.
pub(crate) fn time_of_day(when: SystemTime) -> String {
    let since = when.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// A number with its noun, whose plural is the noun and `s`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The date and the time of day in UTC, as `2026-11-20 21:23:00`.
pub(crate) fn date_and_time(when: SystemTime) -> String {
    let since = when.duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = i64::try_from(since.as_secs() / 86_400).unwrap_or_default();
    let time = time_of_day(when);
    format!(
        "{} {}",
        date(days),
        time.split('.').next().unwrap_or_default()
    )
}

/// A moment as RFC 3339 has it, in UTC with nanoseconds: `2026-11-20T21:23:00.000000000Z`.
///
/// Moments before 1970 have negative seconds; the nanoseconds count forward at any time.
pub(crate) fn rfc_3339(seconds: i64, nanoseconds: u32) -> String {
    let time = seconds.rem_euclid(86_400);
    format!(
        "{}T{:02}:{:02}:{:02}.{nanoseconds:09}Z",
        date(seconds.div_euclid(86_400)),
        time / 3600,
        time / 60 % 60,
        time % 60,
    )
}

/// The date so many days after 1970 began.
fn date(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn write_out(line: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.flush()?;
    Ok(())
}

const LONGEST_ON_A_TERMINAL: usize = 300;

/// Bytes as people read them, in powers of ten.
pub(crate) fn bytes(bytes: f64) -> String {
    for (unit, name) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes / unit);
        }
    }
    format!("{bytes:.0} B")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn text_without_colour_is_left_alone() {
        let plain = Output {
            json: false,
            colour: false,
            terminal: false,
        };
        let coloured = Output {
            json: false,
            colour: true,
            terminal: true,
        };
        assert_eq!(plain.paint(Colour::Bad, "x"), "x");
        assert_eq!(coloured.paint(Colour::Bad, "x"), "\x1b[1;31mx\x1b[0m");
    }

    #[test]
    fn only_people_get_less_than_all() {
        let mut out = Output {
            json: false,
            colour: false,
            terminal: false,
        };
        let long = "é".repeat(1000);
        assert_eq!(out.data(&long), long);
        out.terminal = true;
        assert!(out.data(&long).starts_with(&"é".repeat(300)));
        assert!(out.data(&long).ends_with("(all of it with --json)"));
        assert_eq!(out.data("short"), "short");
    }

    #[test]
    fn peer_cannot_command_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(harmless("é – ok"), "é – ok");
    }

    #[test]
    fn time_of_day_is_that_of_the_record() {
        let when = UNIX_EPOCH + Duration::from_millis(86_400_000 * 3 + 45_296_789);
        assert_eq!(time_of_day(when), "12:34:56.789");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_200, "2024-03-01 00:00:00"),
            (4_102_444_799, "2099-12-31 23:59:59"),
        ] {
            assert_eq!(
                date_and_time(UNIX_EPOCH + Duration::from_secs(seconds)),
                text
            );
        }
    }

    #[test]
    fn moments_are_told_as_rfc_3339() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (1_709_251_199, 5, "2024-02-29T23:59:59.000000005Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(rfc_3339(seconds, nanoseconds), text);
        }
        // What a peer may send; it is to be told, too.
        assert!(rfc_3339(i64::MAX, 0).ends_with('Z'));
        assert!(rfc_3339(i64::MIN, 0).ends_with('Z'));
    }
}
