//! How messages are written.

/// How messages are written; every decoder reads both.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// As short as MessagePack allows, tags in the order of their making: what Python writes. The default.
    #[default]
    Compact,
    /// The sequence number always in eight bytes, keys sorted by their bytes: what C++ writes.
    Cxx,
}
