//! A client of an eventer server, ours or hat-event's.

mod backoff;
mod dial;
mod link;
mod notice;
mod options;
mod outlet;
mod pages;
mod resume;
mod wire;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::event::{
    Event, QueryParams, QueryResult, QueryServerParams, RegisterEvent, Status, Subscription,
};
use crate::eventer::EventerError;
use crate::eventer::message::{Message, QUERY_RES, REGISTER_RES};
use crate::wake::wake_pair;

pub use notice::Notice;
pub use options::ClientOptions;
pub use pages::Pages;

use dial::Address;
use link::{CLIENT, Shared, State};
use outlet::Outlet;
use worker::Worker;

/// A client of an eventer server: registers, queries, and is told of events. Many threads may share it.
///
/// A request is written by the thread that makes it; one thread, `acqbus-eventer`, reads. While the connection is broken it is
/// made again ([`ClientOptions::reconnect`]), and new requests wait for it, for at most [`ClientOptions::timeout`]. Requests that
/// had been sent then end with [`EventerError::Disconnected`]: whether the server has registered those events is not known, so
/// nothing is sent twice.
///
/// # Notices
///
/// A subscriber misses nothing across a broken connection and gets nothing twice: what was registered meanwhile is read from the
/// history of the server, behind the last event that had come of each server, and comes first ([`ClientOptions::resume`]). It is as
/// complete as the history: events that the server does not keep are not in it, and where it was cut
/// [`Notice::CutShort`] says so.
///
/// The queue of notices is bounded ([`ClientOptions::notice_capacity`]). Behind a full one up to
/// [`ClientOptions::hold_bytes`] wait, so that requests are answered meanwhile; a second thread, `acqbus-eventer-notices`, runs
/// then. Beyond that the client stops reading: requests time out, pings are not answered, and in the end the server closes the
/// connection. What was missed then comes from history. Who subscribes to nothing need not read the notices.
///
/// A server that wants its notifications acknowledged is answered when they are in the queue, or behind it.
///
/// Dropping the client closes it.
///
/// # Examples
/// ```no_run
/// use acqbus::event::{QueryTimeseriesParams, RegisterEvent, Subscription};
/// use acqbus::eventer::{ClientOptions, EventerClient, Notice};
///
/// let options = ClientOptions::new("rig-7").subscription(Subscription::new(["door/*".parse()?])?);
/// let client = EventerClient::connect(options)?;
/// let events = client.register(vec![RegisterEvent::new("door/open".parse()?)])?;
/// for notice in client.notices() {
///     if let Notice::Events(told) = notice {
///         assert_eq!(told, events);
///         break;
///     }
/// }
/// for event in client.pages(QueryTimeseriesParams::default()) {
///     println!("{}", event?.id);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventerClient {
    shared: Arc<Shared>,
    notices: Receiver<Notice>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EventerClient {
    /// Connects, and returns when the server has let the client in and it is known where its history ends.
    ///
    /// An event that is registered after this returns is told, whatever happens to the connection.
    ///
    /// # Errors
    /// [`EventerError::Option`] for an address that cannot be; [`EventerError::is_connection`], [`EventerError::is_refused`],
    /// [`EventerError::is_timeout`], [`EventerError::is_protocol`], [`EventerError::Tls`], [`EventerError::Thread`]. Nothing runs
    /// then: the first connection is not tried again.
    pub fn connect(options: ClientOptions) -> Result<Self, EventerError> {
        let (started, start) = bounded(1);
        let client = Self::launch(options, Some(started))?;
        match start.recv() {
            Ok(started) => started.map(|()| client),
            // It panicked, which the panic handler has reported.
            Err(_) => Err(EventerError::Closed { what: CLIENT }),
        }
    }

    /// Starts to connect, and returns at once; a first connection that cannot be made is tried again as any other.
    ///
    /// [`Notice::Connected`] says when the server has let the client in; what it subscribes to is told from soon after that on.
    ///
    /// # Errors
    /// [`EventerError::Option`] for an address that cannot be; [`EventerError::Thread`].
    pub fn start(options: ClientOptions) -> Result<Self, EventerError> {
        Self::launch(options, None)
    }

    /// Registers events as one session, and returns when the server has answered: the events made of them, in their order.
    ///
    /// # Errors
    /// [`EventerError::NotRegistered`] where the server did not; [`EventerError::Disconnected`] and
    /// [`EventerError::TimedOut`], after which it may have or not; [`EventerError::TooLarge`]; [`EventerError::Closed`].
    pub fn register(&self, events: Vec<RegisterEvent>) -> Result<Vec<Arc<Event>>, EventerError> {
        let request = Message::RegisterReq(events);
        match self.shared.ask(&request, REGISTER_RES)? {
            Message::RegisterRes(Some(events)) => Ok(events),
            _ => Err(EventerError::NotRegistered {
                address: self.shared.options.address.clone(),
            }),
        }
    }

    /// Sends events to be registered as one session, and does not wait for it: no answer says whether they were.
    ///
    /// Waits only for room in what the connection has not taken yet. [`close`](Self::close) sends what is left.
    ///
    /// # Errors
    /// As [`register`](Self::register), but for what an answer would tell.
    pub fn register_unanswered(&self, events: Vec<RegisterEvent>) -> Result<(), EventerError> {
        self.shared.tell(&Message::RegisterReq(events))
    }

    /// Asks the history, and waits for the answer; its length has the server's limits.
    ///
    /// # Errors
    /// [`EventerError::Option`] and [`EventerError::Event`] for what every server refuses by closing the connection;
    /// [`EventerError::Disconnected`] also where this one refuses the question in that way; [`EventerError::TimedOut`];
    /// [`EventerError::Closed`].
    pub fn query(&self, params: &QueryParams) -> Result<QueryResult, EventerError> {
        query(&self.shared, params)
    }

    /// All events of an answer, however many: the next page is asked for when the last one was taken.
    ///
    /// Each page is an answer of its own moment; what is registered meanwhile comes too where it belongs to a later page.
    pub fn pages(&self, params: impl Into<QueryParams>) -> Pages {
        Pages::new(Arc::clone(&self.shared), params.into())
    }

    /// What the server was doing when it last said so.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.lock().status
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(&self.shared.lock().state, State::Up(up) if up.open)
    }

    /// Why there is no connection now, where there is none. Never blocks.
    ///
    /// Requests wait for a connection; who has better things to do asks this first.
    ///
    /// # Errors
    /// [`EventerError::Disconnected`], with what ended the last connection or what is in the way of the next one;
    /// [`EventerError::Closed`].
    pub fn check_connection(&self) -> Result<(), EventerError> {
        self.shared.check()
    }

    /// What the client is told. The queue ends when the client does.
    #[must_use]
    pub fn notices(&self) -> &Receiver<Notice> {
        &self.notices
    }

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// Ends the client, and returns when it has; a second call does nothing.
    ///
    /// What was to be sent is sent first, for half a second at most. Requests that wait end with [`EventerError::Closed`].
    pub fn close(&self) {
        self.shared.close();
        // Held while it waits, so that a second caller waits too.
        if let Some(thread) = self.thread.lock().take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }
}

impl EventerClient {
    /// Starts the thread; `started` hears of the first connection, which is not tried again then.
    fn launch(
        options: ClientOptions,
        started: Option<Sender<Result<(), EventerError>>>,
    ) -> Result<Self, EventerError> {
        let address = Address::parse(&options.address)?;
        let failed = |source| EventerError::Thread {
            name: THREAD,
            source,
        };
        let (waker, woken) = wake_pair().map_err(failed)?;
        let (outlet, notices) =
            Outlet::new(options.notice_capacity, options.hold_bytes, waker.clone());
        let shared = Arc::new(Shared::new(options, waker));
        let worker = Worker::new(Arc::clone(&shared), address, woken, outlet, started);
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || worker.run())
            .map_err(failed)?;
        Ok(Self {
            shared,
            notices,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for EventerClient {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EventerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventerClient")
            .field("address", &self.shared.options.address)
            .field("name", &self.shared.options.name)
            .field("connected", &self.is_connected())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn query(shared: &Shared, params: &QueryParams) -> Result<QueryResult, EventerError> {
    check(params)?;
    let request = Message::QueryReq(params.clone());
    match shared.ask(&request, QUERY_RES)? {
        Message::QueryRes(result) => Ok(result),
        // `ask` gives no other type.
        _ => Ok(QueryResult::default()),
    }
}

/// Refuses what makes a server close the connection, on which others may wait for their answers.
fn check(params: &QueryParams) -> Result<(), EventerError> {
    let (event_types, max_results) = match params {
        QueryParams::Latest(params) => (&params.event_types, None),
        QueryParams::Timeseries(params) => (&params.event_types, params.max_results),
        QueryParams::Server(params) => {
            check_server(params)?;
            (&None, params.max_results)
        }
    };
    if let Some(max_results) = max_results
        && max_results < 0
    {
        return Err(EventerError::Option {
            option: "max_results",
            reason: format!("{max_results} is negative"),
        });
    }
    if let Some(event_types) = event_types {
        Subscription::new(event_types.iter().cloned())?;
    }
    Ok(())
}

fn check_server(params: &QueryServerParams) -> Result<(), EventerError> {
    match params.last_event_id {
        Some(id) if id.server != params.server_id => Err(EventerError::Option {
            option: "last_event_id",
            reason: format!("{id} is not of server {}", params.server_id),
        }),
        _ => Ok(()),
    }
}

const THREAD: &str = "acqbus-eventer";
