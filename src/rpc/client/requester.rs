//! One request, one reply: sockets that are thrown away when they disappoint.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rpc::{CommandRequest, Response, RpcError, encode_request};
use crate::zsocket::{
    Context, Endpoint, Frame, HandshakeFailure, MonitorEvent, Socket, SocketKind, SocketOptions,
    SocketSecurity,
};

use super::ClientOptions;

/// Idle requesters of one client, each used by one thread at a time.
///
/// The asking thread itself sends and waits: no other thread is on the way of a command.
#[derive(Debug)]
pub(crate) struct Requesters {
    context: Context,
    endpoint: Endpoint,
    options: SocketOptions,
    idle: Mutex<Vec<Requester>>,
}

impl Requesters {
    pub(crate) fn new(context: Context, endpoint: Endpoint, options: SocketOptions) -> Self {
        Self {
            context,
            endpoint,
            options,
            idle: Mutex::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A requester that owes nothing; a new one where none is idle.
    pub(crate) fn take(&self) -> Result<Requester, RpcError> {
        if let Some(idle) = self.idle.lock().pop() {
            return Ok(idle);
        }
        let socket = self.context.socket(SocketKind::Req, &self.options)?;
        socket.monitor_sessions()?;
        socket.connect(&self.endpoint)?;
        Ok(Requester {
            socket,
            keyed: is_keyed(&self.options),
            connection: Connection::default(),
        })
    }

    /// Keeps a requester whose last reply came.
    pub(crate) fn give_back(&self, requester: Requester) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(requester);
        }
    }
}

/// A REQ socket and what its connection went through. Dropped, it forgets its request and closes at once.
#[derive(Debug)]
pub(crate) struct Requester {
    socket: Socket,
    keyed: bool,
    connection: Connection,
}

/// What a connection went through.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Messages can flow now.
    up: bool,
    /// They could at some time since the request was sent: it may have arrived.
    pub(crate) reached: bool,
    /// Why the service refused the handshake.
    pub(crate) refused: Option<String>,
}

impl Requester {
    /// Sends the request and waits for its reply; `None` after `timeout`.
    ///
    /// After `None` or an error the requester is of no more use.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        timeout: Duration,
    ) -> Result<Option<Frame>, RpcError> {
        self.connection()?;
        self.connection.reached = self.connection.up;
        self.socket.send_bytes(request, false)?;
        self.socket.set_recv_timeout(Some(timeout))?;
        let mut reply = Frame::new();
        if !self.socket.recv_into(&mut reply)? {
            return Ok(None);
        }
        // Peers reply with one frame; what follows is read and left.
        self.socket.skip_rest()?;
        Ok(Some(reply))
    }

    /// What became of the connection so far.
    pub(crate) fn connection(&mut self) -> Result<&Connection, RpcError> {
        for event in self.socket.monitor_sessions()?.events()? {
            match event {
                MonitorEvent::HandshakeSucceeded => {
                    self.connection.up = true;
                    self.connection.reached = true;
                }
                MonitorEvent::Disconnected => self.connection.up = false,
                MonitorEvent::HandshakeFailed(failure) => {
                    self.connection.refused = refusal(&failure, self.keyed);
                }
                _ => {}
            }
        }
        Ok(&self.connection)
    }
}

/// Whether a connection presents a key.
pub(crate) fn is_keyed(options: &SocketOptions) -> bool {
    matches!(options.security, SocketSecurity::CurveClient { .. })
}

/// What to tell of a failed handshake; `None` where it says nothing about rights.
pub(crate) fn refusal(failure: &HandshakeFailure, keyed: bool) -> Option<String> {
    match failure {
        HandshakeFailure::Auth(status) => {
            Some(format!("the service does not accept this key (status {status})"))
        }
        HandshakeFailure::Protocol(_) => Some(
            "the handshake failed: one side wants keys and the other has none, or the service's public key is another"
                .to_owned(),
        ),
        HandshakeFailure::NoDetail if keyed => Some(
            "the handshake was cut off: the service's public key is perhaps not the one in the key file"
                .to_owned(),
        ),
        _ => None,
    }
}

/// How one request is put again and again, until it is answered or the attempts are used up.
pub(crate) struct Attempts<'a> {
    pub(crate) requesters: &'a Requesters,
    pub(crate) options: &'a ClientOptions,
    pub(crate) client_id: Option<&'a str>,
}

impl Attempts<'_> {
    /// Asks until a reply comes. `may_repeat` is asked once, when an attempt was connected and got no answer.
    pub(crate) fn run(
        &self,
        request: &CommandRequest,
        may_repeat: impl Fn() -> bool,
    ) -> Result<Response, RpcError> {
        let bytes = encode_request(request, self.client_id);
        let started = Instant::now();
        let mut reached = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut requester = self.requesters.take()?;
            if let Some(reply) = requester.ask(&bytes, self.options.timeout)? {
                self.requesters.give_back(requester);
                return self.read(request, &reply);
            }
            let connection = requester.connection()?;
            if let Some(reason) = &connection.refused {
                return Err(RpcError::Refused {
                    endpoint: self.requesters.endpoint().to_string(),
                    reason: reason.clone(),
                });
            }
            reached |= connection.reached;
            let repeat = attempts <= self.options.retries && (!reached || may_repeat());
            if !repeat {
                let endpoint = self.requesters.endpoint().to_string();
                let waited = started.elapsed();
                return Err(if reached {
                    RpcError::TimedOut {
                        endpoint,
                        waited,
                        attempts,
                    }
                } else {
                    RpcError::NoService { endpoint, waited }
                });
            }
            log::debug!(
                "no answer to {}; attempt {}",
                request.command().name(),
                attempts + 1
            );
        }
    }

    fn read(&self, request: &CommandRequest, reply: &[u8]) -> Result<Response, RpcError> {
        let response = Response::decode(reply, self.options.max_depth)?;
        // Services answer what they cannot read, and the peers also NONE, with nonce 0.
        let unusable = response.nonce().as_i64() == Some(0);
        if response.nonce() != request.nonce() && !unusable {
            return Err(RpcError::WrongNonce {
                expected: request.nonce().to_string(),
                found: response.nonce().to_string(),
            });
        }
        Ok(response)
    }
}

/// Requesters kept for the next request; threads beyond that connect anew.
const MAX_IDLE: usize = 16;
