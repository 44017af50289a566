//! Rewriting of keys between `snake_case` and `camelCase`.
//!
//! The rules are those that the peers use (pyhumps 3.8.0; section 3 of `docs/wire.md`), with all their corners: a
//! client of theirs finds a member under the very name that it expects. Values are never rewritten.

use std::borrow::Cow;

/// Rewrites one key to camelCase, as the peers do when they send.
///
/// White space goes; a key that is all capitals or all numerals stays as it is; the first letter becomes small
/// unless the first two characters count as capitals; a run of `-` or `_` inside the key goes and the
/// character after it becomes a capital. Allocates only when something changes.
///
/// # Examples
/// ```
/// use acqbus::rpc::case::camelize;
///
/// assert_eq!(camelize("session_id"), "sessionId");
/// assert_eq!(camelize("dcs_3d"), "dcs3d");
/// assert_eq!(camelize("_private"), "_private");
/// assert_eq!(camelize("ID"), "ID");
/// ```
pub fn camelize(key: &str) -> Cow<'_, str> {
    let class = class_of(key.as_bytes());
    if class.is_camel() {
        return Cow::Borrowed(key);
    }
    let stripped = without_white_space(key);
    if is_upper(&stripped) || is_numeric(&stripped) {
        return Cow::Borrowed(key);
    }
    let mut out = String::with_capacity(key.len());
    let mut run = String::new();
    let first_stays = is_upper(first_two(&stripped));
    for (index, c) in stripped.chars().enumerate() {
        if is_run(c) {
            run.push(c);
        } else if run.is_empty() || run.len() == index {
            // All characters so far are this run: it leads the key and stays.
            out.push_str(&run);
            run.clear();
            if index == 0 && !first_stays {
                out.extend(c.to_lowercase());
            } else {
                out.push(c);
            }
        } else {
            run.clear();
            out.extend(c.to_uppercase());
        }
    }
    out.push_str(&run);
    if out == key {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(out)
    }
}

/// Rewrites one key to snake_case, as the peers do in what they receive over a bridge.
///
/// It is not the inverse of [`camelize`]: `dcs3d` stays, `dcs3D` becomes `dcs3_d`. Allocates only when
/// something changes.
///
/// # Examples
/// ```
/// use acqbus::rpc::case::decamelize;
///
/// assert_eq!(decamelize("sessionId"), "session_id");
/// assert_eq!(decamelize("APIResponse"), "api_response");
/// assert_eq!(decamelize("animalID"), "animal_id");
/// ```
pub fn decamelize(key: &str) -> Cow<'_, str> {
    let stripped = without_white_space(key);
    if is_upper(&stripped) || is_numeric(&stripped) {
        return Cow::Borrowed(key);
    }
    let titled = title_runs(&stripped);
    let mut out = String::with_capacity(key.len() + 4);
    let mut first_capital = true;
    for c in titled.chars() {
        if c.is_ascii_uppercase() {
            let run = if first_capital {
                out.trim_end_matches(is_run).len()
            } else {
                out.len()
            };
            if run > 0 {
                out.insert(run, '_');
            }
            first_capital = false;
        }
        out.push(c);
    }
    let out = out.to_lowercase();
    if out == key {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(out)
    }
}

/// What kinds of characters a key has; one pass over its bytes.
#[derive(Clone, Copy)]
pub(crate) struct KeyClass {
    kinds: u8,
    first: u8,
}

impl KeyClass {
    /// Whether the key is made of ASCII letters and digits and begins with no capital: camelCase already.
    #[inline]
    pub(crate) const fn is_camel(self) -> bool {
        self.kinds & (RUN | OTHER) == 0 && self.first != CAPITAL
    }

    /// Whether the key is made of ASCII letters, digits, `-` and `_`, so that no character needs an escape.
    #[inline]
    pub(crate) const fn is_word(self) -> bool {
        self.kinds & OTHER == 0
    }
}

/// Classifies a key.
#[inline]
pub(crate) fn class_of(key: &[u8]) -> KeyClass {
    let mut kinds = 0;
    for &byte in key {
        kinds |= KINDS[usize::from(byte)];
    }
    KeyClass {
        kinds,
        first: key.first().map_or(0, |&byte| KINDS[usize::from(byte)]),
    }
}

/// Appends a word in camelCase: [`camelize`] without an allocation, for what nearly every key is.
pub(crate) fn camelize_word(key: &[u8], class: KeyClass, out: &mut Vec<u8>) {
    let upper = class.kinds & CAPITAL != 0 && class.kinds & SMALL == 0;
    if upper || class.kinds == DIGIT {
        out.extend_from_slice(key);
        return;
    }
    let leading = key.iter().take_while(|&&byte| is_run_byte(byte)).count();
    let trailing = key[leading..]
        .iter()
        .rev()
        .take_while(|&&byte| is_run_byte(byte))
        .count();
    let inner = &key[leading..key.len() - trailing];
    out.extend_from_slice(&key[..leading]);
    let start = out.len();
    for (index, word) in inner.split(|&byte| is_run_byte(byte)).enumerate() {
        let word_start = out.len();
        out.extend_from_slice(word);
        if index > 0
            && let Some(first) = out.get_mut(word_start)
        {
            first.make_ascii_uppercase();
        }
    }
    let first_two = &key[..key.len().min(2)];
    if leading == 0 && (has_kind(first_two, SMALL) || !has_kind(first_two, CAPITAL)) {
        out[start..]
            .iter_mut()
            .take(1)
            .for_each(|byte| byte.make_ascii_lowercase());
    }
    out.extend_from_slice(&key[key.len() - trailing..]);
}

fn has_kind(bytes: &[u8], kind: u8) -> bool {
    bytes
        .iter()
        .any(|&byte| KINDS[usize::from(byte)] & kind != 0)
}

/// Puts into title case each run of ASCII capitals and digits, without its last character unless it ends the key.
fn title_runs(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut rest = key;
    while let Some(start) = rest.find(is_run_of_capitals) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let length = from.find(|c| !is_run_of_capitals(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(length);
        let titled = if after.is_empty() { length } else { length - 1 };
        let mut in_word = false;
        for c in run[..titled].chars() {
            out.push(if in_word { c.to_ascii_lowercase() } else { c });
            in_word = c.is_ascii_uppercase();
        }
        out.push_str(&run[titled..]);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn without_white_space(key: &str) -> Cow<'_, str> {
    if key.contains(is_white_space) {
        Cow::Owned(key.chars().filter(|&c| !is_white_space(c)).collect())
    } else {
        Cow::Borrowed(key)
    }
}

fn first_two(key: &str) -> &str {
    let end = key.char_indices().nth(2).map_or(key.len(), |(at, _)| at);
    &key[..end]
}

const fn is_run(c: char) -> bool {
    matches!(c, '-' | '_')
}

const fn is_run_byte(byte: u8) -> bool {
    matches!(byte, b'-' | b'_')
}

const fn is_run_of_capitals(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

/// What Python's `str.isspace` takes for white space: Unicode's, and four separators of ASCII.
fn is_white_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Python's `str.isupper`: a cased letter, and none in lower or title case.
fn is_upper(text: &str) -> bool {
    text.contains(char::is_uppercase) && !text.contains(|c: char| c.is_lowercase() || is_title(c))
}

/// The digraphs and Greek letters that have a title case of their own (general category Lt).
const fn is_title(c: char) -> bool {
    matches!(
        c,
        'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | 'ᾈ'..='ᾏ' | 'ᾘ'..='ᾟ' | 'ᾨ'..='ᾯ' | 'ᾼ' | 'ῌ' | 'ῼ'
    )
}

/// Python's `str.isnumeric`: not empty, and every character stands for a number.
fn is_numeric(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_numeric() || NUMERALS.contains(c))
}

const SMALL: u8 = 1;
const CAPITAL: u8 = 2;
const DIGIT: u8 = 4;
const RUN: u8 = 8;
const OTHER: u8 = 16;

const KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' => SMALL,
            b'A'..=b'Z' => CAPITAL,
            b'0'..=b'9' => DIGIT,
            b'-' | b'_' => RUN,
            _ => OTHER,
        };
        byte += 1;
    }
    kinds
};

/// The letters that Unicode 14 gives a numeric value though their category is not a number's.
const NUMERALS: &str = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零\u{f96b}\u{f973}\u{f978}\u{f9b2}\u{f9d1}\u{f9d3}\u{f9fd}𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭\u{2f890}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_facts_become_camel_case() {
        for (key, camel) in [
            ("", ""),
            ("_", "_"),
            ("__", "__"),
            ("a_b", "aB"),
            ("a__b", "aB"),
            ("a-_-b", "aB"),
            ("A B", "A B"),
            ("1 2", "1 2"),
            ("my key", "mykey"),
            ("mouse-2", "mouse2"),
            ("HTTPServer", "HTTPServer"),
            ("A_b", "AB"),
            ("Name", "name"),
            ("foo_", "foo_"),
            ("x_1", "x1"),
            ("a_ß", "aSS"),
            ("\u{1c}a\u{85}b", "ab"),
            ("三 四", "三 四"),
            ("ǅa", "ǆa"),
        ] {
            assert_eq!(camelize(key), camel, "{key:?}");
        }
    }

    #[test]
    fn keys_of_the_facts_become_snake_case() {
        for (key, snake) in [
            ("", ""),
            ("APIResponse", "api_response"),
            ("animalID", "animal_id"),
            ("foo-Bar", "foo_-bar"),
            ("Foo-Bar", "foo-_bar"),
            ("fooB12C", "foo_b12_c"),
            ("dcs3D", "dcs3_d"),
            ("is3DReady", "is3_d_ready"),
            ("foo_Bar", "foo__bar"),
            ("x1", "x1"),
            ("dcs3d", "dcs3d"),
            ("ID", "ID"),
            ("_Foo", "_foo"),
        ] {
            assert_eq!(decamelize(key), snake, "{key:?}");
        }
    }

    #[test]
    fn word_path_agrees_with_the_general_one() {
        let letters = [b'a', b'B', b'1', b'_', b'-'];
        for length in 0..=6_u32 {
            for number in 0..5_usize.pow(length) {
                let key: Vec<u8> = (0..length)
                    .map(|place| letters[number / 5_usize.pow(place) % 5])
                    .collect();
                let key = String::from_utf8(key).expect("ASCII");
                let mut out = Vec::new();
                camelize_word(key.as_bytes(), class_of(key.as_bytes()), &mut out);
                assert_eq!(out, camelize(&key).as_bytes(), "{key:?}");
            }
        }
    }
}
