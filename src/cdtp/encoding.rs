//! How messages are written.

/// How messages are written; every decoder reads both.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// As short as MessagePack allows, tags in the order of their making: what Python writes. The default.
    #[default]
    Compact,
    /// The sequence number always in eight bytes, keys sorted by their bytes, floats that are whole numbers as integers: what C++ writes.
    ///
    /// Such a float stays one where a C++ receiver could not hold the integer: from 2⁶³ on, and at the head of an array in which other
    /// floats follow (*ours*; C++ sends what its own receivers then fail on).
    Cxx,
}
