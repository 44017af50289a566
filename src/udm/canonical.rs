//! The bytes of JSON that a signature covers: one form for all spellings of a value.
//!
//! Source: RFC 8785 (JSON Canonicalization Scheme). Apart from it in one point (*ours*): a number written with digits only keeps
//! all of them, so that two integers beyond 2^53 have not one signature.

use serde_json::{Number, Value};

/// Writes an object of these members: sorted by name, without white space.
pub(super) fn write_members<'a>(
    members: impl IntoIterator<Item = (&'a str, &'a Value)>,
    out: &mut Vec<u8>,
) {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            write_members(members.iter().map(|(name, value)| (&**name, value)), out);
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Its escapes are those of the RFC, and writing into memory does not fail.
    serde_json::to_writer(out, text).expect("text is JSON");
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    let text = number.as_str();
    if text == "-0" {
        out.push(b'0');
        return;
    }
    let is_integer = !text.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && !is_integer => write_float(float, out),
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// As `Number.prototype.toString` of ECMAScript writes it.
fn write_float(float: f64, out: &mut Vec<u8>) {
    if float == 0.0 {
        out.push(b'0');
        return;
    }
    if float < 0.0 {
        out.push(b'-');
    }
    let (digits, point) = shortest(float.abs());
    let len = digits.len() as i32;
    if (len..=21).contains(&point) {
        out.extend_from_slice(&digits);
        out.extend((len..point).map(|_| b'0'));
    } else if (1..len).contains(&point) {
        let (whole, fraction) = digits.split_at(point as usize);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else if (-5..=0).contains(&point) {
        out.extend_from_slice(b"0.");
        out.extend((point..0).map(|_| b'0'));
        out.extend_from_slice(&digits);
    } else {
        out.push(digits[0]);
        if len > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(format!("e{:+}", point - 1).as_bytes());
    }
}

/// The fewest digits that read as a positive float, without zeros around them, and where the point stands in them.
fn shortest(float: f64) -> (Vec<u8>, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(float);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let zeros = all.iter().take_while(|digit| **digit == b'0').count();
    let end = all
        .iter()
        .rposition(|digit| *digit != b'0')
        .map_or(zeros, |last| last + 1);
    // Ryu writes exponents of three digits at most.
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let point = whole.len() as i32 - zeros as i32 + exponent;
    (all[zeros..end].to_vec(), point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write_value(&serde_json::from_str(text).expect("JSON"), &mut out);
        String::from_utf8(out).expect("text")
    }

    /// RFC 8785, appendix B.
    #[test]
    fn floats_are_written_as_the_rfc_has_them() {
        for (bits, text) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
        ] {
            let mut out = Vec::new();
            write_float(f64::from_bits(bits), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text, "{bits:x}");
        }
    }

    /// RFC 8785, section 3.2.2.
    #[test]
    fn a_document_is_written_as_the_rfc_has_it() {
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            canonical(text),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
    }

    /// RFC 8785, section 3.2.3.
    #[test]
    fn names_are_sorted_by_their_code_units() {
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(
            canonical(text),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn spellings_of_one_number_are_one() {
        for (text, written) in [
            ("1.0", "1"),
            ("1", "1"),
            ("10E-1", "1"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("100.50", "100.5"),
            ("1e-7", "1e-7"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("1e999", "1e+999"),
        ] {
            assert_eq!(canonical(text), written, "{text}");
        }
    }
}
