//! Values under keys, in the order of the wire.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cdtp::encoding::Encoding;
use crate::cdtp::error::CdtpError;
use crate::cdtp::fit;
use crate::cdtp::limits::DecodeLimits;
use crate::cdtp::msgpack::{self, Budget, Reader};
use crate::cdtp::value::Value;

/// Values under text keys, in the order in which they were put in, or came.
///
/// The tags of a record, the configuration of a sender and the metadata of a run are such maps. Two are equal when they hold the same
/// under the same keys, in whatever order. An empty one takes no memory of its own.
///
/// ```
/// use acqbus::cdtp::{Tags, Value};
///
/// let tags = Tags::new().with("gain", 2.5).with("channel", 7);
/// assert_eq!(tags.get("channel"), Some(&Value::Int(7)));
/// let keys: Vec<_> = tags.iter().map(|(key, _)| key).collect();
/// assert_eq!(keys, ["gain", "channel"]);
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct Tags {
    /// Boxed so that a value is small; `None` exactly when there is no key.
    entries: Option<Box<IndexMap<String, Value>>>,
}

impl Tags {
    /// Tags without any key.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: None }
    }

    /// Puts a value in, as [`Tags::insert`], and gives the tags back.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Makes tags from any value that serde writes as a map with text keys, such as a struct.
    ///
    /// A field that is `None` becomes nil. `Vec<u8>` becomes an array of integers, unless serde is told to write it as bytes; a
    /// [`Timestamp`](crate::cdtp::Timestamp) stays one.
    ///
    /// # Errors
    /// [`CdtpError::Serialize`] when serde cannot write the value, [`CdtpError::NotTags`] when it is no map of text keys,
    /// [`CdtpError::TooLarge`] when it takes 4 GiB or more.
    ///
    /// # Examples
    /// ```
    /// use acqbus::cdtp::{Tags, Value};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    /// struct Frame { exposure_ms: f64, roi: [u16; 4] }
    ///
    /// let frame = Frame { exposure_ms: 1.5, roi: [0, 0, 640, 480] };
    /// let tags = Tags::from_serialize(&frame)?;
    /// assert_eq!(tags.get("exposure_ms"), Some(&Value::Float(1.5)));
    /// assert_eq!(tags.to::<Frame>()?, frame);
    /// assert!(Tags::from_serialize(&7).is_err());
    /// # Ok::<(), acqbus::cdtp::CdtpError>(())
    /// ```
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self, CdtpError> {
        let bytes = rmp_serde::to_vec_named(value).map_err(CdtpError::Serialize)?;
        fit::check_written(bytes.len())?;
        let mut budget = Budget::new(&DecodeLimits::default().tag_values(0));
        Reader::new(&bytes, 0)
            .check_tags(&mut budget)
            .map_err(CdtpError::NotTags)?;
        Ok(Reader::new(&bytes, 0).tags())
    }

    /// Reads the tags into any type that serde can make from a map.
    ///
    /// # Errors
    /// [`CdtpError::Data`] when the tags are not of that type; the cause names the key. [`CdtpError::TooLarge`] for a tag of 4 GiB
    /// or more.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, CdtpError> {
        fit::check_tags(self)?;
        let mut bytes = Vec::new();
        msgpack::write_tags(&mut bytes, self, Encoding::Compact);
        rmp_serde::from_slice(&bytes).map_err(CdtpError::Data)
    }

    /// Puts a value in; gives the one that it replaces, whose place it takes.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.entries
            .get_or_insert_default()
            .insert(key.into(), value.into())
    }

    /// Takes a value out; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let entries = self.entries.as_mut()?;
        let removed = entries.shift_remove(key);
        if entries.is_empty() {
            self.entries = None;
        }
        removed
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.as_ref()?.get(key)
    }

    /// Whether there is a value under a key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The keys and values in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        let entries = self.entries.as_deref().unwrap_or(empty());
        entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut tags = Self::new();
        tags.extend(entries);
        tags
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Tags {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl IntoIterator for Tags {
    type Item = (String, Value);
    type IntoIter = indexmap::map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries
            .map(|entries| *entries)
            .unwrap_or_default()
            .into_iter()
    }
}

impl From<Tags> for Cow<'_, Tags> {
    fn from(tags: Tags) -> Self {
        Cow::Owned(tags)
    }
}

impl<'a> From<&'a Tags> for Cow<'a, Tags> {
    fn from(tags: &'a Tags) -> Self {
        Cow::Borrowed(tags)
    }
}

fn empty() -> &'static IndexMap<String, Value> {
    static EMPTY: std::sync::LazyLock<IndexMap<String, Value>> =
        std::sync::LazyLock::new(IndexMap::new);
    &EMPTY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_first_insertion() {
        let mut tags = Tags::new().with("b", 1).with("a", 2).with("c", 3);
        assert_eq!(tags.insert("b", "again"), Some(Value::Int(1)));
        assert_eq!(tags.remove("a"), Some(Value::Int(2)));
        assert_eq!(tags.remove("a"), None);
        let keys: Vec<_> = tags.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["b", "c"]);
    }

    #[test]
    fn emptied_tags_are_empty_tags() {
        let mut tags = Tags::new().with("a", 1);
        tags.remove("a");
        assert!(tags.is_empty() && tags.iter().next().is_none());
        assert_eq!(tags, Tags::new());
    }
}
