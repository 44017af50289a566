//! The commands of one service that were answered as pending and still owe their result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rpc::defer::{Deferrals, Deferred};
use crate::rpc::json::Shape;
use crate::rpc::nonce::Nonce;
use crate::rpc::service::publisher::Publisher;
use crate::rpc::{ApiCommand, CommandResponse, RpcError, Topic, encode_command_result};

/// One command that was answered as pending and has no result yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PendingInfo {
    /// The command.
    pub command: ApiCommand,
    /// Its custom number, where it is an integer.
    pub custom_command: Option<i64>,
    /// The nonce of its request.
    pub nonce: Nonce,
    /// Whose key asked for it, where the service has keys.
    pub user: Option<String>,
    /// How long ago it was answered.
    pub age: Duration,
    /// How long until it fails by itself, where it has a deadline.
    pub remaining: Option<Duration>,
}

/// The unfinished commands; whoever takes one out publishes its result, so that there is exactly one.
#[derive(Clone, Debug)]
pub(crate) struct PendingCommands {
    publisher: Publisher,
    unfinished: Arc<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    limit: usize,
    commands: Mutex<Commands>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Commands {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    /// Those of the entries that have one, the soonest first.
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Commands {
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(entry)
    }
}

#[derive(Debug)]
struct Entry {
    deferred: Deferred,
    since: Instant,
    deadline: Option<Instant>,
}

impl PendingCommands {
    /// At most `limit` commands are pending at a time.
    pub(crate) fn new(publisher: Publisher, limit: usize) -> Self {
        Self {
            publisher,
            unfinished: Arc::new(Unfinished {
                limit,
                commands: Mutex::default(),
                refused: AtomicU64::new(0),
            }),
        }
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<PendingInfo> {
        let commands = self.unfinished.commands.lock();
        commands
            .entries
            .values()
            .map(
                |Entry {
                     deferred,
                     since,
                     deadline,
                 }| PendingInfo {
                    command: deferred.command,
                    custom_command: deferred.custom_command,
                    nonce: deferred.nonce.clone(),
                    user: deferred.user.clone(),
                    age: now.saturating_duration_since(*since),
                    remaining: deadline.map(|deadline| deadline.saturating_duration_since(now)),
                },
            )
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.unfinished.commands.lock().entries.len()
    }

    /// How many commands could not become pending for want of room.
    pub(crate) fn refused(&self) -> u64 {
        self.unfinished.refused.load(Ordering::Relaxed)
    }

    /// When the next command fails by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let commands = self.unfinished.commands.lock();
        commands.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Publishes FAILED for the commands whose deadline has passed.
    pub(crate) fn expire(&self, now: Instant) {
        let mut commands = self.unfinished.commands.lock();
        while let Some(&(deadline, id)) = commands.deadlines.first() {
            if now < deadline {
                return;
            }
            if let Some(entry) = commands.remove(id) {
                self.publish_failure(&entry, "the command did not end before its deadline");
            }
        }
    }

    /// Publishes FAILED for all: the service ends.
    pub(crate) fn abandon_all(&self) {
        let mut commands = self.unfinished.commands.lock();
        while let Some((&id, _)) = commands.entries.first_key_value() {
            if let Some(entry) = commands.remove(id) {
                self.publish_failure(&entry, "the service stopped before the command ended");
            }
        }
    }

    fn publish_failure(&self, entry: &Entry, why: &str) {
        let failed = CommandResponse::failed(0, why);
        if let Err(error) = self.publish_result(&entry.deferred, &failed) {
            log::debug!("no result for nonce {}: {error}", entry.deferred.nonce);
        }
    }

    /// Past the bound of the queue, or a client would wait for ever; there is at most one for each pending command.
    fn publish_result(
        &self,
        deferred: &Deferred,
        response: &CommandResponse,
    ) -> Result<(), RpcError> {
        let (body, shape) = self.body(deferred, response);
        self.publisher
            .queue_owed(Topic::COMMAND_RESULT, &body, shape)
    }

    fn body(&self, deferred: &Deferred, response: &CommandResponse) -> (Vec<u8>, Shape) {
        let mut body = Vec::with_capacity(256);
        let shape = encode_command_result(
            deferred.command,
            &deferred.nonce,
            response,
            self.publisher.dialect(),
            &mut body,
        );
        (body, shape)
    }
}

impl Deferrals for PendingCommands {
    fn open(&self, deferred: Deferred) -> Result<u64, RpcError> {
        let mut commands = self.unfinished.commands.lock();
        if commands.entries.len() >= self.unfinished.limit {
            self.unfinished.refused.fetch_add(1, Ordering::Relaxed);
            return Err(RpcError::TooManyPending {
                limit: self.unfinished.limit,
            });
        }
        let id = commands.next;
        commands.next += 1;
        let entry = Entry {
            deferred,
            since: Instant::now(),
            deadline: None,
        };
        commands.entries.insert(id, entry);
        Ok(id)
    }

    fn progress(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError> {
        let commands = self.unfinished.commands.lock();
        let entry = commands.entries.get(&id).ok_or(RpcError::Finished)?;
        let (body, shape) = self.body(&entry.deferred, response);
        self.publisher.queue(Topic::COMMAND_PROGRESS, &body, shape)
    }

    fn finish(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError> {
        let mut commands = self.unfinished.commands.lock();
        let entry = commands.remove(id).ok_or(RpcError::Finished)?;
        self.publish_result(&entry.deferred, response)
    }

    fn abandon(&self, id: u64, why: &str) {
        let mut commands = self.unfinished.commands.lock();
        if let Some(entry) = commands.remove(id) {
            self.publish_failure(&entry, why);
        }
    }

    fn is_open(&self, id: u64) -> bool {
        self.unfinished.commands.lock().entries.contains_key(&id)
    }

    fn set_deadline(&self, id: u64, deadline: Instant) -> Result<(), RpcError> {
        let mut commands = self.unfinished.commands.lock();
        let entry = commands.entries.get_mut(&id).ok_or(RpcError::Finished)?;
        if let Some(old) = entry.deadline.replace(deadline) {
            commands.deadlines.remove(&(old, id));
        }
        commands.deadlines.insert((deadline, id));
        drop(commands);
        self.publisher.outbox().nudge();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::service::batch::Batch;
    use crate::rpc::service::outbox::{Outbox, OutboxLimits};
    use crate::rpc::{CommandResult, Dialect, Overflow, Response};
    use crate::zsocket::{WakeReceiver, wake_pair};

    const LIMIT: usize = 8;

    struct Bench {
        outbox: Arc<Outbox>,
        pending: PendingCommands,
        _wake: WakeReceiver,
    }

    fn bench(messages: usize) -> Bench {
        bench_that(messages, Overflow::Refuse)
    }

    fn bench_that(messages: usize, overflow: Overflow) -> Bench {
        let outbox = Arc::new(Outbox::new(OutboxLimits {
            messages,
            bytes: 1 << 20,
            overflow,
        }));
        let (waker, wake) = wake_pair().unwrap();
        outbox.open(waker);
        let publisher = Publisher::new(Arc::clone(&outbox), Dialect::Plain, true);
        Bench {
            pending: PendingCommands::new(publisher, LIMIT),
            outbox,
            _wake: wake,
        }
    }

    impl Bench {
        fn open(&self, nonce: i64) -> u64 {
            self.try_open(nonce).unwrap()
        }

        fn try_open(&self, nonce: i64) -> Result<u64, RpcError> {
            self.pending.open(Deferred {
                command: ApiCommand::UserDefined,
                custom_command: Some(1),
                nonce: Nonce::from(nonce),
                user: None,
            })
        }

        fn published(&self) -> Vec<(Topic, Response)> {
            let mut all = Vec::new();
            while !self.outbox.park() {
                let mut batch = Batch::default();
                self.outbox.take(&mut batch);
                while let Some((entry, body)) = batch.next() {
                    all.push((entry.topic, Response::decode(body, 64).unwrap()));
                    self.outbox.sent_one();
                }
            }
            all
        }

        fn results(&self) -> Vec<(i64, CommandResult, String)> {
            let all = self.published().into_iter();
            all.map(|(topic, response)| {
                assert_eq!(topic, Topic::COMMAND_RESULT);
                let why = response.error_message().unwrap_or_default().to_owned();
                (response.nonce().as_i64().unwrap(), response.result(), why)
            })
            .collect()
        }
    }

    #[test]
    fn result_carries_command_and_nonce_and_comes_once() {
        let bench = bench(10);
        let id = bench.open(77);
        assert!(bench.pending.is_open(id));
        let done = CommandResponse::success().with_data(&[1, 2]);
        bench.pending.finish(id, &done).unwrap();
        assert!(!bench.pending.is_open(id));
        let (topic, result) = bench.published().remove(0);
        assert_eq!(topic, Topic::COMMAND_RESULT);
        assert_eq!(result.command(), 99_999);
        assert_eq!(result.nonce().as_i64(), Some(77));
        assert_eq!(result.data(), &serde_json::json!([1, 2]));
        let again = bench.pending.finish(id, &done).unwrap_err();
        assert!(matches!(again, RpcError::Finished), "{again}");
        assert!(bench.pending.progress(id, &done).is_err());
        assert!(bench.pending.set_deadline(id, Instant::now()).is_err());
        bench.pending.abandon(id, "too late");
        assert!(bench.published().is_empty());
        assert_eq!(bench.pending.count(), 0);
    }

    #[test]
    fn result_goes_through_a_full_queue_and_is_never_dropped_for_another_message() {
        for overflow in [Overflow::Refuse, Overflow::DropNewest, Overflow::DropOldest] {
            let bench = bench_that(2, overflow);
            let ids = [1, 2, 3].map(|nonce| bench.open(nonce));
            let other = bench.open(4);
            for id in ids {
                // Refused or dropped, as the policy has it.
                let _ = bench.pending.progress(other, &CommandResponse::pending());
                bench
                    .pending
                    .finish(id, &CommandResponse::success())
                    .unwrap();
                let _ = bench.pending.progress(other, &CommandResponse::pending());
            }
            let results: Vec<_> = bench
                .published()
                .into_iter()
                .filter(|(topic, _)| *topic == Topic::COMMAND_RESULT)
                .map(|(_, result)| result.nonce().as_i64().unwrap())
                .collect();
            assert_eq!(results, [1, 2, 3], "{overflow:?}");
        }
    }

    #[test]
    fn commands_past_the_limit_do_not_become_pending() {
        let bench = bench(10);
        let ids: Vec<_> = (0..LIMIT as i64).map(|nonce| bench.open(nonce)).collect();
        let refused = bench.try_open(99).unwrap_err();
        assert!(
            matches!(refused, RpcError::TooManyPending { limit: LIMIT }),
            "{refused}"
        );
        assert_eq!(bench.pending.refused(), 1);
        bench
            .pending
            .finish(ids[0], &CommandResponse::success())
            .unwrap();
        bench.open(100);
    }

    #[test]
    fn failure_of_an_abandoned_command_is_published_through_a_full_queue() {
        let bench = bench(1);
        let dropped = bench.open(1);
        let _stopped = bench.open(2);
        let filler = bench.open(3);
        bench
            .pending
            .finish(filler, &CommandResponse::success())
            .unwrap();
        bench.pending.abandon(dropped, "dropped");
        bench.pending.abandon_all();
        assert_eq!(bench.pending.count(), 0);
        let stopped = "the service stopped before the command ended".to_owned();
        assert_eq!(
            bench.results(),
            [
                (3, CommandResult::Success, String::new()),
                (1, CommandResult::Failed, "dropped".to_owned()),
                (2, CommandResult::Failed, stopped),
            ]
        );
    }

    #[test]
    fn deadline_fails_the_command_by_itself() {
        let bench = bench(10);
        let now = Instant::now();
        let (early, late, _never) = (bench.open(1), bench.open(2), bench.open(3));
        assert_eq!(bench.pending.next_deadline(), None);
        let second = Duration::from_secs(1);
        bench.pending.set_deadline(late, now + 2 * second).unwrap();
        bench.pending.set_deadline(early, now + second).unwrap();
        assert_eq!(bench.pending.next_deadline(), Some(now + second));
        bench.pending.expire(now + second - Duration::from_nanos(1));
        assert_eq!(bench.results(), []);
        bench.pending.expire(now + second);
        let why = "the command did not end before its deadline".to_owned();
        assert_eq!(bench.results(), [(1, CommandResult::Failed, why)]);
        assert_eq!(bench.pending.next_deadline(), Some(now + 2 * second));
        let error = bench.pending.finish(early, &CommandResponse::success());
        assert!(matches!(error, Err(RpcError::Finished)));
        assert_eq!(bench.pending.count(), 2);
    }

    #[test]
    fn list_tells_what_is_unfinished() {
        let bench = bench(10);
        let id = bench.open(5);
        let now = Instant::now();
        bench
            .pending
            .set_deadline(id, now + Duration::from_secs(60))
            .unwrap();
        let later = now + Duration::from_secs(10);
        let listed = bench.pending.list(later);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].command, ApiCommand::UserDefined);
        assert_eq!(listed[0].custom_command, Some(1));
        assert_eq!(listed[0].nonce, Nonce::from(5));
        assert!(listed[0].age >= Duration::from_secs(10));
        assert_eq!(listed[0].remaining, Some(Duration::from_secs(50)));
    }
}
