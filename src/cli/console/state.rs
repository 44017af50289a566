//! What the console knows: the connection, what is pending, what to show. Takes notices and a clock value; no terminal.

mod status;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::kinds::{KindFilter, Numbering};
use crate::cli::print::harmless;
use crate::cli::show::{Seen, command_name};
use crate::rpc::{CommandResult, Dialect, Message, Nonce, Notice, Response, Topic};

/// All that the console remembers between two lines.
#[derive(Debug, Default)]
pub(crate) struct State {
    connection: Connection,
    numbering: Numbering,
    heartbeat: Option<Heartbeat>,
    last: BTreeMap<Topic, u64>,
    lost: BTreeMap<Topic, u64>,
    pending: Vec<Pending>,
    view: View,
    worst: Option<Exit>,
}

/// What is shown of a notice.
#[derive(Debug)]
pub(crate) enum Shown {
    /// A message that the filters let through.
    Message(Box<Seen>),
    /// Progress of a pending command, or its end.
    Result(Box<Response>),
    /// The state of the connection.
    Notice(Notice),
}

#[derive(Debug, Default)]
enum Connection {
    #[default]
    Waiting,
    Linked,
    Up {
        identifier: String,
        version: String,
        epoch: Option<u64>,
    },
    Silent,
    Down,
    Refused,
}

#[derive(Debug)]
struct Heartbeat {
    at: Instant,
    queue_depth: Option<u64>,
    dropped: Option<u64>,
}

/// A command whose result has not come.
#[derive(Debug)]
struct Pending {
    nonce: Nonce,
    command: i64,
    custom_command: Option<i64>,
    since: Instant,
    /// The reply has said that a result follows; before it, the result may overtake it.
    announced: bool,
    progress: Option<Value>,
}

impl Pending {
    fn name(&self) -> String {
        let name = command_name(self.command);
        match self.custom_command {
            Some(number) => format!("{name} {number}"),
            None => name,
        }
    }
}

/// Which live messages are shown.
#[derive(Debug, Default)]
struct View {
    muted: bool,
    topic: Option<Topic>,
    kind: Option<KindFilter>,
}

impl State {
    /// Takes what the subscription says; gives what to show.
    pub(crate) fn handle(&mut self, now: Instant, notice: Notice) -> Option<Shown> {
        match notice {
            Notice::Message(message) => self.message(now, message),
            Notice::Linked => {
                self.connection = Connection::Linked;
                None
            }
            other => {
                self.connection(&other);
                Some(Shown::Notice(other))
            }
        }
    }

    /// Remembers a command that is about to be sent: its result may come before its reply.
    pub(crate) fn sending(
        &mut self,
        now: Instant,
        nonce: Nonce,
        command: i64,
        custom_command: Option<i64>,
    ) {
        self.pending.push(Pending {
            nonce,
            command,
            custom_command,
            since: now,
            announced: false,
            progress: None,
        });
    }

    /// Takes the reply to a command, or learns that there is none.
    pub(crate) fn replied(&mut self, nonce: &Nonce, reply: Result<&Response, Exit>) {
        match reply {
            Ok(reply) if reply.result() == CommandResult::PendingWithNotification => {
                // Absent if the result came first.
                if let Some(pending) = self.pending_mut(nonce) {
                    pending.announced = true;
                }
            }
            Ok(reply) => {
                self.forget(nonce);
                self.ended(Exit::of_result(reply.result()));
            }
            Err(exit) => {
                self.forget(nonce);
                self.ended(exit);
            }
        }
    }

    /// Notes how something ended, for the exit code of the console.
    pub(crate) fn ended(&mut self, exit: Exit) {
        self.worst = self.worst.max(Some(exit));
    }

    /// The worst end so far.
    pub(crate) fn worst(&self) -> Exit {
        self.worst.unwrap_or(Exit::Done)
    }

    /// Shows live messages of one topic only.
    pub(crate) fn filter_topic(&mut self, topic: Topic) {
        self.view.topic = Some(topic);
    }

    /// Shows live events of one kind only.
    pub(crate) fn filter_kind(&mut self, kind: KindFilter) {
        self.view.kind = Some(kind);
    }

    /// Removes the filters.
    pub(crate) fn filter_off(&mut self) {
        self.view = View {
            muted: self.view.muted,
            ..View::default()
        };
    }

    /// Shows no live messages, or shows them again.
    pub(crate) fn mute(&mut self, muted: bool) {
        self.view.muted = muted;
    }

    /// Whether the service was reached and the subscription is on its way.
    pub(crate) const fn is_linked(&self) -> bool {
        !matches!(self.connection, Connection::Waiting)
    }

    /// Whether the service has been heard.
    pub(crate) const fn is_heard(&self) -> bool {
        !matches!(self.connection, Connection::Waiting | Connection::Linked)
    }

    /// Whether a command waits for its result.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The numbering of event kinds at the service.
    pub(crate) const fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// The dialect whose numbers the service understands.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.numbering {
            Numbering::Old => Dialect::JsonString,
            Numbering::New | Numbering::Unknown => Dialect::Plain,
        }
    }

    /// The commands that have not ended in at most `width` characters, for the line above the prompt; `None` without any.
    pub(crate) fn pending_line(&self, now: Instant, width: usize) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let words: Vec<_> = self
            .pending
            .iter()
            .map(|pending| {
                let age = now.saturating_duration_since(pending.since).as_secs();
                format!("{}, {age} s", pending.name())
            })
            .collect();
        let line = format!("[{} pending: {}]", words.len(), words.join("; "));
        if line.chars().count() <= width {
            return Some(line);
        }
        let kept = line.chars().take(width.saturating_sub(2));
        Some(kept.chain(['…', ']']).take(width).collect())
    }

    /// A line for each command that has not ended.
    pub(crate) fn pending(&self, now: Instant) -> Vec<String> {
        let line = |pending: &Pending| {
            let line = format!(
                "{} nonce {} for {}",
                pending.name(),
                pending.nonce,
                age(now, pending.since)
            );
            match &pending.progress {
                Some(progress) => format!("{line} {}", harmless(&progress.to_string())),
                None => line,
            }
        };
        self.pending.iter().map(line).collect()
    }

    fn message(&mut self, now: Instant, message: Message) -> Option<Shown> {
        self.numbering.learn(&message);
        if let Some(sequence) = message.sequence {
            self.last.insert(message.topic, sequence);
        }
        if let Some(heartbeat) = message.heartbeat() {
            self.heartbeat = Some(Heartbeat {
                at: now,
                queue_depth: heartbeat.queue_depth,
                dropped: heartbeat.dropped,
            });
        }
        if let Some(result) = message.command_result()
            && self.result(message.topic, &result)
        {
            return Some(Shown::Result(Box::new(result)));
        }
        let seen = Seen::new(message);
        self.shows(&seen).then(|| Shown::Message(Box::new(seen)))
    }

    /// Whether the result is of a command of this console, which is shown whatever the filters say.
    fn result(&mut self, topic: Topic, result: &Response) -> bool {
        let nonce = result.nonce().clone();
        let Some(pending) = self.pending_mut(&nonce) else {
            return false;
        };
        if topic == Topic::COMMAND_PROGRESS {
            pending.progress = Some(result.data().clone());
        } else {
            self.forget(&nonce);
            self.ended(Exit::of_result(result.result()));
        }
        true
    }

    fn connection(&mut self, notice: &Notice) {
        match notice {
            Notice::Gap { topic, count, .. } => *self.lost.entry(*topic).or_default() += count,
            Notice::Connected {
                identifier,
                version,
                epoch,
            } => {
                self.numbering = Numbering::of_version(version);
                self.connection = Connection::Up {
                    identifier: harmless(identifier),
                    version: harmless(version),
                    epoch: *epoch,
                };
            }
            Notice::HeartbeatLost { .. } => self.connection = Connection::Silent,
            Notice::Disconnected => self.connection = Connection::Down,
            Notice::Refused { .. } => {
                self.connection = Connection::Refused;
                self.ended(Exit::Refused);
            }
            Notice::Restarted { epoch: new } => {
                self.last.clear();
                if let Connection::Up { epoch, .. } = &mut self.connection {
                    *epoch = Some(*new);
                }
                // What was announced before the restart will never end.
                let before = self.pending.len();
                self.pending.retain(|pending| !pending.announced);
                if self.pending.len() < before {
                    self.ended(Exit::Failed);
                }
            }
            _ => {}
        }
    }

    fn shows(&self, seen: &Seen) -> bool {
        if self.view.muted {
            return false;
        }
        let topic = match self.view.topic {
            Some(topic) => seen.topic() == topic,
            // Heartbeats are told by the status line.
            None => seen.topic() != Topic::HEARTBEAT,
        };
        let kind = match &self.view.kind {
            Some(filter) => seen
                .kind()
                .is_some_and(|kind| filter.matches(kind, self.numbering)),
            None => true,
        };
        topic && kind
    }

    fn pending_mut(&mut self, nonce: &Nonce) -> Option<&mut Pending> {
        self.pending
            .iter_mut()
            .find(|pending| pending.nonce == *nonce)
    }

    fn forget(&mut self, nonce: &Nonce) {
        self.pending.retain(|pending| pending.nonce != *nonce);
    }
}

fn age(now: Instant, then: Instant) -> String {
    let age: Duration = now.saturating_duration_since(then);
    format!("{:.1} s", age.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: Topic, body: &str) -> Notice {
        Notice::Message(Message::decode(&topic.to_bytes(), body).unwrap())
    }

    fn reply(result: i64, nonce: i64) -> Response {
        let text = format!(
            r#"{{"nonce": {nonce}, "command": 99999, "result": {result}, "data": null, "errorKind": 0, "errorCode": 0, "errorMessage": null}}"#
        );
        Response::decode(text.as_bytes(), 64).unwrap()
    }

    fn result(result: i64, nonce: i64) -> Notice {
        let text = format!(
            r#"{{"result": {result}, "data": null, "errorCode": 0, "errorMessage": null, "command": 99999, "nonce": {nonce}}}"#
        );
        message(Topic::COMMAND_RESULT, &text)
    }

    fn connected(version: &str, epoch: Option<u64>) -> Notice {
        Notice::Connected {
            identifier: "rig-7".to_owned(),
            version: version.to_owned(),
            epoch,
        }
    }

    #[test]
    fn pending_command_is_listed_until_its_result() {
        let (mut state, now) = (State::default(), Instant::now());
        state.sending(now, Nonce::from(5), 99999, None);
        state.replied(&Nonce::from(5), Ok(&reply(201, 5)));
        let later = now + Duration::from_millis(1500);
        assert_eq!(state.pending(later), ["USER_DEFINED nonce 5 for 1.5 s"]);
        assert!(matches!(
            state.handle(later, result(100, 5)),
            Some(Shown::Result(_))
        ));
        assert!(!state.has_pending());
        assert_eq!(state.worst(), Exit::Done);
    }

    #[test]
    fn line_above_the_prompt_tells_what_is_pending_within_its_width() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.pending_line(now, 80), None);
        state.sending(now, Nonce::from(5), 99999, Some(1));
        let later = now + Duration::from_millis(3900);
        let line = |state: &State, width| state.pending_line(later, width).unwrap();
        assert_eq!(line(&state, 80), "[1 pending: USER_DEFINED 1, 3 s]");
        state.sending(later, Nonce::from(6), 200, None);
        assert_eq!(
            line(&state, 80),
            "[2 pending: USER_DEFINED 1, 3 s; EMERGENCY_STOP, 0 s]"
        );
        assert_eq!(line(&state, 35), "[2 pending: USER_DEFINED 1, 3 s; …]");
        for width in 0..80 {
            assert!(line(&state, width).chars().count() <= width);
        }
        state.handle(later, result(100, 5));
        state.handle(later, result(100, 6));
        assert_eq!(state.pending_line(later, 80), None);
    }

    #[test]
    fn progress_is_shown_and_ends_nothing() {
        let (mut state, now) = (State::default(), Instant::now());
        state.sending(now, Nonce::from(5), 99999, None);
        state.replied(&Nonce::from(5), Ok(&reply(201, 5)));
        let half = r#"{"result": 201, "data": {"done": 0.5}, "errorCode": 0, "errorMessage": null, "command": 99999, "nonce": 5}"#;
        let shown = state.handle(now, message(Topic::COMMAND_PROGRESS, half));
        assert!(matches!(shown, Some(Shown::Result(_))));
        assert_eq!(
            state.pending(now),
            [r#"USER_DEFINED nonce 5 for 0.0 s {"done":0.5}"#]
        );
    }

    #[test]
    fn result_that_overtakes_its_reply_leaves_nothing_pending() {
        let (mut state, now) = (State::default(), Instant::now());
        state.sending(now, Nonce::from(5), 99999, None);
        state.handle(now, result(400, 5));
        state.replied(&Nonce::from(5), Ok(&reply(201, 5)));
        assert!(!state.has_pending());
        assert_eq!(state.worst(), Exit::Failed);
    }

    #[test]
    fn result_of_somebody_else_is_a_live_message() {
        let (mut state, now) = (State::default(), Instant::now());
        state.sending(now, Nonce::from(5), 99999, None);
        assert!(matches!(
            state.handle(now, result(100, 6)),
            Some(Shown::Message(_))
        ));
        assert!(state.has_pending());
    }

    #[test]
    fn restart_ends_what_was_announced() {
        let (mut state, now) = (State::default(), Instant::now());
        state.sending(now, Nonce::from(5), 99999, None);
        state.replied(&Nonce::from(5), Ok(&reply(201, 5)));
        state.handle(now, Notice::Restarted { epoch: 9 });
        assert!(!state.has_pending());
        assert_eq!(state.worst(), Exit::Failed);
    }

    #[test]
    fn exit_code_is_that_of_the_worst() {
        let mut state = State::default();
        for exit in [Exit::Done, Exit::TimedOut, Exit::Failed] {
            state.ended(exit);
        }
        assert_eq!(state.worst(), Exit::TimedOut);
    }

    #[test]
    fn filters_choose_what_is_shown() {
        let (mut state, now) = (State::default(), Instant::now());
        let event = || {
            message(
                Topic::EVENT,
                r#"{"kind": 1331, "when": 1.0, "index": 1, "context": null}"#,
            )
        };
        let heartbeat = || {
            message(
                Topic::HEARTBEAT,
                r#"{"identifier": "a", "version": "0.12.0", "timestamp": 1.0}"#,
            )
        };
        assert!(state.handle(now, event()).is_some());
        assert!(state.handle(now, heartbeat()).is_none());
        state.filter_topic(Topic::HEARTBEAT);
        assert!(state.handle(now, event()).is_none());
        assert!(state.handle(now, heartbeat()).is_some());
        state.filter_topic(Topic::EVENT);
        state.filter_kind(KindFilter::parse("sessionEnded").unwrap());
        assert!(state.handle(now, event()).is_none());
        state.filter_kind(KindFilter::parse("sessionStarted").unwrap());
        assert!(state.handle(now, event()).is_some());
        state.mute(true);
        state.filter_off();
        assert!(state.handle(now, event()).is_none());
        state.mute(false);
        assert!(state.handle(now, event()).is_some());
    }

    #[test]
    fn status_line_tells_what_is_known() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.status(now), "no service yet | lost 0 | pending 0");
        state.handle(now, connected("0.12.0", Some(7)));
        state.handle(
            now,
            Notice::Gap {
                topic: Topic::EVENT,
                first: 3,
                count: 4,
            },
        );
        let heartbeat = r#"{"identifier": "rig-7", "version": "0.12.0", "timestamp": 1.0, "queueDepth": 2, "dropped": 1}"#;
        state.handle(now, message(Topic::HEARTBEAT, heartbeat));
        assert_eq!(
            state.status(now + Duration::from_secs(1)),
            "connected to rig-7 (version 0.12.0, epoch 7) | heartbeat 1.0 s ago | 2 in its queue | \
             1 dropped by it | lost 4 (4 of EVENT) | pending 0"
        );
    }

    #[test]
    fn version_of_the_service_decides_numbers() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.dialect(), Dialect::Plain);
        state.handle(now, connected("0.9.7", None));
        assert_eq!(state.dialect(), Dialect::JsonString);
        assert_eq!(state.numbering(), Numbering::Old);
    }
}
