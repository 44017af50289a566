//! Strings as JSON in ASCII.

/// Appends a text as a JSON string in which everything outside printable ASCII is escaped.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
pub(super) fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if PLAIN[usize::from(byte)] {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        // `at` stands on the first byte of a character: all the bytes passed over were whole characters.
        let Some(c) = text[at..].chars().next() else {
            break;
        };
        write_escape(c, out);
        at += c.len_utf8();
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

fn write_escape(c: char, out: &mut Vec<u8>) {
    let short = match c {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => {
            let mut units = [0; 2];
            for &unit in &*c.encode_utf16(&mut units) {
                write_unit(unit, out);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn write_unit(unit: u16, out: &mut Vec<u8>) {
    let digit = |shift: u16| DIGITS[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The bytes that stand for themselves inside a JSON string.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = !matches!(byte as u8, b'"' | b'\\');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_in_ascii() {
        for (text, written) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("\"\\/", r#""\"\\/""#),
            ("\u{8}\u{c}\n\r\t", r#""\b\f\n\r\t""#),
            ("\0\u{1f}\u{7f}", r#""\u0000\u001f\u007f""#),
            ("caf\u{e9}!", r#""caf\u00e9!""#),
            ("\u{1f600} ok", r#""\ud83d\ude00 ok""#),
        ] {
            let mut out = Vec::new();
            write_string(text, &mut out);
            assert_eq!(out, written.as_bytes());
        }
    }
}
