//! The commands of one service that were answered as pending and still owe their result.

use std::collections::BTreeMap;
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

#[derive(Debug, Default)]
struct Unfinished {
    commands: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    deferred: Deferred,
    since: Instant,
    deadline: Option<Instant>,
}

impl PendingCommands {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            unfinished: Arc::default(),
        }
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<PendingInfo> {
        let commands = self.unfinished.commands.lock();
        commands
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
        self.unfinished.commands.lock().len()
    }

    /// When the next command fails by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.unfinished
            .commands
            .lock()
            .values()
            .filter_map(|entry| entry.deadline)
            .min()
    }

    /// Publishes FAILED for the commands whose deadline has passed.
    pub(crate) fn expire(&self, now: Instant) {
        self.fail(
            |entry| entry.deadline.is_some_and(|deadline| now >= deadline),
            "the command did not end before its deadline",
        );
    }

    /// Publishes FAILED for all: the service ends.
    pub(crate) fn abandon_all(&self) {
        self.fail(|_| true, "the service stopped before the command ended");
    }

    fn fail(&self, which: impl Fn(&Entry) -> bool, why: &str) {
        let mut commands = self.unfinished.commands.lock();
        commands.retain(|_, entry| {
            let fails = which(entry);
            if fails {
                self.publish_failure(&entry.deferred, why);
            }
            !fails
        });
    }

    /// Past the bound of the queue, or a client would wait for ever; there is at most one for each pending command.
    fn publish_failure(&self, deferred: &Deferred, why: &str) {
        let (body, shape) = self.body(deferred, &CommandResponse::failed(0, why));
        let queued = self
            .publisher
            .queue_owed(Topic::COMMAND_RESULT, &body, shape);
        if let Err(error) = queued {
            log::debug!("no result for nonce {}: {error}", deferred.nonce);
        }
    }

    fn publish(
        &self,
        topic: Topic,
        deferred: &Deferred,
        response: &CommandResponse,
    ) -> Result<(), RpcError> {
        let (body, shape) = self.body(deferred, response);
        self.publisher.queue(topic, &body, shape)
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
    fn open(&self, deferred: Deferred) -> u64 {
        let id = self.unfinished.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            deferred,
            since: Instant::now(),
            deadline: None,
        };
        self.unfinished.commands.lock().insert(id, entry);
        id
    }

    fn progress(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError> {
        let commands = self.unfinished.commands.lock();
        let entry = commands.get(&id).ok_or(RpcError::Finished)?;
        self.publish(Topic::COMMAND_PROGRESS, &entry.deferred, response)
    }

    fn finish(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError> {
        let mut commands = self.unfinished.commands.lock();
        let entry = commands.get(&id).ok_or(RpcError::Finished)?;
        self.publish(Topic::COMMAND_RESULT, &entry.deferred, response)?;
        commands.remove(&id);
        Ok(())
    }

    fn abandon(&self, id: u64, why: &str) {
        let mut commands = self.unfinished.commands.lock();
        if let Some(entry) = commands.remove(&id) {
            self.publish_failure(&entry.deferred, why);
        }
    }

    fn set_deadline(&self, id: u64, deadline: Instant) -> Result<(), RpcError> {
        let mut commands = self.unfinished.commands.lock();
        let entry = commands.get_mut(&id).ok_or(RpcError::Finished)?;
        entry.deadline = Some(deadline);
        drop(commands);
        self.publisher.outbox().nudge();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::service::outbox::{Batch, Outbox, OutboxLimits};
    use crate::rpc::{CommandResult, Dialect, Overflow, Response};
    use crate::zsocket::{WakeReceiver, wake_pair};

    struct Bench {
        outbox: Arc<Outbox>,
        pending: PendingCommands,
        _wake: WakeReceiver,
    }

    fn bench(messages: usize) -> Bench {
        let outbox = Arc::new(Outbox::new(OutboxLimits {
            messages,
            bytes: 1 << 20,
            overflow: Overflow::Refuse,
        }));
        let (waker, wake) = wake_pair().unwrap();
        outbox.open(waker);
        let publisher = Publisher::new(Arc::clone(&outbox), Dialect::Plain, true);
        Bench {
            pending: PendingCommands::new(publisher),
            outbox,
            _wake: wake,
        }
    }

    impl Bench {
        fn open(&self, nonce: i64) -> u64 {
            self.pending.open(Deferred {
                command: ApiCommand::UserDefined,
                custom_command: Some(1),
                nonce: Nonce::from(nonce),
                user: None,
            })
        }

        fn published(&self) -> Vec<(Topic, Response)> {
            let mut batch = Batch::default();
            self.outbox.take(&mut batch);
            let mut all = Vec::new();
            while let Some((entry, body)) = batch.next() {
                all.push((entry.topic, Response::decode(body, 64).unwrap()));
                self.outbox.sent_one();
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
        let done = CommandResponse::success().with_data(&[1, 2]);
        bench.pending.finish(id, &done).unwrap();
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
    fn full_queue_leaves_the_command_pending_for_another_try() {
        let bench = bench(1);
        let id = bench.open(1);
        let done = CommandResponse::success();
        bench.pending.progress(id, &done).unwrap();
        let full = bench.pending.finish(id, &done).unwrap_err();
        assert!(matches!(full, RpcError::QueueFull { .. }), "{full}");
        assert_eq!(bench.pending.count(), 1);
        assert_eq!(bench.published()[0].0, Topic::COMMAND_PROGRESS);
        bench.pending.finish(id, &done).unwrap();
        assert_eq!(bench.results().len(), 1);
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
