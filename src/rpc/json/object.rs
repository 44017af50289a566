//! The keys of one object while it is written, so that keys that become equal give one member.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The keys written so far.
///
/// Objects are small and their keys nearly always differ, so a short list of fingerprints decides in most cases. Only
/// many keys, or two that look alike, bring in the index.
pub(super) struct Keys {
    count: usize,
    fingerprints: [u32; FEW],
    starts: [usize; FEW],
    index: Option<Box<Index>>,
}

/// Every member by its key, for objects with many keys or with equal ones.
#[derive(Default)]
struct Index {
    members: HashMap<Box<[u8]>, usize>,
    /// Where each written member starts, and which member takes its place.
    written: Vec<Member>,
    has_equal: bool,
}

struct Member {
    start: usize,
    place: Place,
}

enum Place {
    /// It stands here with this member's value.
    First { value_of: usize },
    /// It is equal to an earlier one and gave its value to that.
    Moved,
}

impl Keys {
    pub(super) const fn new() -> Self {
        Self {
            count: 0,
            fingerprints: [0; FEW],
            starts: [0; FEW],
            index: None,
        }
    }

    /// Takes note of the key, quotes included, that has been written from `start` to the end of `out`.
    #[inline]
    pub(super) fn add(&mut self, start: usize, out: &[u8]) {
        if self.index.is_none() {
            let fingerprint = fingerprint(&out[start + 1..out.len() - 1]);
            if self.count < FEW && !self.fingerprints[..self.count].contains(&fingerprint) {
                self.fingerprints[self.count] = fingerprint;
                self.starts[self.count] = start;
                self.count += 1;
                return;
            }
        }
        self.add_to_index(start, out);
    }

    /// Rewrites the object if two keys were equal; `out` ends with its last member.
    #[inline]
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(index) = &self.index
            && index.has_equal
        {
            index.rewrite(out);
        }
    }

    #[cold]
    fn add_to_index(&mut self, start: usize, out: &[u8]) {
        let index = self.index.get_or_insert_with(|| {
            let mut index = Box::<Index>::default();
            for &start in &self.starts[..self.count] {
                index.add(start, key_at(start, out));
            }
            index
        });
        index.add(start, &out[start..]);
    }
}

impl Index {
    fn add(&mut self, start: usize, key: &[u8]) {
        let this = self.written.len();
        let place = match self.members.entry(key.into()) {
            Entry::Vacant(entry) => {
                entry.insert(this);
                Place::First { value_of: this }
            }
            Entry::Occupied(entry) => {
                self.written[*entry.get()].place = Place::First { value_of: this };
                self.has_equal = true;
                Place::Moved
            }
        };
        self.written.push(Member { start, place });
    }

    fn rewrite(&self, out: &mut Vec<u8>) {
        let Some(first) = self.written.first() else {
            return;
        };
        let mut text = Vec::with_capacity(out.len() - first.start);
        for member in &self.written {
            if let Place::First { value_of } = member.place {
                if !text.is_empty() {
                    text.extend_from_slice(SEPARATOR);
                }
                let end = self
                    .written
                    .get(value_of + 1)
                    .map_or(out.len(), |next| next.start - SEPARATOR.len());
                text.extend_from_slice(&out[self.written[value_of].start..end]);
            }
        }
        out.truncate(first.start);
        out.extend_from_slice(&text);
    }
}

/// The key, quotes included, that starts at `start`.
fn key_at(start: usize, out: &[u8]) -> &[u8] {
    let mut end = start + 1;
    while let Some(&byte) = out.get(end) {
        end += match byte {
            b'\\' => 2,
            b'"' => return &out[start..=end],
            _ => 1,
        };
    }
    &out[start..]
}

/// A number that differs for nearly all pairs of different keys.
#[inline]
fn fingerprint(key: &[u8]) -> u32 {
    let (head, tail) = match key {
        [] => (0, 0),
        [only] => (u64::from(*only), 0),
        _ => match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
                (Some(head), Some(tail)) => (
                    u64::from(u32::from_le_bytes(*head)),
                    u64::from(u32::from_le_bytes(*tail)),
                ),
                _ => (
                    u64::from(u16::from_le_bytes([key[0], key[1]])),
                    u64::from(key[key.len() - 1]),
                ),
            },
        },
    };
    let mixed =
        (head ^ tail.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

/// Keys that the short list holds.
const FEW: usize = 16;

/// What stands between two members.
pub(super) const SEPARATOR: &[u8] = b", ";
