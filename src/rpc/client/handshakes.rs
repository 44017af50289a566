//! What the handshakes of one socket say about its rights.

use crate::zsocket::{HandshakeFailure, SocketOptions, SocketSecurity};

/// Tells a service that refuses this client from one that is only going away or coming up.
///
/// A service with another key than expected ends the handshake without a word, and so may one that wants keys of a client that
/// has none. So does one that is stopped in the middle of it, which is why one such end proves nothing.
#[derive(Debug)]
pub(crate) struct Handshakes {
    /// Whether the client presents a key.
    keyed: bool,
    /// Whether one of them went through: the keys are right.
    proven: bool,
    /// How many in a row were cut off.
    cut_off: u32,
    /// How far the current connection is.
    stage: Stage,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    LetIn,
    Failed,
}

impl Handshakes {
    pub(crate) fn new(options: &SocketOptions) -> Self {
        Self {
            keyed: matches!(options.security, SocketSecurity::CurveClient { .. }),
            proven: false,
            cut_off: 0,
            stage: Stage::Begun,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.proven = true;
        self.cut_off = 0;
        self.stage = Stage::LetIn;
    }

    /// What to tell of the end of a connection.
    ///
    /// libzmq reports no failure, and does not connect again, when the sockets of both ends are of kinds that do not talk to each
    /// other: then the end is all that is seen of the handshake.
    pub(crate) fn disconnected(&mut self) -> Option<String> {
        let stage = std::mem::replace(&mut self.stage, Stage::Begun);
        (stage == Stage::Begun).then(|| {
            "what listens there is no socket for this: perhaps it is the other port of the service, or another kind of service"
                .to_owned()
        })
    }

    /// What to tell of a failed handshake; `None` where it says nothing about rights.
    pub(crate) fn failed(&mut self, failure: HandshakeFailure) -> Option<String> {
        self.stage = Stage::Failed;
        if failure != HandshakeFailure::NoDetail {
            self.cut_off = 0;
        }
        match failure {
            HandshakeFailure::Auth(status) => Some(format!(
                "the service does not accept this key (status {status})"
            )),
            HandshakeFailure::Protocol(_) if failure.is_other_mechanism() => {
                Some("one side wants keys and the other has none".to_owned())
            }
            HandshakeFailure::Protocol(_) if self.keyed => Some(format!(
                "{failure}: the service's public key is perhaps not the one in the key file, or this is another kind of service"
            )),
            HandshakeFailure::Protocol(_) => Some(format!(
                "{failure}: perhaps this is another kind of service"
            )),
            HandshakeFailure::NoDetail => {
                self.cut_off = self.cut_off.saturating_add(1);
                let refused = !self.proven && self.cut_off >= PROOF;
                refused.then(|| self.cut_off_text())
            }
        }
    }

    fn cut_off_text(&self) -> String {
        let times = self.cut_off;
        if self.keyed {
            format!(
                "the handshake was cut off {times} times: the service's public key is perhaps not the one in the key file, or this is another port"
            )
        } else {
            format!(
                "something listens there and cut off the handshake {times} times: it wants a key, or it is another port or another kind of service"
            )
        }
    }
}

/// So many handshakes in a row are not cut off by chance.
const PROOF: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: Handshakes = Handshakes {
        keyed: true,
        proven: false,
        cut_off: 0,
        stage: Stage::Begun,
    };

    #[test]
    fn restart_of_a_keyed_service_is_no_refusal() {
        let mut handshakes = KEYED;
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        handshakes.succeeded();
        for _ in 0..10 {
            assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        }
    }

    #[test]
    fn service_with_another_key_is_told_at_the_third_handshake() {
        let mut handshakes = KEYED;
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        let reason = handshakes.failed(HandshakeFailure::NoDetail).unwrap();
        assert!(reason.contains("public key"), "{reason}");
    }

    #[test]
    fn without_keys_the_third_end_is_a_refusal_unless_one_went_through() {
        let keyless = || Handshakes {
            keyed: false,
            ..KEYED
        };
        let mut handshakes = keyless();
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        let reason = handshakes.failed(HandshakeFailure::NoDetail).unwrap();
        assert!(reason.contains("it wants a key"), "{reason}");

        let mut handshakes = keyless();
        handshakes.succeeded();
        for _ in 0..10 {
            assert_eq!(handshakes.failed(HandshakeFailure::NoDetail), None);
        }
    }

    #[test]
    fn end_without_a_word_about_the_handshake_is_another_kind_of_socket() {
        let mut handshakes = KEYED;
        handshakes.failed(HandshakeFailure::NoDetail);
        assert_eq!(handshakes.disconnected(), None, "the failure said it");
        handshakes.succeeded();
        assert_eq!(handshakes.disconnected(), None, "it was let in");
        let reason = handshakes.disconnected().unwrap();
        assert!(reason.contains("other port"), "{reason}");
    }

    #[test]
    fn failures_that_say_why_are_told_at_once_and_apart() {
        let of = |failure| KEYED.failed_text(failure);
        assert!(of(HandshakeFailure::Auth(400)).contains("status 400"));
        let other = of(HandshakeFailure::Protocol(0x1100_0001));
        assert!(other.contains("0x11000001"), "{other}");
        assert!(!other.contains("has none"), "{other}");
    }

    impl Handshakes {
        fn failed_text(mut self, failure: HandshakeFailure) -> String {
            self.failed(failure).expect("a reason")
        }
    }
}
