//! One part of a message, as libzmq holds it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Deref;

use crate::zsocket::pool::PooledBuffer;
use crate::zsocket::raw::{self, FrameOwner};

/// One part of a message: bytes, and what the transport says about their sender.
///
/// ```
/// use acqbus::zsocket::Frame;
///
/// let frame = Frame::from(vec![1, 2, 3]);
/// assert_eq!(&frame[..], [1, 2, 3]);
/// assert_eq!(frame.user_id(), None);
/// ```
pub struct Frame(zmq::Message);

impl Frame {
    /// An empty frame, to receive into.
    #[must_use]
    pub fn new() -> Self {
        Self(zmq::Message::new())
    }

    /// A frame with a copy of the bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(zmq::Message::from(bytes))
    }

    /// A frame of the buffer's bytes from `start` on, without a copy; none if it has not as many.
    ///
    /// The buffer goes back to its pool when libzmq has sent the frame, or when the frame is dropped.
    #[must_use]
    pub fn from_pooled(buffer: PooledBuffer, start: usize) -> Self {
        match raw::message_from_owner(buffer.into_owner(), start) {
            Ok(message) => Self(message),
            Err(mut owner) => {
                let bytes = owner.bytes();
                let frame = Self::from_slice(&bytes[start.min(bytes.len())..]);
                owner.release();
                frame
            }
        }
    }

    /// A property of a received frame, such as `Peer-Address` or `Socket-Type`.
    ///
    /// The first frame of a message may be gone; every frame of it has the same properties.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        raw::message_property(&self.0, &CString::new(name).ok()?)
    }

    /// The name that the authenticator gave to the peer, when the connection has one.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.c_property(c"User-Id")
    }

    /// The peer's IP address, without its port.
    #[must_use]
    pub fn peer_address(&self) -> Option<&str> {
        self.c_property(c"Peer-Address")
    }

    pub(super) fn c_property(&self, name: &CStr) -> Option<&str> {
        raw::message_property(&self.0, name)
    }

    pub(super) fn message(&self) -> &zmq::Message {
        &self.0
    }

    pub(super) fn message_mut(&mut self) -> &mut zmq::Message {
        &mut self.0
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Vec<u8>> for Frame {
    /// Copies up to 1 KiB, which is cheaper than sharing; takes a larger vector as it is.
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= COPY_LIMIT {
            Self::from_slice(&bytes)
        } else {
            Self(raw::message_from_vec(bytes))
        }
    }
}

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        Self::from_slice(bytes)
    }
}

impl From<&str> for Frame {
    fn from(text: &str) -> Self {
        Self::from_slice(text.as_bytes())
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Frame {
    // The length only: a frame may be large, and may hold what no log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

/// Bytes above which a vector is handed over and not copied.
const COPY_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_size_keep_their_bytes() {
        for len in [0, 1, 33, 34, COPY_LIMIT, COPY_LIMIT + 1, 1 << 20] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            assert_eq!(&Frame::from(bytes.clone())[..], bytes);
            assert_eq!(&Frame::from_slice(&bytes)[..], bytes);
        }
    }

    #[test]
    fn property_name_with_a_zero_byte_is_absent() {
        assert_eq!(Frame::new().property("User\0Id"), None);
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Frame::from("secret")), "Frame(6 bytes)");
    }
}
