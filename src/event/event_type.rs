//! The type of an event: text segments.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::fmt;
use std::iter::FusedIterator;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// The type of an event, or a query for types: a list of segments, which may be empty; cloning is cheap.
///
/// A segment is any text, also an empty one. In a query type the segment `?` stands for any one segment, and `*` as the last
/// for all the rest; by custom no event has `?`, `*` or `/` in a segment, and nothing enforces it.
/// The order is that of the segments, one after the other, each by its code points.
///
/// ```
/// use acqbus::event::EventType;
///
/// let status = EventType::from("rig-1/status");
/// assert_eq!(status, EventType::new(["rig-1", "status"]));
/// assert_eq!(status.to_string(), "rig-1/status");
/// assert_eq!(status.segment(1), Some("status"));
/// assert!(status < EventType::from("rig-1/status/door"));
/// assert!(EventType::from("").is_empty());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventType {
    /// All in one allocation: the width of a number, the count of segments, the end of each, then the text of all. A number is
    /// `width` digits of 7 bits, so that the whole is text.
    packed: Arc<str>,
}

impl EventType {
    /// Makes a type of segments.
    #[must_use]
    pub fn new(segments: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut builder = Builder::default();
        for segment in segments {
            builder.push(segment.as_ref());
        }
        builder.finish()
    }

    /// The type without segments.
    #[must_use]
    pub fn empty() -> Self {
        Builder::default().finish()
    }

    /// The type with one more segment at the end.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        Self::new(self.segments().chain([segment]))
    }

    /// The segments, from the first to the last.
    #[must_use]
    pub fn segments(&self) -> Segments<'_> {
        let parts = self.parts();
        let back = parts.count();
        Segments {
            parts,
            front: 0,
            back,
        }
    }

    /// The segment at a place, counted from 0; `None` beyond the last.
    #[must_use]
    pub fn segment(&self, index: usize) -> Option<&str> {
        let parts = self.parts();
        (index < parts.count()).then(|| parts.segment(index))
    }

    /// The number of segments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().count()
    }

    /// Whether there is no segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        let bytes = self.packed.as_bytes();
        let width = usize::from(bytes[0]);
        let numbers = &bytes[1..];
        let header = 1 + width * (number(numbers, width, 0) + 1);
        Parts {
            width,
            numbers,
            text: &self.packed[header..],
        }
    }
}

impl Default for EventType {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialOrd for EventType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EventType {
    fn cmp(&self, other: &Self) -> Ordering {
        self.segments().cmp(other.segments())
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.segments()).finish()
    }
}

impl fmt::Display for EventType {
    /// The segments joined by `/`; not to be told apart where a segment has one in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(segment)?;
        }
        Ok(())
    }
}

impl From<&str> for EventType {
    /// Parts a text at every `/`; an empty text is the type without segments (*ours*).
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::empty();
        }
        Self::new(text.split('/'))
    }
}

impl FromStr for EventType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl<S: AsRef<str>> FromIterator<S> for EventType {
    fn from_iter<I: IntoIterator<Item = S>>(segments: I) -> Self {
        Self::new(segments)
    }
}

impl<'a> IntoIterator for &'a EventType {
    type Item = &'a str;
    type IntoIter = Segments<'a>;

    fn into_iter(self) -> Segments<'a> {
        self.segments()
    }
}

impl Serialize for EventType {
    /// A list of text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.segments())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = EventType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event type, a list of text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<EventType, A::Error> {
                let mut builder = Builder::default();
                while let Some(segment) = items.next_element::<String>()? {
                    builder.push(&segment);
                }
                Ok(builder.finish())
            }
        }

        deserializer.deserialize_seq(Reader)
    }
}

/// The segments of an [`EventType`], from [`EventType::segments`].
#[derive(Clone)]
pub struct Segments<'a> {
    parts: Parts<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.front == self.back {
            return None;
        }
        self.front += 1;
        Some(self.parts.segment(self.front - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Segments<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back -= 1;
        Some(self.parts.segment(self.back))
    }
}

impl ExactSizeIterator for Segments<'_> {}

impl FusedIterator for Segments<'_> {}

impl fmt::Debug for Segments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The packed form, taken apart once for many reads.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    width: usize,
    numbers: &'a [u8],
    text: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn count(&self) -> usize {
        number(self.numbers, self.width, 0)
    }

    /// The segment at `index`, which is below the count.
    pub(super) fn segment(&self, index: usize) -> &'a str {
        let start = match index {
            0 => 0,
            _ => number(self.numbers, self.width, index),
        };
        &self.text[start..number(self.numbers, self.width, index + 1)]
    }
}

/// The number at a place of the packed form: the count of segments, then their ends.
fn number(numbers: &[u8], width: usize, place: usize) -> usize {
    if width == 1 {
        return usize::from(numbers[place]);
    }
    let digits = &numbers[place * width..(place + 1) * width];
    digits
        .iter()
        .fold(0, |high, digit| high << 7 | usize::from(*digit))
}

/// Collects segments; the usual type costs no allocation but the one that keeps it.
#[derive(Default)]
struct Builder {
    text: SmallVec<[u8; 64]>,
    ends: SmallVec<[usize; 8]>,
}

impl Builder {
    fn push(&mut self, segment: &str) {
        self.text.extend_from_slice(segment.as_bytes());
        self.ends.push(self.text.len());
    }

    fn finish(self) -> EventType {
        let largest = self.text.len().max(self.ends.len());
        let bits = (usize::BITS - largest.leading_zeros()).max(1);
        let width = bits.div_ceil(7) as u8;
        let header = 1 + usize::from(width) * (self.ends.len() + 1);
        let mut packed: SmallVec<[u8; 96]> = SmallVec::with_capacity(header + self.text.len());
        packed.push(width);
        for number in std::iter::once(self.ends.len()).chain(self.ends.iter().copied()) {
            for place in (0..width).rev() {
                packed.push((number >> (7 * place)) as u8 & 0x7f);
            }
        }
        packed.extend_from_slice(&self.text);
        // Whole texts behind bytes below 0x80.
        let packed = str::from_utf8(&packed).expect("it is text");
        EventType {
            packed: packed.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_from_both_ends_and_by_place() {
        for segments in [
            &[][..],
            &[""],
            &["", "", ""],
            &["a", "b/c", "\u{1f600}", "*", "?"],
        ] {
            let event_type = EventType::new(segments);
            assert_eq!(event_type.len(), segments.len());
            assert_eq!(event_type.segments().len(), segments.len());
            assert!(event_type.segments().eq(segments.iter().copied()));
            assert!(
                event_type
                    .segments()
                    .rev()
                    .eq(segments.iter().rev().copied())
            );
            for (index, segment) in segments.iter().enumerate() {
                assert_eq!(event_type.segment(index), Some(*segment));
            }
            assert_eq!(event_type.segment(segments.len()), None);
        }
    }

    #[test]
    fn long_types_have_wider_numbers() {
        for (count, size) in [
            (1, 127),
            (1, 128),
            (127, 0),
            (128, 0),
            (3, 20_000),
            (20_000, 3),
        ] {
            let segment = "x".repeat(size);
            let event_type = EventType::new(vec![&segment; count]);
            assert_eq!(event_type.len(), count);
            assert!(event_type.segments().all(|own| own == segment));
            assert_eq!(event_type.segments().count(), count);
        }
    }

    #[test]
    fn types_that_look_alike_as_text_are_different() {
        let joined = EventType::new(["a/b"]);
        assert_eq!(joined.to_string(), "a/b");
        assert_ne!(joined, EventType::from("a/b"));
        assert_ne!(EventType::empty(), EventType::new([""]));
        assert_ne!(EventType::new(["ab", "c"]), EventType::new(["a", "bc"]));
    }

    #[test]
    fn order_is_that_of_the_segments() {
        let sorted = [
            EventType::empty(),
            EventType::new([""]),
            EventType::new(["", "z"]),
            EventType::new(["a"]),
            EventType::new(["a", "b"]),
            EventType::new(["a", "ba"]),
            EventType::new(["aa"]),
            EventType::new(["\u{ffff}"]),
            EventType::new(["\u{1f600}"]),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn a_parent_and_a_segment_make_a_child() {
        assert_eq!(
            EventType::empty().child("a").child(""),
            EventType::new(["a", ""])
        );
    }

    #[test]
    fn the_form_is_a_list_of_text() {
        let event_type = EventType::new(["a", "", "\u{e9}/"]);
        let text = serde_json::to_string(&event_type).unwrap();
        assert_eq!(text, "[\"a\",\"\",\"\u{e9}/\"]");
        assert_eq!(
            serde_json::from_str::<EventType>(&text).unwrap(),
            event_type
        );
        assert!(serde_json::from_str::<EventType>("\"a/b\"").is_err());
    }
}
