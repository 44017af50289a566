//! The handle through which any thread publishes.

use std::cell::RefCell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::rpc::json::{self, Shape};
use crate::rpc::service::outbox::Outbox;
use crate::rpc::{
    CommandRequest, CommandResponse, Dialect, Event, RpcError, Topic, encode_command_result,
};

/// A cheap handle that publishes for one service, from any thread.
///
/// Every call serialises on the calling thread, so that an error comes back to the caller and later changes to his value change
/// nothing, and then queues the bytes: it waits neither for the network nor for a subscriber. What happens when the queue is full
/// is the service's [`Overflow`](crate::rpc::Overflow).
///
/// ```
/// use acqbus::rpc::{Event, EventKind, RpcOptions, RpcService};
///
/// let service = RpcService::launch(RpcOptions::default().any_port())?;
/// let publisher = service.publisher();
/// std::thread::spawn(move || publisher.send_event(&Event::now(EventKind::TunnelEnter)))
///     .join()
///     .expect("the thread does not panic")?;
///
/// service.stop();
/// let refused = service.publisher().send_event(&Event::now(EventKind::TunnelExit));
/// assert!(refused.is_err_and(|error| error.is_closed()));
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    outbox: Arc<Outbox>,
    dialect: Dialect,
    extras: bool,
}

impl Publisher {
    pub(crate) fn new(outbox: Arc<Outbox>, dialect: Dialect, extras: bool) -> Self {
        Self {
            outbox,
            dialect,
            extras,
        }
    }

    /// Publishes an event on EVENT, and an emergency on EMERGENCY before that.
    ///
    /// Emergencies are the kinds 101 and 102; both copies go ahead of all that waits. Never blocks on the network.
    ///
    /// # Errors
    /// [`RpcError::Serialize`] when the context cannot be written as JSON, [`RpcError::QueueFull`], or [`RpcError::Stopped`].
    pub fn send_event<C: Serialize>(&self, event: &Event<C>) -> Result<(), RpcError> {
        with_scratch(|body| {
            let shape = json::to_camel_json(event, body)?;
            self.queue_event(body, shape, event.kind.is_emergency())
        })
    }

    /// Publishes any serialisable map as an event.
    ///
    /// The rules are those of [`send_event`](Self::send_event); the member `kind` tells an emergency, by its value
    /// (`101.0` is one).
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event).
    pub fn send_event_dict<T: Serialize + ?Sized>(&self, event: &T) -> Result<(), RpcError> {
        with_scratch(|body| {
            let shape = json::to_camel_json(event, body)?;
            let emergency = shape.object && has_emergency_kind(body);
            self.queue_event(body, shape, emergency)
        })
    }

    /// Publishes any serialisable value on a topic, with its keys in camelCase.
    ///
    /// Keys of one object that become equal (`mouse_2` and `mouse-2`) are one member: the later value wins, at the first's place.
    /// On EVENT it does what [`send_event_dict`](Self::send_event_dict) does. A value that is an object gets the extra members
    /// `epoch` and `sequence`, unless it has one of its own by these names.
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event).
    pub fn send_dict<T: Serialize + ?Sized>(
        &self,
        topic: Topic,
        value: &T,
    ) -> Result<(), RpcError> {
        if topic == Topic::EVENT {
            return self.send_event_dict(value);
        }
        with_scratch(|body| {
            let shape = json::to_camel_json(value, body)?;
            self.queue(topic, body, shape)
        })
    }

    /// Publishes a text as it is, in UTF-8; it takes no extra members, and the topic's sequence counts it.
    ///
    /// # Errors
    /// [`RpcError::QueueFull`] or [`RpcError::Stopped`].
    pub fn send_string(&self, topic: Topic, text: &str) -> Result<(), RpcError> {
        self.send(topic, text.as_bytes())
    }

    /// Publishes bytes as they are; they take no extra members, and the topic's sequence counts them.
    ///
    /// # Errors
    /// [`RpcError::QueueFull`] or [`RpcError::Stopped`].
    pub fn send(&self, topic: Topic, body: impl AsRef<[u8]>) -> Result<(), RpcError> {
        self.push(&[topic], body.as_ref(), false, false)
    }

    /// Publishes the outcome of a command on COMMAND_RESULT, under the nonce of its request.
    ///
    /// [`PendingCommand`](crate::rpc::PendingCommand) does this by itself; this call is for an application that keeps its own
    /// books.
    ///
    /// # Errors
    /// [`RpcError::QueueFull`] or [`RpcError::Stopped`].
    pub fn send_command_result(
        &self,
        request: &CommandRequest,
        response: &CommandResponse,
    ) -> Result<(), RpcError> {
        with_scratch(|body| {
            let shape = encode_command_result(
                request.command(),
                request.nonce(),
                response,
                self.dialect,
                body,
            );
            self.queue(Topic::COMMAND_RESULT, body, shape)
        })
    }

    pub(crate) fn queue(&self, topic: Topic, body: &[u8], shape: Shape) -> Result<(), RpcError> {
        let marked = self.takes_extras(shape);
        self.push(&[topic], &self.dialect.publish_form(body), marked, false)
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The same past the bound of the queue, for results that the service owes by itself.
    pub(crate) fn queue_owed(
        &self,
        topic: Topic,
        body: &[u8],
        shape: Shape,
    ) -> Result<(), RpcError> {
        let marked = self.takes_extras(shape);
        self.outbox
            .push_owed(topic, &self.dialect.publish_form(body), marked)
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn queue_event(&self, body: &[u8], shape: Shape, emergency: bool) -> Result<(), RpcError> {
        let marked = self.takes_extras(shape);
        let topics: &[Topic] = if emergency {
            &[Topic::EMERGENCY, Topic::EVENT]
        } else {
            &[Topic::EVENT]
        };
        self.push(topics, &self.dialect.publish_form(body), marked, emergency)
    }

    fn takes_extras(&self, shape: Shape) -> bool {
        self.extras && shape.object && !shape.reserved
    }

    fn push(
        &self,
        topics: &[Topic],
        body: &[u8],
        marked: bool,
        urgent: bool,
    ) -> Result<(), RpcError> {
        match topics {
            [topic] if !urgent => self.outbox.push(*topic, body, marked),
            _ => self.outbox.push_urgent(topics, body, marked),
        }
    }
}

/// Whether an event given as a map is an emergency: the comparison is by value, as the peers do it (`101.0` counts).
fn has_emergency_kind(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kinded {
        #[serde(default)]
        kind: Option<KindMember>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum KindMember {
        Number(Number),
        #[allow(dead_code)]
        Other(serde::de::IgnoredAny),
    }
    match serde_json::from_slice(body) {
        Ok(Kinded {
            kind: Some(KindMember::Number(number)),
        }) => number
            .as_f64()
            .is_some_and(|kind| kind == 101.0 || kind == 102.0),
        _ => false,
    }
}

/// Runs `write` on this thread's buffer, emptied; a buffer that grew large is given back.
fn with_scratch<R>(write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut body) => {
            body.clear();
            let result = write(&mut body);
            body.shrink_to(KEPT_SCRATCH);
            result
        }
        // A value whose serialiser publishes by itself.
        Err(_) => write(&mut Vec::new()),
    })
}

const KEPT_SCRATCH: usize = 64 << 10;
