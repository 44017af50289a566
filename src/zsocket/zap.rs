//! The authentication protocol between libzmq and us: requests, decisions, replies, as bytes.
//!
//! Source: ZeroMQ RFC 27 (ZAP 1.0). libzmq asks once for each connection:
//!
//! | frame | request | reply |
//! |---|---|---|
//! | 1 | version `1.0` | version `1.0` |
//! | 2 | request id | the same request id |
//! | 3 | domain | status `200`, `300`, `400` or `500` |
//! | 4 | IP address | text |
//! | 5 | routing id | user id |
//! | 6 | mechanism | metadata, here none |
//! | 7… | credentials; for CURVE the 32-byte key of the client | |

use std::fmt;

use crate::zsocket::curve::PublicKey;

/// Knows which keys may connect; asked on the handler's thread for each new connection.
pub trait Authenticate: Send + Sync + 'static {
    /// The name of the key's owner, which becomes the `User-Id` of what the connection sends.
    ///
    /// Must be quick: other connections wait meanwhile.
    ///
    /// # Errors
    /// Why the key is refused.
    fn authenticate(&self, domain: &str, key: &PublicKey) -> Result<String, Refusal>;
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody has this key.
    UnknownKey,
    /// The key was revoked.
    RevokedKey,
    /// The connection does not use CURVE.
    Mechanism,
    /// The request is not ZAP 1.0.
    Malformed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "unknown key",
            Self::RevokedKey => "revoked key",
            Self::Mechanism => "not CURVE",
            Self::Malformed => "malformed request",
        })
    }
}

/// A request of libzmq, checked and borrowed from its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZapRequest<'a> {
    /// Echoed in the reply.
    pub request_id: &'a [u8],
    /// The domain that the server socket was given.
    pub domain: &'a str,
    /// The client's IP address, without its port.
    pub address: &'a str,
    /// What the client wants to prove.
    pub credentials: Credentials<'a>,
}

/// What a client brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials<'a> {
    /// The client has proved that it holds the secret of this key.
    Curve(PublicKey),
    /// Another mechanism, by name: `NULL`, `PLAIN` or `GSSAPI`. What it brings is not read.
    Other(&'a str),
}

impl<'a> ZapRequest<'a> {
    /// Reads a request from its frames, without the empty one that a REP socket takes away.
    ///
    /// # Errors
    /// [`ZapReply`] to send back, with status 500: libzmq then refuses the connection.
    pub fn parse(frames: &[&'a [u8]]) -> Result<Self, ZapReply> {
        // Whatever else is wrong, the reply carries the request id if there is one.
        let request_id: &'a [u8] = frames.get(1).copied().unwrap_or_default();
        let request_id = if request_id.len() > MAX_FIELD_LEN {
            &[]
        } else {
            request_id
        };
        let malformed = |text| ZapReply::refused(request_id, Refusal::Malformed, text);
        let &[
            version,
            id,
            domain,
            address,
            routing_id,
            mechanism,
            ref credentials @ ..,
        ] = frames
        else {
            return Err(malformed("fewer than six frames"));
        };
        if version != VERSION {
            return Err(malformed("not version 1.0"));
        }
        if [id, domain, address, routing_id, mechanism]
            .iter()
            .any(|field| field.len() > MAX_FIELD_LEN)
        {
            return Err(malformed("a field is longer than 255 bytes"));
        }
        let text = |field: &'a [u8]| std::str::from_utf8(field);
        let (Ok(domain), Ok(address), Ok(mechanism)) =
            (text(domain), text(address), text(mechanism))
        else {
            return Err(malformed("a field is not text"));
        };
        let credentials = match (mechanism, credentials) {
            ("CURVE", [key]) => match PublicKey::try_from(*key) {
                Ok(key) => Credentials::Curve(key),
                Err(_) => return Err(malformed("the key does not have 32 bytes")),
            },
            ("CURVE", _) => return Err(malformed("CURVE wants one credential")),
            (_, credentials) if credentials.len() > MAX_CREDENTIALS => {
                return Err(malformed("too many credentials"));
            }
            (other, _) => Credentials::Other(other),
        };
        Ok(Self {
            request_id,
            domain,
            address,
            credentials,
        })
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZapReply {
    request_id: Vec<u8>,
    outcome: Result<String, Refusal>,
    text: &'static str,
}

impl ZapReply {
    fn refused(request_id: &[u8], refusal: Refusal, text: &'static str) -> Self {
        Self {
            request_id: request_id.to_vec(),
            outcome: Err(refusal),
            text,
        }
    }

    /// The name under which the client is served, or why it is not.
    ///
    /// # Errors
    /// The reason.
    pub fn outcome(&self) -> Result<&str, Refusal> {
        match &self.outcome {
            Ok(name) => Ok(name),
            Err(refusal) => Err(*refusal),
        }
    }

    /// What libzmq does: 200 serve, 400 refuse, 500 refuse since the request itself was wrong.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.outcome {
            Ok(_) => 200,
            Err(Refusal::Malformed) => 500,
            Err(_) => 400,
        }
    }

    /// The status in words; what was wrong, if it was.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The reply as its six frames.
    #[must_use]
    pub fn frames(&self) -> [Vec<u8>; 6] {
        let user_id = self.outcome().unwrap_or_default();
        [
            VERSION.to_vec(),
            self.request_id.clone(),
            self.status().to_string().into_bytes(),
            self.text.as_bytes().to_vec(),
            user_id.as_bytes().to_vec(),
            Vec::new(),
        ]
    }
}

/// Decides a request: only CURVE, and only a key that the authenticator names.
#[must_use]
pub fn decide(request: &ZapRequest<'_>, authenticator: &dyn Authenticate) -> ZapReply {
    let refuse = |refusal, text| ZapReply::refused(request.request_id, refusal, text);
    let Credentials::Curve(key) = &request.credentials else {
        return refuse(Refusal::Mechanism, "only CURVE is served");
    };
    match authenticator.authenticate(request.domain, key) {
        // libzmq cuts a longer name off, so that it could become another's.
        Ok(name) if name.is_empty() || name.len() > MAX_FIELD_LEN => {
            refuse(Refusal::Malformed, "the key's owner has no usable name")
        }
        Ok(name) => ZapReply {
            request_id: request.request_id.to_vec(),
            outcome: Ok(name),
            text: "OK",
        },
        // The same text for both: a stranger learns nothing about which keys exist.
        Err(refusal) => refuse(refusal, "key not accepted"),
    }
}

const VERSION: &[u8] = b"1.0";
/// What libzmq's own names and options can have at most.
const MAX_FIELD_LEN: usize = 255;
/// PLAIN has two, GSSAPI one.
const MAX_CREDENTIALS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Only(PublicKey);

    impl Authenticate for Only {
        fn authenticate(&self, _domain: &str, key: &PublicKey) -> Result<String, Refusal> {
            if *key == self.0 {
                Ok("ada".to_owned())
            } else {
                Err(Refusal::UnknownKey)
            }
        }
    }

    const KEY: [u8; 32] = [7; 32];

    fn only() -> Only {
        Only(PublicKey::from_bytes(KEY))
    }

    /// The frames of RFC 27, section "CURVE Mechanism", as libzmq 4.3.4 sends them.
    fn good() -> Vec<&'static [u8]> {
        vec![b"1.0", b"1", b"acqbus", b"127.0.0.1", b"", b"CURVE", &KEY]
    }

    /// Parse and decide, as the handler does.
    fn answer(frames: &[&[u8]]) -> ZapReply {
        match ZapRequest::parse(frames) {
            Ok(request) => decide(&request, &only()),
            Err(reply) => reply,
        }
    }

    #[test]
    fn known_key_is_served_under_its_name() {
        assert_eq!(
            answer(&good()).frames(),
            [&b"1.0"[..], b"1", b"200", b"OK", b"ada", b""]
        );
    }

    #[test]
    fn unknown_key_is_refused_with_400() {
        let mut frames = good();
        frames[6] = &[8; 32];
        assert_eq!(
            answer(&frames).frames(),
            [&b"1.0"[..], b"1", b"400", b"key not accepted", b"", b""]
        );
    }

    #[test]
    fn other_mechanisms_are_refused_with_400() {
        let null: Vec<&[u8]> = vec![b"1.0", b"2", b"acqbus", b"::1", b"id", b"NULL"];
        let plain: Vec<&[u8]> = vec![b"1.0", b"3", b"", b"", b"", b"PLAIN", b"admin", b"secret"];
        for frames in [null, plain] {
            let reply = answer(&frames);
            assert_eq!(
                (reply.status(), reply.outcome()),
                (400, Err(Refusal::Mechanism))
            );
            assert_eq!(reply.frames()[1], frames[1]);
        }
    }

    #[test]
    fn every_truncation_of_a_good_request_is_refused() {
        let frames = good();
        for count in 0..frames.len() {
            assert_eq!(answer(&frames[..count]).outcome(), Err(Refusal::Malformed));
        }
        for len in 0..KEY.len() {
            let mut frames = good();
            frames[6] = &KEY[..len];
            assert_eq!(answer(&frames).status(), 500);
        }
    }

    #[test]
    fn wrong_version_oversize_fields_and_extra_frames_are_refused() {
        let long = [b'x'; 256];
        for (place, bytes) in [
            (0, &b"1.1"[..]),
            (0, b""),
            (1, &long),
            (2, &long),
            (2, b"\xff"),
            (3, b"\xff"),
            (4, &long),
            (5, &long),
            (5, b"\xff"),
            (6, &long),
        ] {
            let mut frames = good();
            frames[place] = bytes;
            assert_eq!(answer(&frames).status(), 500, "frame {place}");
        }
        let mut frames = good();
        frames.push(&KEY);
        assert_eq!(answer(&frames).status(), 500);
    }

    #[test]
    fn name_that_libzmq_would_cut_is_refused() {
        struct Long;
        impl Authenticate for Long {
            fn authenticate(&self, _domain: &str, _key: &PublicKey) -> Result<String, Refusal> {
                Ok("x".repeat(256))
            }
        }
        let frames = good();
        assert_eq!(
            decide(&ZapRequest::parse(&frames).unwrap(), &Long).status(),
            500
        );
    }

    proptest! {
        #[test]
        fn no_request_panics_and_only_the_key_is_served(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10)
        ) {
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            prop_assert_ne!(answer(&frames).status(), 200);
        }

        #[test]
        fn one_changed_frame_is_served_only_where_it_does_not_matter(
            place in 0usize..7, bytes in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let mut frames = good();
            let changed = frames[place] != bytes.as_slice();
            frames[place] = &bytes;
            let reply = answer(&frames);
            if changed && [0, 5, 6].contains(&place) {
                prop_assert_ne!(reply.status(), 200);
            }
        }
    }
}
