use std::fmt;

use md5::{Digest, Md5};

/// What a beacon carries in place of a name: the MD5 hash of the name in lower case.
///
/// Names of groups and of hosts (`Type.name`) are hashed alike, so neither can be read from a beacon, only compared. Lower case
/// is Unicode's, as in ConstellationDAQ 1.0.2; the C++ reference folds ASCII only, so that a name with another capital letter
/// hashes differently there. Names that match `\w+\.\w+` in ASCII are safe.
///
/// # Examples
/// ```
/// use acqbus::chirp::ChirpId;
///
/// let host = ChirpId::of("Sputnik.One");
/// assert_eq!(host, ChirpId::of("SPUTNIK.ONE"));
/// assert_eq!(host.to_string(), "70fa57b9-33da-568f-d97b-0694fc854309");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChirpId([u8; Self::LEN]);

impl ChirpId {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 16;

    /// The identifier of a name. Source: CHIRP 1 since Constellation 0.7.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(Md5::digest(name.to_lowercase()).into())
    }

    /// An identifier as it came over the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The identifier as it goes over the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// In the form of a UUID, as the tools of Constellation show it.
impl fmt::Display for ChirpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ChirpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChirpId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_beyond_ascii_fold_as_in_python() {
        assert_eq!(
            ChirpId::of("STRASSE.ẞ").to_string(),
            "ea8cbcdd-8892-2cab-183b-8d51d688b5ad"
        );
        assert_eq!(
            ChirpId::of("İ.x").to_string(),
            "4fafa576-de55-e2fb-967d-2d161ab7e919"
        );
    }
}
