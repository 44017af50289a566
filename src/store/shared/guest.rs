//! The guest's side of `store.sock`: asks the owner, over connections that are kept for the next question.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::event::{Event, EventId, Events, QueryParams, Subscription, Timestamp};
use crate::store::StoreError;

use super::lines::{Lines, WriteError};
use super::message::{Answer, FaultKind, Request, decode};
use super::place;

/// A store that another process owns.
#[derive(Debug)]
pub(super) struct Guest {
    dir: PathBuf,
    idle: Mutex<Vec<Lines>>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum GuestError {
    /// The owner has gone, or is about to: the store can be opened by somebody else. Nothing of an answer was seen.
    Gone(io::Error),
    /// Anything else.
    Failed(StoreError),
}

impl From<StoreError> for GuestError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Guest {
    /// Connects; whoever listens is the owner.
    pub(super) fn connect(dir: &Path) -> io::Result<Self> {
        let first = Lines::new(place::connect(dir)?);
        Ok(Self {
            dir: dir.to_owned(),
            idle: Mutex::new(vec![first]),
        })
    }

    pub(super) fn last_event_id(&self, server: i64) -> Result<EventId, GuestError> {
        match self.ask(&Request::LastEventId(server))? {
            Answer::EventId(id) => Ok(id),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(super) fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, GuestError> {
        match self.ask(&Request::LastTimestamp(server))? {
            Answer::Timestamp(timestamp) => Ok(timestamp),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Registers again what may have been registered already: the store leaves out ids that it has.
    pub(super) fn register(&self, events: &Events) -> Result<(), GuestError> {
        self.done(&Request::Register(events.to_vec()))
    }

    pub(super) fn flush(&self) -> Result<(), GuestError> {
        self.done(&Request::Flush {})
    }

    pub(super) fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), GuestError> {
        self.done(&Request::ReserveSessions { server, last })
    }

    pub(super) fn session_floor(&self, server: i64) -> Result<i64, GuestError> {
        match self.ask(&Request::SessionFloor(server))? {
            Answer::Session(session) => Ok(session),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(super) fn stats(&self) -> Result<Value, GuestError> {
        match self.ask(&Request::Stats {})? {
            Answer::Stats(stats) => Ok(stats),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(super) fn check(&self, damage: &mut dyn FnMut(Value)) -> Result<Value, GuestError> {
        let last = self.exchange(&Request::Check {}, &mut |answer| match answer {
            Answer::Damage(found) => {
                damage(found);
                Heard::More
            }
            other => Heard::Last(other),
        })?;
        match last {
            Some(Answer::Checked(summary)) => Ok(summary),
            Some(other) => Err(self.unexpected(&other)),
            None => Err(self.silent()),
        }
    }

    pub(super) fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, GuestError> {
        let request = Request::Query(params.clone());
        let last = self.exchange(&request, &mut |answer| match answer {
            Answer::Events(events) => {
                for event in events {
                    if visit(&event).is_break() {
                        return Heard::Enough;
                    }
                }
                Heard::More
            }
            other => Heard::Last(other),
        })?;
        match last {
            Some(Answer::Done { more_follows }) => Ok(more_follows),
            Some(other) => Err(self.unexpected(&other)),
            // The visitor has had enough.
            None => Ok(true),
        }
    }

    /// Follows on a connection of its own, from the moment when this returns.
    pub(super) fn follow(
        &self,
        event_types: Subscription,
        persisted: bool,
    ) -> Result<Following, GuestError> {
        let mut lines = Lines::new(place::connect(&self.dir).map_err(GuestError::Gone)?);
        let request = Request::Follow {
            event_types,
            persisted,
        };
        self.say(&mut lines, &request)?;
        match self.hear(&mut lines)? {
            Answer::Following {} => Ok(Following {
                lines,
                dir: self.dir.clone(),
            }),
            other => Err(self.unexpected(&other)),
        }
    }

    fn done(&self, request: &Request) -> Result<(), GuestError> {
        match self.ask(request)? {
            Answer::Done { .. } => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// A question with one answer.
    fn ask(&self, request: &Request) -> Result<Answer, GuestError> {
        self.exchange(request, &mut Heard::Last)?
            .ok_or_else(|| self.silent())
    }

    /// Asks on a connection that no other question uses, and gives it back after the last answer.
    fn exchange(
        &self,
        request: &Request,
        hear: &mut dyn FnMut(Answer) -> Heard,
    ) -> Result<Option<Answer>, GuestError> {
        let kept = self.idle.lock().pop();
        let mut lines = match kept {
            Some(lines) => lines,
            None => Lines::new(place::connect(&self.dir).map_err(GuestError::Gone)?),
        };
        // A follower's has none: there silence is no wonder.
        lines
            .stream()
            .set_read_timeout(Some(SILENCE))
            .map_err(GuestError::Gone)?;
        self.say(&mut lines, request)?;
        let mut heard_any = false;
        loop {
            let answer = match self.hear(&mut lines) {
                // What was visited cannot be taken back: asking another owner would give it twice.
                Err(GuestError::Gone(source)) if heard_any => {
                    return Err(GuestError::Failed(StoreError::Io {
                        action: "reading from the owner of",
                        path: self.dir.clone(),
                        source,
                    }));
                }
                other => other?,
            };
            heard_any = true;
            match hear(answer) {
                Heard::More => {}
                Heard::Enough => return Ok(None),
                Heard::Last(answer) => {
                    let mut idle = self.idle.lock();
                    if idle.len() < KEPT {
                        idle.push(lines);
                    }
                    return Ok(Some(answer));
                }
            }
        }
    }

    fn say(&self, lines: &mut Lines, request: &Request) -> Result<(), GuestError> {
        lines.write(request).map_err(|error| match error {
            // An owner that lets nobody in says why before it closes.
            WriteError::Io(source) => match self.hear(lines) {
                Err(GuestError::Failed(error)) => GuestError::Failed(error),
                _ => GuestError::Gone(source),
            },
            WriteError::Line(error) => self.unsendable(&error),
        })
    }

    /// The next answer; an error of the owner is an error here.
    fn hear(&self, lines: &mut Lines) -> Result<Answer, GuestError> {
        next_answer(lines, &self.dir)
    }

    fn unexpected(&self, answer: &Answer) -> GuestError {
        let text = match answer {
            Answer::Error { text, .. } => text.clone(),
            _ => "an answer to another question".to_owned(),
        };
        owner_error(&self.dir, FaultKind::Other, text).into()
    }

    fn silent(&self) -> GuestError {
        owner_error(&self.dir, FaultKind::Other, "no answer".to_owned()).into()
    }

    fn unsendable(&self, error: &dyn std::error::Error) -> GuestError {
        let cause = error.source().map(|cause| format!(": {cause}"));
        let text = format!("{error}{}", cause.unwrap_or_default());
        owner_error(&self.dir, FaultKind::Request, text).into()
    }
}

/// What becomes of a connection after an answer.
enum Heard {
    More,
    Enough,
    Last(Answer),
}

/// A connection on which the owner tells everything.
#[derive(Debug)]
pub(super) struct Following {
    lines: Lines,
    dir: PathBuf,
}

impl Following {
    /// Ends it from another thread, when it is shut down.
    pub(super) fn stream(&self) -> io::Result<UnixStream> {
        self.lines.stream().try_clone()
    }

    /// What is told next; `None` when the owner has ended it.
    pub(super) fn next(&mut self) -> Option<Answer> {
        next_answer(&mut self.lines, &self.dir).ok()
    }
}

fn next_answer(lines: &mut Lines, dir: &Path) -> Result<Answer, GuestError> {
    let line = match lines.read() {
        Ok(Some(line)) => line,
        Ok(None) => {
            let end = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(GuestError::Gone(end));
        }
        Err(error) => return Err(GuestError::Gone(error)),
    };
    match decode::<Answer>(line) {
        Ok(Answer::Error {
            kind: FaultKind::Closed,
            text,
        }) => Err(GuestError::Gone(io::Error::other(text))),
        Ok(Answer::Error { kind, text }) => Err(owner_error(dir, kind, text).into()),
        Ok(answer) => Ok(answer),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let text = format!("{error}{}", cause.unwrap_or_default());
            Err(owner_error(dir, FaultKind::Other, text).into())
        }
    }
}

fn owner_error(dir: &Path, kind: FaultKind, text: String) -> StoreError {
    StoreError::Owner {
        path: dir.to_owned(),
        kind,
        text,
    }
}

/// After this long without an answer the log says that the owner is waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// Connections that wait for the next question.
const KEPT: usize = 8;
