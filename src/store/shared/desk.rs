//! What an owner answers to each request, without a socket.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::Event;
use crate::store::{Backend, StoreError};

use super::hub::Hub;
use super::message::{Answer, BYTES_A_LINE, EVENTS_A_LINE, FaultKind, Request};
use super::presence::Presence;
use super::queue;

/// A store and who follows it.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) hub: Arc<Hub>,
    pub(super) presence: Arc<Presence>,
    /// Set when guests are sent away: what takes long ends then.
    pub(super) is_closing: AtomicBool,
    pub(super) inspector: Option<Arc<dyn Inspect>>,
}

/// What only some stores can tell of themselves, as JSON.
pub(super) trait Inspect: Send + Sync + std::fmt::Debug {
    fn stats(&self) -> Result<serde_json::Value, StoreError>;
    /// Ends as if the store were closed when it may not go on.
    fn check(
        &self,
        goes_on: &dyn Fn() -> bool,
        damage: &mut dyn FnMut(serde_json::Value),
    ) -> Result<serde_json::Value, StoreError>;
}

impl Desk {
    /// Answers everything but following; `say` breaks when the guest has gone.
    pub(super) fn answer(
        &self,
        request: Request,
        say: &mut dyn FnMut(&Answer) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.try_answer(request, say) {
            Ok(Some(answer)) => say(&answer),
            Ok(None) => ControlFlow::Break(()),
            Err(error) => say(&Answer::of_error(&error)),
        }
    }

    fn try_answer(
        &self,
        request: Request,
        say: &mut dyn FnMut(&Answer) -> ControlFlow<()>,
    ) -> Result<Option<Answer>, StoreError> {
        let store = &self.backend;
        Ok(Some(match request {
            Request::LastEventId(server) => Answer::EventId(store.last_event_id(server)?),
            Request::LastTimestamp(server) => Answer::Timestamp(store.last_timestamp(server)?),
            Request::Register(events) => {
                self.presence.look_sometimes()?;
                store.register(events.into())?;
                DONE
            }
            Request::Query(params) => {
                let mut page = Page::new(say);
                let more_follows = store.visit(&params, &mut |event| page.add(event))?;
                if page.finish().is_break() {
                    return Ok(None);
                }
                Answer::Done { more_follows }
            }
            Request::Flush {} => {
                self.presence.look()?;
                store.flush()?;
                DONE
            }
            Request::ReserveSessions { server, last } => {
                store.reserve_sessions(server, last)?;
                DONE
            }
            Request::SessionFloor(server) => Answer::Session(store.session_floor(server)?),
            Request::Stats {} => match &self.inspector {
                Some(inspector) => Answer::Stats(inspector.stats()?),
                None => Answer::fault(FaultKind::Other, NOTHING_TO_TELL),
            },
            Request::Check {} => {
                let Some(inspector) = &self.inspector else {
                    return Ok(Some(Answer::fault(FaultKind::Other, NOTHING_TO_TELL)));
                };
                let mut gone = false;
                let goes_on = || !self.is_closing.load(Ordering::Relaxed);
                let summary = inspector.check(&goes_on, &mut |damage| {
                    gone = gone || say(&Answer::Damage(damage)).is_break();
                })?;
                if gone {
                    return Ok(None);
                }
                Answer::Checked(summary)
            }
            Request::Follow { .. } => Answer::fault(FaultKind::Request, "one follows already"),
        }))
    }
}

/// Events gathered to lines.
struct Page<'a> {
    say: &'a mut dyn FnMut(&Answer) -> ControlFlow<()>,
    events: Vec<Arc<Event>>,
    bytes: usize,
    gone: bool,
}

impl<'a> Page<'a> {
    fn new(say: &'a mut dyn FnMut(&Answer) -> ControlFlow<()>) -> Self {
        Self {
            say,
            events: Vec::new(),
            bytes: 0,
            gone: false,
        }
    }

    fn add(&mut self, event: &Arc<Event>) -> ControlFlow<()> {
        self.bytes += queue::size(event);
        self.events.push(Arc::clone(event));
        if self.events.len() >= EVENTS_A_LINE || self.bytes >= BYTES_A_LINE {
            self.send()
        } else {
            ControlFlow::Continue(())
        }
    }

    fn finish(mut self) -> ControlFlow<()> {
        if self.gone || self.events.is_empty() {
            return if self.gone {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        self.send()
    }

    fn send(&mut self) -> ControlFlow<()> {
        self.bytes = 0;
        let told = (self.say)(&Answer::Events(std::mem::take(&mut self.events)));
        self.gone = told.is_break();
        told
    }
}

const DONE: Answer = Answer::Done {
    more_follows: false,
};

const NOTHING_TO_TELL: &str = "this store has nothing to tell of itself";
