//! Rows, what each is to reach, and how they are printed.

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::print::{Colour, Output};

/// One measured figure beside its limit, its target and the reference.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) case: &'static str,
    pub(super) unit: &'static str,
    pub(super) ours: f64,
    /// Raw libzmq, a plain write, or redb alone, in the same run.
    pub(super) limit: Option<f64>,
    /// The Python package.
    pub(super) peer: Option<f64>,
    pub(super) runs: u32,
    pub(super) target: Target,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// At most so many times the raw figure.
    RatioAtMost(f64),
    /// At least this part of the raw figure.
    RatioAtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
    /// At least so much, or [`NEAR_RAW`] of the raw figure, whichever is less.
    AtLeastOrRaw(f64),
    /// Printed for information.
    None,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.limit
            .filter(|limit| *limit > 0.0)
            .map(|limit| self.ours / limit)
    }

    /// Whether the target is reached; `None` where there is none.
    pub(super) fn is_met(&self) -> Option<bool> {
        match (self.target, self.ratio()) {
            (Target::RatioAtMost(most), Some(ratio)) => Some(ratio <= most),
            (Target::RatioAtLeast(least), Some(ratio)) => Some(ratio >= least),
            (Target::AtMost(most), _) => Some(self.ours <= most),
            (Target::AtLeast(least), _) => Some(self.ours >= least),
            (Target::AtLeastOrRaw(least), _) => {
                let least = self.limit.map_or(least, |raw| least.min(raw * NEAR_RAW));
                Some(self.ours >= least)
            }
            _ => None,
        }
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::RatioAtMost(most) => format!("<= {most}x"),
            Self::RatioAtLeast(least) => format!(">= {least}x"),
            Self::AtMost(most) => format!("<= {}", bound(most)),
            Self::AtLeast(least) => format!(">= {}", bound(least)),
            Self::AtLeastOrRaw(least) => format!(">= {}, {NEAR_RAW}x", bound(least)),
            Self::None => String::new(),
        }
    }
}

/// Prints the head of the table; nothing where JSON is wanted.
pub(super) fn begin(out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(());
    }
    let head = [
        "case",
        "unit",
        "ours",
        "raw",
        "ratio",
        "target",
        "",
        "reference",
    ];
    out.line(&out.paint(Colour::Name, &line(head.map(str::to_owned))))
}

/// Prints one row: a line of the table, or one JSON object.
pub(super) fn print(out: Output, bench: &'static str, row: &Row) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&Object::of(bench, row));
    }
    let (verdict, colour) = match row.is_met() {
        Some(true) => ("met", Colour::Good),
        Some(false) => ("MISSED", Colour::Bad),
        None => ("", Colour::Faint),
    };
    let text = line([
        row.case.to_owned(),
        row.unit.to_owned(),
        number(row.ours),
        row.limit.map_or_else(String::new, number),
        row.ratio()
            .map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        row.target.text(),
        verdict.to_owned(),
        row.peer.map_or_else(String::new, number),
    ]);
    if verdict.is_empty() {
        return out.line(text.trim_end());
    }
    // Painted after padding: colours have no width.
    let padded = format!("{verdict:<VERDICT$}");
    out.line(&text.replacen(&padded, &out.paint(colour, &padded), 1))
}

/// A row as `--json` prints it.
#[derive(Serialize)]
struct Object {
    bench: &'static str,
    case: &'static str,
    unit: &'static str,
    ours: f64,
    limit: Option<f64>,
    ratio: Option<f64>,
    peer: Option<f64>,
    runs: u32,
}

impl Object {
    fn of(bench: &'static str, row: &Row) -> Self {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        Self {
            bench,
            case: row.case,
            unit: row.unit,
            ours: rounded(row.ours),
            limit: row.limit.map(rounded),
            ratio: row.ratio().map(rounded),
            peer: row.peer.map(rounded),
            runs: row.runs,
        }
    }
}

fn line([case, unit, ours, limit, ratio, target, verdict, peer]: [String; 8]) -> String {
    format!(
        "{case:<28} {unit:<8} {ours:>11} {limit:>11} {ratio:>7}  {target:<12} {verdict:<VERDICT$} {peer:>11}"
    )
}

/// A bound of a figure, which is a round number.
fn bound(value: f64) -> String {
    if value < 1000.0 {
        value.to_string()
    } else {
        number(value)
    }
}

/// A figure with as many digits as say something.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 1000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::with_capacity(text.len() + 4);
    for (at, digit) in whole.chars().enumerate() {
        let after = whole.len() - at;
        if at > 0 && after.is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !rest.is_empty() {
        grouped.push('.');
        grouped.push_str(rest);
    }
    grouped
}

const VERDICT: usize = 7;

/// The part of the raw figure that counts as reaching it.
const NEAR_RAW: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, limit: Option<f64>, target: Target) -> Row {
        Row {
            case: "x",
            unit: "us",
            ours,
            limit,
            peer: None,
            runs: 3,
            target,
        }
    }

    #[test]
    fn ratio_targets_compare_ours_with_raw() {
        assert_eq!(
            row(13.0, Some(10.0), Target::RatioAtMost(1.3)).is_met(),
            Some(true)
        );
        assert_eq!(
            row(13.1, Some(10.0), Target::RatioAtMost(1.3)).is_met(),
            Some(false)
        );
        assert_eq!(
            row(6.0, Some(10.0), Target::RatioAtLeast(0.6)).is_met(),
            Some(true)
        );
        assert_eq!(
            row(5.9, Some(10.0), Target::RatioAtLeast(0.6)).is_met(),
            Some(false)
        );
    }

    #[test]
    fn plain_targets_need_no_raw_figure() {
        assert_eq!(row(1.0, None, Target::AtMost(1.0)).is_met(), Some(true));
        assert_eq!(row(0.1, None, Target::AtMost(0.0)).is_met(), Some(false));
        assert_eq!(row(2.0, None, Target::AtLeast(2.0)).is_met(), Some(true));
        assert_eq!(
            row(1.9, Some(1.0), Target::AtLeast(2.0)).is_met(),
            Some(false)
        );
        assert_eq!(row(0.1, None, Target::None).is_met(), None);
    }

    #[test]
    fn what_raw_does_not_reach_is_not_asked_of_ours() {
        let target = Target::AtLeastOrRaw(100.0);
        assert_eq!(row(100.0, Some(200.0), target).is_met(), Some(true));
        assert_eq!(row(99.0, Some(200.0), target).is_met(), Some(false));
        assert_eq!(row(95.0, Some(100.0), target).is_met(), Some(true));
        assert_eq!(row(94.0, Some(100.0), target).is_met(), Some(false));
        assert_eq!(row(99.0, None, target).is_met(), Some(false));
    }

    #[test]
    fn json_has_the_members_of_the_contract() {
        let object = Object::of("rpc", &row(1.0, Some(3.0), Target::None));
        let text = serde_json::to_string(&object).expect("serialisable");
        assert_eq!(
            text,
            r#"{"bench":"rpc","case":"x","unit":"us","ours":1.0,"limit":3.0,"ratio":0.3333,"peer":null,"runs":3}"#
        );
    }

    #[test]
    fn figures_are_printed_with_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.4217, "0.422"),
            (5.125, "5.12"),
            (25.04, "25.0"),
            (1_812_345.6, "1,812,346"),
            (-1234.5, "-1,234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
