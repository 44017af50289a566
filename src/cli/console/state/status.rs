//! How things are, as words for people and as objects for programs.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::console::state::{Connection, Pending, State, age};
use crate::cli::show::command_name;
use crate::rpc::Topic;

impl State {
    /// One line on the connection: state, heartbeat, epoch, sequences, losses, queue.
    pub(crate) fn status(&self, now: Instant) -> String {
        let mut parts = vec![self.connection_words()];
        if let Some(heartbeat) = &self.heartbeat {
            parts.push(format!("heartbeat {} ago", age(now, heartbeat.at)));
            parts.extend(
                heartbeat
                    .queue_depth
                    .map(|depth| format!("{depth} in its queue")),
            );
            parts.extend(
                heartbeat
                    .dropped
                    .map(|count| format!("{count} dropped by it")),
            );
        }
        if !self.last.is_empty() {
            let last: Vec<_> = self
                .last
                .iter()
                .map(|(topic, last)| format!("{topic} {last}"))
                .collect();
            parts.push(format!("last {}", last.join(", ")));
        }
        let lost: u64 = self.lost.values().sum();
        let of: Vec<_> = self
            .lost
            .iter()
            .map(|(topic, count)| format!("{count} of {topic}"))
            .collect();
        let of = if of.is_empty() {
            String::new()
        } else {
            format!(" ({})", of.join(", "))
        };
        parts.push(format!("lost {lost}{of}"));
        parts.push(format!("pending {}", self.pending.len()));
        parts.extend(self.view_words());
        parts.join(" | ")
    }

    /// What [`State::status`] tells, for programs.
    pub(crate) fn status_object(&self, now: Instant) -> Value {
        let (name, version, epoch) = match &self.connection {
            Connection::Up {
                identifier,
                version,
                epoch,
            } => (Some(identifier), Some(version), *epoch),
            _ => (None, None, None),
        };
        let heartbeat = self.heartbeat.as_ref();
        let heard = heartbeat.map(|heartbeat| seconds(now, heartbeat.at));
        json!({
            "notice": "status",
            "connection": self.connection_name(),
            "identifier": name,
            "version": version,
            "epoch": epoch,
            "heartbeatAge": heard,
            "queueDepth": heartbeat.and_then(|heartbeat| heartbeat.queue_depth),
            "dropped": heartbeat.and_then(|heartbeat| heartbeat.dropped),
            "last": by_topic(&self.last),
            "lost": by_topic(&self.lost),
            "pending": self.pending.len(),
            "muted": self.view.muted,
            "topic": self.view.topic.map(|topic| topic.to_string()),
            "kind": self.view.kind.as_ref().map(|kind| kind.typed()),
        })
    }

    /// What [`State::pending`] lists, for programs.
    pub(crate) fn pending_object(&self, now: Instant) -> Value {
        let object = |pending: &Pending| {
            json!({
                "command": command_name(pending.command),
                "customCommand": pending.custom_command,
                "nonce": pending.nonce.value(),
                "age": seconds(now, pending.since),
                "progress": pending.progress,
            })
        };
        let pending: Vec<_> = self.pending.iter().map(object).collect();
        json!({"notice": "pending", "pending": pending})
    }

    fn connection_words(&self) -> String {
        match &self.connection {
            Connection::Waiting => "no service yet".to_owned(),
            Connection::Linked => "connected, no heartbeat yet".to_owned(),
            Connection::Up {
                identifier,
                version,
                epoch,
            } => {
                let epoch = epoch
                    .map(|epoch| format!(", epoch {epoch}"))
                    .unwrap_or_default();
                format!("connected to {identifier} (version {version}{epoch})")
            }
            Connection::Silent => "no heartbeat for too long".to_owned(),
            Connection::Down => "connection broken, trying again".to_owned(),
            Connection::Refused => "refused by the service".to_owned(),
        }
    }

    fn view_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.view.muted {
            words.push("muted".to_owned());
        }
        words.extend(self.view.topic.map(|topic| format!("topic {topic}")));
        words.extend(
            self.view
                .kind
                .as_ref()
                .map(|kind| format!("kind {}", kind.typed())),
        );
        words
    }

    const fn connection_name(&self) -> &'static str {
        match self.connection {
            Connection::Waiting => "none",
            Connection::Linked => "linked",
            Connection::Up { .. } => "connected",
            Connection::Silent => "silent",
            Connection::Down => "broken",
            Connection::Refused => "refused",
        }
    }
}

fn by_topic(numbers: &BTreeMap<Topic, u64>) -> Value {
    let members = numbers
        .iter()
        .map(|(topic, number)| (topic.to_string(), json!(number)));
    Value::Object(members.collect())
}

fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}
