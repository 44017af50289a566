//! MessagePack on bytes, as far as CDTP2 uses it: checked first, read without a copy, written in the shortest form.
//!
//! | first byte | what follows |
//! |---|---|
//! | 00-7f, e0-ff | nothing: the integer itself |
//! | 80-8f, de, df | a map: its length, then keys and values |
//! | 90-9f, dc, dd | an array: its length, then values |
//! | a0-bf, d9-db | text: its length, then UTF-8 |
//! | c0; c2, c3 | nil; false, true |
//! | c4-c6 | bytes: their length, then they |
//! | c7-c9, d4-d8 | an extension: its length unless fixed, its code, its bytes |
//! | ca, cb | a float of 4 or 8 bytes |
//! | cc-cf, d0-d3 | an integer of 1 to 8 bytes, unsigned or signed |
//!
//! Source: the MessagePack specification; numbers are big-endian.

mod read;
pub(super) mod time;
mod write;

pub(super) use read::{Budget, Reader, Token, wrong};
pub(super) use write::{write_array_head, write_bin, write_str, write_tags, write_uint};

/// Bytes as text for people: two lower-case hexadecimal digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .map(|digit| char::from(DIGITS[usize::from(digit)]));
    digits.collect()
}
