use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use serde::Serialize;

use crate::rpc::history::{decode_page, request_data};
use crate::rpc::{
    ApiCommand, CommandRequest, CommandResult, HISTORY_BUSY, HISTORY_COMMAND, HistoryPage,
    HistoryRequest, HistoryStart, Nonce, Response, RpcError, Topic,
};
use crate::time;
use crate::zsocket::{Context, Endpoint, SocketOptions, SocketSecurity};

use super::moment::after;
use super::requester::{Attempts, Requesters};
use super::results::{Arrival, Results};
use super::subscription::{Plan, Subscription};
use super::tracker::Patience;
use super::{ClientOptions, Retry};

/// A client of one service: asks commands, waits for later results, follows events.
///
/// Cheap to clone and shared by any number of threads; each asks over a socket of its own, so that one that waits holds no other
/// up. It connects by itself, again and again: the service may start later, and restart.
///
/// ```
/// use acqbus::rpc::{ApiCommand, ClientOptions, CommandRequest, CommandResponse, RemoteClient, RpcOptions, RpcService};
///
/// let service = RpcService::launch(RpcOptions::default().any_port())?;
/// service.set_delegate(|_: &CommandRequest| CommandResponse::success().with_data(&"ready"));
///
/// let options = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
/// let client = RemoteClient::connect(options)?;
/// let response = client.request(ApiCommand::GetStatus, &())?;
/// assert!(response.is_success());
/// assert_eq!(response.data(), "ready");
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RemoteClient {
    shared: Arc<Shared>,
}

/// What came of a command that may end later.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The reply.
    pub reply: Response,
    /// The COMMAND_RESULT, if the reply announced one.
    pub result: Option<Response>,
}

impl Outcome {
    /// The last word: the result, or the reply where there is no result.
    #[must_use]
    pub fn last(&self) -> &Response {
        self.result.as_ref().unwrap_or(&self.reply)
    }
}

#[derive(Debug)]
struct Shared {
    // In the order in which they must go: sockets before their context.
    requesters: Requesters,
    results: Mutex<Option<Arc<Results>>>,
    subscriber: Endpoint,
    socket_options: SocketOptions,
    options: ClientOptions,
    client_id: String,
    next_nonce: AtomicI64,
    context: Context,
}

impl RemoteClient {
    /// A client; does not wait for the service, and succeeds when there is none yet.
    ///
    /// # Errors
    /// [`RpcError::Socket`] when the host is no address or name.
    pub fn connect(options: ClientOptions) -> Result<Self, RpcError> {
        let context = Context::new()?;
        let security = match &options.keys {
            Some(keys) => SocketSecurity::CurveClient {
                keys: keys.keys.clone(),
                server: keys.server,
            },
            None => SocketSecurity::Null,
        };
        let socket_options = SocketOptions::default()
            .linger(Some(Duration::ZERO))
            .recv_hwm(options.recv_hwm)
            .max_message_bytes(Some(options.max_message_bytes))
            .tcp_keepalive(true)
            .ipv6(true)
            .security(security);
        let command = Endpoint::tcp(&options.host, options.command_port)?;
        let subscriber = Endpoint::tcp(&options.host, options.subscriber_port)?;
        let requesters = Requesters::new(context.clone(), command, socket_options.clone());
        let identity = Identity::random();
        Ok(Self {
            shared: Arc::new(Shared {
                requesters,
                results: Mutex::new(None),
                subscriber,
                socket_options,
                options,
                client_id: identity.client_id,
                next_nonce: AtomicI64::new(identity.first_nonce),
                context,
            }),
        })
    }

    /// Sends a command with data (`&()` for none) and waits for its reply.
    ///
    /// Blocks the calling thread for at most [`ClientOptions::timeout`] times the number of attempts, and where it must find out
    /// before a repeat what kind of service this is, for as long again each time. A reply that says FAILED is an `Ok`: ask
    /// [`Response::is_success`].
    ///
    /// # Errors
    /// [`RpcError::NoService`], [`RpcError::TimedOut`], [`RpcError::Refused`], [`RpcError::Decode`] for a reply that cannot be
    /// read, [`RpcError::Serialize`] for data that cannot be sent.
    pub fn request<T: Serialize + ?Sized>(
        &self,
        command: ApiCommand,
        data: &T,
    ) -> Result<Response, RpcError> {
        self.send(&CommandRequest::new(command).with_data(data)?)
    }

    /// Sends a request with all that it can carry; a nonce of -1, the default, is replaced by a fresh one.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn send(&self, request: &CommandRequest) -> Result<Response, RpcError> {
        self.ask(&self.with_nonce(request), Instant::now(), None)
    }

    /// Sends a command and waits for its COMMAND_RESULT if the reply announces one.
    ///
    /// Blocks the calling thread for at most `timeout` in all, attempts and their repeats included. The subscription to results stands before the request leaves, so a
    /// result that comes at once is not missed.
    ///
    /// # Errors
    /// As [`request`](Self::request); [`RpcError::NoResult`] when the reply came and the result did not, and
    /// [`RpcError::ResultLost`] when the service was started anew meanwhile.
    pub fn request_and_wait<T: Serialize + ?Sized>(
        &self,
        command: ApiCommand,
        data: &T,
        timeout: Duration,
    ) -> Result<Outcome, RpcError> {
        self.send_and_wait(
            &CommandRequest::new(command).with_data(data)?,
            timeout,
            |_| {},
        )
    }

    /// The same with all that a request can carry, and a call for each report on the way: the reply that announces a
    /// result, at once, and then each report of progress.
    ///
    /// The subscription to results stands before the request leaves; it is kept for later calls.
    ///
    /// # Errors
    /// As [`request_and_wait`](Self::request_and_wait); [`RpcError::NonceInUse`] when the request has a nonce of its own and
    /// another thread of this client waits for the result of the same.
    pub fn send_and_wait(
        &self,
        request: &CommandRequest,
        timeout: Duration,
        mut report: impl FnMut(&Response),
    ) -> Result<Outcome, RpcError> {
        let started = Instant::now();
        let deadline = after(timeout);
        let request = self.with_nonce(request);
        let results = self.results()?;
        // A service whose events cannot be reached may still answer: that takes some of the time.
        let patience = self.shared.options.timeout.min(timeout / 2);
        results.ready(after(patience));
        let expected = results.expect(request.nonce())?;
        let reply = self.ask(&request, started, Some(deadline))?;
        if reply.result() != CommandResult::PendingWithNotification {
            return Ok(Outcome {
                reply,
                result: None,
            });
        }
        report(&reply);
        loop {
            match expected.arrivals.recv_deadline(deadline) {
                Ok(Arrival::Progress(response)) => report(&response),
                Ok(Arrival::Result(result)) => {
                    return Ok(Outcome {
                        reply,
                        result: Some(result),
                    });
                }
                Ok(Arrival::Lost) => {
                    return Err(RpcError::ResultLost {
                        nonce: request.nonce().to_string(),
                    });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(RpcError::NoResult {
                        nonce: request.nonce().to_string(),
                        waited: started.elapsed(),
                    });
                }
            }
        }
    }

    /// Follows topics (none for all), over a socket and a thread of its own.
    ///
    /// Returns before the service is connected; [`Notice::Connected`](crate::rpc::Notice::Connected) says when it is.
    /// Heartbeats are followed in any case, and handed on only if asked for.
    ///
    /// # Errors
    /// [`RpcError::Socket`] or [`RpcError::Thread`] when the system gives none.
    pub fn subscribe(&self, topics: &[Topic]) -> Result<Subscription, RpcError> {
        Subscription::open(
            self.plan(topics.to_vec()),
            self.shared.options.notice_capacity,
        )
    }

    /// Follows topics (none for all) from a place in the past: history first, then what is published, as one stream.
    ///
    /// Within a start of the service every message comes exactly once and in the order of its topic, whichever way it came.
    /// [`Notice::Resumed`](crate::rpc::Notice::Resumed), [`Ahead`](crate::rpc::Notice::Ahead),
    /// [`CutShort`](crate::rpc::Notice::CutShort),
    /// [`OtherEpoch`](crate::rpc::Notice::OtherEpoch) or [`NoHistory`](crate::rpc::Notice::NoHistory) says where it begins; messages
    /// that neither way has are a [`Gap`](crate::rpc::Notice::Gap). What a broken connection or a slow reader misses later is read
    /// from history, too ([`ClientOptions::fill_gaps`]).
    ///
    /// Returns before the service is connected. It has a second thread, `acqbus-history`; dropping the subscription waits for the
    /// request that this thread is at, for at most [`ClientOptions::timeout`] and its repeats.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_from(
        &self,
        topics: &[Topic],
        start: HistoryStart,
    ) -> Result<Subscription, RpcError> {
        Subscription::open_from(
            self.plan(topics.to_vec()),
            self.shared.options.notice_capacity,
            self.clone(),
            start,
        )
    }

    /// Asks for one page of what was published before; [`subscribe_from`](Self::subscribe_from) asks for all.
    ///
    /// Blocks as [`request`](Self::request).
    ///
    /// # Errors
    /// [`RpcError::NoHistory`] when the service keeps none or does not give it to this client, [`RpcError::TimedOut`] also when too
    /// many others ask, and as [`request`](Self::request).
    pub fn history(&self, request: &HistoryRequest) -> Result<HistoryPage, RpcError> {
        let started = Instant::now();
        let command = CommandRequest::new(ApiCommand::UserDefined)
            .with_custom_command(HISTORY_COMMAND)
            .with_data(&request_data(request))?;
        let shared = &*self.shared;
        let attempts = Attempts {
            requesters: &shared.requesters,
            options: &shared.options,
            client_id: None,
            started,
            deadline: None,
        };
        // It reads only, whoever answers.
        let reply = attempts.run(&self.with_nonce(&command), || true)?;
        let page = match reply.result() {
            CommandResult::Success => decode_page(reply.data()),
            CommandResult::Failed if reply.error_code() == HISTORY_BUSY => {
                return Err(RpcError::TimedOut {
                    endpoint: shared.requesters.endpoint().to_string(),
                    waited: started.elapsed(),
                    attempts: 1,
                });
            }
            _ => None,
        };
        page.ok_or_else(|| RpcError::NoHistory {
            reason: reply
                .error_message()
                .unwrap_or("the service does not know the request")
                .to_owned(),
        })
    }

    /// The identity under which requests are run once.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    fn ask(
        &self,
        request: &CommandRequest,
        started: Instant,
        deadline: Option<Instant>,
    ) -> Result<Response, RpcError> {
        let shared = &*self.shared;
        let attempts = Attempts {
            requesters: &shared.requesters,
            options: &shared.options,
            client_id: shared
                .options
                .identified
                .then_some(shared.client_id.as_str()),
            started,
            deadline,
        };
        attempts.run(request, || self.may_repeat(request, deadline))
    }

    /// Whether a request that may have arrived can be sent again.
    fn may_repeat(&self, request: &CommandRequest, deadline: Option<Instant>) -> bool {
        let options = &self.shared.options;
        if options.retry == Retry::Always || request.command().is_query() {
            return true;
        }
        // A service of this crate answers a new subscription with a heartbeat that shows what it is.
        options.identified
            && self.results().is_ok_and(|results| {
                let patience = after(options.timeout);
                results.ready(deadline.map_or(patience, |deadline| patience.min(deadline)));
                results.promises_one_effect()
            })
    }

    fn results(&self) -> Result<Arc<Results>, RpcError> {
        let mut results = self.shared.results.lock();
        if let Some(open) = results.as_ref().filter(|open| !open.has_ended()) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(Results::open(self.plan(Results::topics()))?);
        *results = Some(Arc::clone(&open));
        Ok(open)
    }

    fn plan(&self, topics: Vec<Topic>) -> Plan {
        let shared = &*self.shared;
        Plan {
            context: shared.context.clone(),
            endpoint: shared.subscriber.clone(),
            options: shared.socket_options.clone(),
            topics,
            patience: Patience {
                fixed: shared.options.heartbeat_timeout,
                interval: ASSUMED_INTERVAL,
            },
        }
    }

    fn with_nonce(&self, request: &CommandRequest) -> CommandRequest {
        let request = request.clone();
        if *request.nonce() == Nonce::from(-1) {
            let nonce = self.shared.next_nonce.fetch_add(1, Ordering::Relaxed);
            return request.with_nonce(nonce);
        }
        request
    }
}

/// What tells this client's requests from those of others.
struct Identity {
    client_id: String,
    first_nonce: i64,
}

impl Identity {
    /// Nonces start at a random place, because results are told apart by nonce alone; below 2^53, which every JSON reader keeps.
    fn random() -> Self {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // A system without randomness still has a clock and a process number.
            let now = time::since_1970().as_nanos();
            bytes = (now ^ (u128::from(std::process::id()) << 64)).to_le_bytes();
        }
        let number = u128::from_le_bytes(bytes);
        let first_nonce = i64::try_from((number >> 64) & ((1 << 52) - 1)).unwrap_or(1);
        Self {
            client_id: format!("{number:032x}"),
            first_nonce: first_nonce + 1,
        }
    }
}

/// The interval of services that do not announce theirs.
const ASSUMED_INTERVAL: Duration = Duration::from_secs(5);
