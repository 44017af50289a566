//! CURVE keys: 32 bytes each, as text 40 characters of Z85.

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, Zeroizing};

use crate::zsocket::error::KeyError;

/// A public key, which may be shown to anybody.
///
/// ```
/// use acqbus::zsocket::PublicKey;
///
/// let text = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
/// let key: PublicKey = text.parse()?;
/// assert_eq!(key.to_string(), text);
/// assert!("too short".parse::<PublicKey>().is_err());
/// # Ok::<(), acqbus::zsocket::KeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// A key from its bytes; any 32 bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| KeyError::InvalidKey {
                reason: "it does not have 32 bytes",
            })
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A secret key; erased from memory when dropped, never shown by `Debug`, and without `Display`.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; KEY_LEN]>);

impl SecretKey {
    /// The bytes of the key; do not keep a copy.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The key as text for a file that only its owner may read; erased when dropped.
    #[must_use]
    pub fn to_z85(&self) -> Zeroizing<String> {
        encode(&self.0)
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A public key and the secret key that belongs to it.
#[derive(Clone, Debug)]
pub struct CurveKeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl CurveKeyPair {
    /// Makes a new pair from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::NoCurve`] if this libzmq was built without CURVE.
    pub fn generate() -> Result<Self, KeyError> {
        let mut pair = zmq::CurveKeyPair::new().map_err(|_| KeyError::NoCurve)?;
        let keys = Self {
            public: PublicKey(pair.public_key),
            secret: SecretKey(Zeroizing::new(pair.secret_key)),
        };
        pair.secret_key.zeroize();
        Ok(keys)
    }

    /// Puts a pair together; whether the keys belong together is only seen when a handshake fails.
    #[must_use]
    pub fn new(public: PublicKey, secret: SecretKey) -> Self {
        Self { public, secret }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret half.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

/// Z85 of a key. Source: ZeroMQ RFC 32: four bytes are one big-endian number, written as five
/// digits to base 85.
fn encode(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
    for chunk in key.chunks_exact(4) {
        let mut value = chunk
            .iter()
            .fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        let mut digits = [0u8; 5];
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(value % 85) as usize];
            value /= 85;
        }
        text.extend(digits.iter().map(|digit| char::from(*digit)));
    }
    text
}

/// A key from its text; the crate's own decoder accepts characters outside the alphabet.
fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    if text.len() != TEXT_LEN {
        return Err(KeyError::InvalidKey {
            reason: "it does not have 40 characters",
        });
    }
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    for (digits, out) in text.as_bytes().chunks_exact(5).zip(key.chunks_exact_mut(4)) {
        let mut value = 0u64;
        for digit in digits {
            let Some(place) = ALPHABET.iter().position(|letter| letter == digit) else {
                return Err(KeyError::InvalidKey {
                    reason: "it has a character that is not in Z85",
                });
            };
            value = value * 85 + place as u64;
        }
        let Ok(value) = u32::try_from(value) else {
            return Err(KeyError::InvalidKey {
                reason: "five of its characters are more than four bytes",
            });
        };
        out.copy_from_slice(&value.to_be_bytes());
    }
    Ok(key)
}

const KEY_LEN: usize = 32;
const TEXT_LEN: usize = 40;
const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The keys of RFC 32's and libzmq's test vectors.
    const TEXT: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const BYTES: [u8; 32] = [
        0x54, 0xFC, 0xBA, 0x24, 0xE9, 0x32, 0x49, 0x96, 0x93, 0x16, 0xFB, 0x61, 0x7C, 0x87, 0x2B,
        0xB0, 0xC1, 0xD1, 0xFF, 0x14, 0x80, 0x04, 0x27, 0xC5, 0x94, 0xCB, 0xFA, 0xCF, 0x1B, 0xC2,
        0xD6, 0x52,
    ];

    #[test]
    fn text_is_that_of_the_rfc() {
        assert_eq!(PublicKey(BYTES).to_string(), TEXT);
        assert_eq!(TEXT.parse::<PublicKey>().unwrap(), PublicKey(BYTES));
    }

    #[test]
    fn text_agrees_with_libzmq() {
        let pair = CurveKeyPair::generate().unwrap();
        assert_eq!(
            zmq::z85_encode(pair.public().as_bytes()).unwrap(),
            pair.public().to_string()
        );
        assert_eq!(
            zmq::z85_encode(pair.secret().as_bytes()).unwrap(),
            *pair.secret().to_z85()
        );
    }

    #[test]
    fn every_truncation_and_a_wrong_character_are_refused() {
        for len in 0..TEXT.len() {
            assert!(TEXT[..len].parse::<PublicKey>().is_err());
        }
        assert!(format!("{TEXT}0").parse::<PublicKey>().is_err());
        assert!(TEXT.replace('7', "~").parse::<PublicKey>().is_err());
        assert!("#".repeat(40).parse::<PublicKey>().is_err());
        assert!("\u{e9}".repeat(20).parse::<PublicKey>().is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let pair = CurveKeyPair::generate().unwrap();
        let shown = format!("{pair:?} {:?}", pair.secret());
        assert!(shown.contains("SecretKey(..)"));
        assert!(shown.contains(&pair.public().to_string()));
        assert!(!shown.contains(pair.secret().to_z85().as_str()));
    }

    proptest! {
        #[test]
        fn keys_read_back(bytes: [u8; 32]) {
            prop_assert_eq!(*decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,45}") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
