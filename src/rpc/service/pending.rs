//! The commands of one service that were answered as pending and still owe their result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rpc::defer::{Deferrals, Deferred};
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
    pub(crate) fn abandon(&self) {
        self.fail(|_| true, "the service stopped before the command ended");
    }

    fn fail(&self, which: impl Fn(&Entry) -> bool, why: &str) {
        let mut commands = self.unfinished.commands.lock();
        let response = CommandResponse::failed(0, why);
        commands.retain(|_, entry| {
            // With a full queue the command stays, and the next look at the clock tries again.
            !which(entry)
                || self
                    .publish(Topic::COMMAND_RESULT, &entry.deferred, &response)
                    .is_err()
        });
    }

    fn publish(
        &self,
        topic: Topic,
        deferred: &Deferred,
        response: &CommandResponse,
    ) -> Result<(), RpcError> {
        let mut body = Vec::with_capacity(256);
        let shape = encode_command_result(
            deferred.command,
            &deferred.nonce,
            response,
            self.publisher.dialect(),
            &mut body,
        );
        self.publisher.queue(topic, &body, shape)
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

    fn set_deadline(&self, id: u64, deadline: Instant) -> Result<(), RpcError> {
        let mut commands = self.unfinished.commands.lock();
        let entry = commands.get_mut(&id).ok_or(RpcError::Finished)?;
        entry.deadline = Some(deadline);
        drop(commands);
        self.publisher.outbox().nudge();
        Ok(())
    }
}
