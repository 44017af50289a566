//! One effect for one request: what was answered to whom, remembered for a while.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::rpc::CommandResponse;

/// Answers given to requests that say who asks, by asker and nonce.
///
/// Section 4.7 of `docs/wire.md`. A client that lost a reply asks again with the same bytes and gets the stored answer;
/// no command runs twice for it. *Ours.*
#[derive(Debug)]
pub(crate) struct OnceWindow {
    entries: usize,
    window: Duration,
    hasher: RandomState,
    answered: HashMap<Asker, Answered>,
    order: VecDeque<(Instant, Asker)>,
    bytes: usize,
}

/// Who asked: user of the keys (if any), client identity, nonce.
pub(crate) type Asker = (Option<String>, String, String);

/// What the window knows of a request.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nothing: run it, then [`OnceWindow::store`].
    Fresh,
    /// The same request was answered with this.
    Repeat(CommandResponse),
    /// The nonce was used for another request.
    Conflict,
}

impl OnceWindow {
    pub(crate) fn new(entries: usize, window: Duration) -> Self {
        Self {
            entries,
            window,
            hasher: RandomState::new(),
            answered: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn check(&mut self, now: Instant, asker: &Asker, request: &[u8]) -> Seen {
        self.forget(now);
        match self.answered.get(asker) {
            None => Seen::Fresh,
            Some(answered) if answered.request == self.hasher.hash_one(request) => {
                Seen::Repeat(answered.response.clone())
            }
            Some(_) => Seen::Conflict,
        }
    }

    pub(crate) fn store(
        &mut self,
        now: Instant,
        asker: Asker,
        request: &[u8],
        response: CommandResponse,
    ) {
        if self.entries == 0 || self.answered.contains_key(&asker) {
            return;
        }
        let request = self.hasher.hash_one(request);
        let answered = Answered { request, response };
        self.bytes += answered.len_bytes() + len_bytes(&asker);
        self.answered.insert(asker.clone(), answered);
        self.order.push_back((now, asker));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front() {
            let old = now.saturating_duration_since(*at) >= self.window;
            if !old && self.order.len() <= self.entries && self.bytes <= MAX_BYTES {
                return;
            }
            if let Some((_, asker)) = self.order.pop_front()
                && let Some(answered) = self.answered.remove(&asker)
            {
                self.bytes -= answered.len_bytes() + len_bytes(&asker);
            }
        }
    }
}

#[derive(Debug)]
struct Answered {
    request: u64,
    response: CommandResponse,
}

impl Answered {
    fn len_bytes(&self) -> usize {
        let data = self.response.data_text().map_or(0, <[u8]>::len);
        data + self.response.error_message().map_or(0, str::len)
    }
}

/// What an asker costs: it stands in the map and in the order of age, and its client chooses how long it is.
fn len_bytes((user, client, nonce): &Asker) -> usize {
    2 * (user.as_ref().map_or(0, String::len) + client.len() + nonce.len())
}

/// Bytes kept at most, whatever the number of entries.
const MAX_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(nonce: u32) -> Asker {
        (None, "a".to_owned(), nonce.to_string())
    }

    fn is_fresh(seen: &Seen) -> bool {
        matches!(seen, Seen::Fresh)
    }

    #[test]
    fn repeat_gets_the_stored_answer_and_another_body_is_a_conflict() {
        let now = Instant::now();
        let mut once = OnceWindow::new(8, Duration::from_secs(60));
        assert!(is_fresh(&once.check(now, &asker(1), b"x")));
        once.store(now, asker(1), b"x", CommandResponse::failed(7, "once"));
        let Seen::Repeat(response) = once.check(now, &asker(1), b"x") else {
            panic!("the answer is stored")
        };
        assert_eq!(response.error_code(), 7);
        assert!(matches!(once.check(now, &asker(1), b"y"), Seen::Conflict));
        let other_user = (Some("eve".to_owned()), "a".to_owned(), "1".to_owned());
        assert!(is_fresh(&once.check(now, &other_user, b"x")));
    }

    #[test]
    fn answers_are_forgotten_by_age_and_by_number() {
        let now = Instant::now();
        let mut once = OnceWindow::new(2, Duration::from_secs(60));
        for nonce in 0..3 {
            once.store(now, asker(nonce), b"x", CommandResponse::success());
        }
        assert!(is_fresh(&once.check(now, &asker(0), b"x")));
        assert!(!is_fresh(&once.check(now, &asker(2), b"x")));
        let later = now + Duration::from_secs(60);
        assert!(is_fresh(&once.check(later, &asker(2), b"x")));
        assert_eq!(once.bytes, 0);
    }

    #[test]
    fn large_answers_are_bounded_together() {
        let now = Instant::now();
        let mut once = OnceWindow::new(1000, Duration::from_secs(60));
        let response = CommandResponse::success().with_data(&"x".repeat(1 << 20));
        for nonce in 0..40 {
            once.store(now, asker(nonce), b"x", response.clone());
        }
        assert!(once.bytes <= MAX_BYTES);
        assert_eq!(once.answered.len(), once.order.len());
    }

    #[test]
    fn long_identities_and_nonces_count_against_the_bound() {
        let now = Instant::now();
        let mut once = OnceWindow::new(1000, Duration::from_secs(60));
        for number in 0..100 {
            let asker = (
                None,
                "c".repeat(1 << 19),
                format!("{number}{}", "0".repeat(1 << 19)),
            );
            once.store(now, asker, b"x", CommandResponse::success());
        }
        assert!(once.order.len() <= 8, "{} are kept", once.order.len());
        once.check(now + Duration::from_secs(60), &asker(0), b"x");
        assert_eq!((once.bytes, once.order.len()), (0, 0));
    }
}
