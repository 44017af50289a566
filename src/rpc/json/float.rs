//! Numbers as Python writes them.

/// Appends a float as Python's `repr`, or `null` if it is not finite.
///
/// The digits are the shortest that read back equal; an exponent is written below 1e-4 and from 1e16 on, with a sign
/// and at least two digits.
pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let digits = buffer.format_finite(value);
    let size = value.abs();
    if (1e-4..1e16).contains(&size) || size == 0.0 {
        out.extend_from_slice(digits.as_bytes());
    } else {
        write_with_exponent(digits, out);
    }
}

/// Appends a float of 32 bits with the digits that it needs, not those of the double that it would become (*ours*).
pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let digits = buffer.format_finite(value);
    match digits.parse() {
        Ok(wide) => write_f64(wide, out),
        Err(_) => out.extend_from_slice(digits.as_bytes()),
    }
}

/// Appends a number from its JSON text: an integer with all its digits, anything else through the nearest double.
pub(super) fn write_number(text: &str, out: &mut Vec<u8>) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Text of a JSON number always parses; what is no number at all is written as not a number.
        write_f64(text.parse().unwrap_or(f64::NAN), out);
    } else if digits == "0" {
        // Python has no negative zero among its integers.
        out.push(b'0');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes the digits of another formatter again in the form `d.ddde±xx`.
fn write_with_exponent(text: &str, out: &mut Vec<u8>) {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.len() < text.len() {
        out.push(b'-');
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let leading_zeros = digits.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    // The exponent of a double has at most three digits, so the text of one always parses.
    let exponent =
        exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - leading_zeros as i32 - 1;
    let (first, rest) = significant.split_at(1.min(significant.len()));
    out.extend_from_slice(first.as_bytes());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest.as_bytes());
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(value, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn floats_look_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (9.999e-5, "9.999e-05"),
            (1e-5, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(repr(value), text);
        }
    }

    #[test]
    fn number_text_keeps_integers_and_renders_floats() {
        for (text, written) in [
            ("-0", "0"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("4e2", "400.0"),
            ("1.50", "1.5"),
            ("1e+999", "null"),
            ("-0.0", "-0.0"),
        ] {
            let mut out = Vec::new();
            write_number(text, &mut out);
            assert_eq!(out, written.as_bytes());
        }
    }

    #[test]
    fn short_float_keeps_its_own_digits() {
        let mut out = Vec::new();
        write_f32(0.1, &mut out);
        assert_eq!(out, b"0.1");
    }
}
