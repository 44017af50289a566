//! One request, one reply: sockets that are thrown away when they disappoint.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::rpc::{CommandRequest, Response, RpcError, encode_request};
use crate::zsocket::{
    self, Context, Endpoint, Frame, MonitorEvent, Socket, SocketKind, SocketOptions,
};

use super::ClientOptions;
use super::handshakes::Handshakes;
use super::moment::after;

/// Idle requesters of one client, each used by one thread at a time.
///
/// The asking thread itself sends and waits: no other thread is on the way of a command.
#[derive(Debug)]
pub(crate) struct Requesters {
    context: Context,
    endpoint: Endpoint,
    options: SocketOptions,
    /// Each with the moment since which it is idle, the longest first.
    idle: Mutex<Vec<(Instant, Requester)>>,
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

    /// A requester that owes nothing and is connected; a new one where none is idle.
    pub(crate) fn take(&self) -> Result<Requester, RpcError> {
        loop {
            let taken = {
                let mut idle = self.idle.lock();
                drop_stale(&mut idle, Instant::now());
                idle.pop()
            };
            let Some((_, mut requester)) = taken else {
                return self.open();
            };
            // One that lost its connection would wait for libzmq's next attempt; a new one connects at once.
            if requester.connection()?.up {
                return Ok(requester);
            }
        }
    }

    /// A new requester, whatever is idle.
    pub(crate) fn open(&self) -> Result<Requester, RpcError> {
        let socket = self.context.socket(SocketKind::Req, &self.options)?;
        socket.monitor_sessions()?;
        socket.connect(&self.endpoint)?;
        Ok(Requester {
            socket,
            endpoint: self.endpoint.clone(),
            connection: Connection {
                handshakes: Handshakes::new(&self.options),
                up: false,
                reached: false,
                refused: None,
            },
        })
    }

    /// Keeps a requester whose last reply came.
    pub(crate) fn give_back(&self, requester: Requester) {
        let mut idle = self.idle.lock();
        let now = Instant::now();
        drop_stale(&mut idle, now);
        if idle.len() < MAX_IDLE {
            idle.push((now, requester));
        }
    }

    /// Closes all that are idle: what befell one connection may have befallen the others.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}

/// Closes those that have been idle for long: each holds a connection and a monitor that nobody reads.
fn drop_stale<T>(idle: &mut Vec<(Instant, T)>, now: Instant) {
    let fresh =
        idle.partition_point(|(since, _)| now.saturating_duration_since(*since) >= MAX_IDLE_TIME);
    idle.drain(..fresh);
}

/// A REQ socket and what its connection went through. Dropped, it forgets its request and closes at once.
#[derive(Debug)]
pub(crate) struct Requester {
    socket: Socket,
    endpoint: Endpoint,
    connection: Connection,
}

/// What a connection went through.
#[derive(Debug)]
pub(crate) struct Connection {
    handshakes: Handshakes,
    /// Messages can flow now.
    up: bool,
    /// They could at some time since the request was sent: it may have arrived.
    pub(crate) reached: bool,
    /// Why the service refuses the handshake.
    pub(crate) refused: Option<String>,
}

impl Requester {
    /// Sends the request and waits for its reply; `None` at the deadline, or before it if the service refuses this client.
    ///
    /// After `None` or an error the requester is of no more use.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Option<Frame>, RpcError> {
        self.connection.reached = self.connection.up;
        self.socket.send_bytes(request, false)?;
        if !self.connect(deadline)? {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.socket.set_recv_timeout(Some(left))?;
        let mut reply = Frame::new();
        if !self.socket.recv_into(&mut reply)? {
            return Ok(None);
        }
        // Peers reply with one frame; what follows is read and left.
        self.socket.skip_rest()?;
        Ok(Some(reply))
    }

    /// Waits until messages can flow; `false` at the deadline or when the service refuses this client.
    ///
    /// Once connected, requests wait for nothing but their reply.
    fn connect(&mut self, deadline: Instant) -> Result<bool, RpcError> {
        loop {
            let connection = self.connection()?;
            if connection.up {
                return Ok(true);
            }
            if connection.refused.is_some() || Instant::now() >= deadline {
                return Ok(false);
            }
            let monitor = self.socket.monitor_sessions()?.socket();
            zsocket::wait(&[monitor], None, Some(deadline))?;
        }
    }

    /// What became of the connection so far.
    pub(crate) fn connection(&mut self) -> Result<&Connection, RpcError> {
        for event in self.socket.monitor_sessions()?.events()? {
            let connection = &mut self.connection;
            match event {
                MonitorEvent::HandshakeSucceeded => {
                    log::info!("connected to {}", self.endpoint);
                    connection.handshakes.succeeded();
                    connection.up = true;
                    connection.reached = true;
                    connection.refused = None;
                }
                MonitorEvent::Disconnected => {
                    log::info!("disconnected from {}", self.endpoint);
                    connection.up = false;
                    let told = connection.handshakes.disconnected();
                    connection.refused = told.or(connection.refused.take());
                }
                MonitorEvent::HandshakeFailed(failure) => {
                    // What one handshake told is not taken back by the next that is only cut off.
                    let told = connection.handshakes.failed(failure);
                    connection.refused = told.or(connection.refused.take());
                }
                _ => {}
            }
        }
        Ok(&self.connection)
    }
}

/// How one request is put again and again, until it is answered or the attempts are used up.
pub(crate) struct Attempts<'a> {
    pub(crate) requesters: &'a Requesters,
    pub(crate) options: &'a ClientOptions,
    pub(crate) client_id: Option<&'a str>,
    /// When the caller began to wait.
    pub(crate) started: Instant,
    /// When the last attempt ends at the latest; `None` leaves each its whole time-out.
    pub(crate) deadline: Option<Instant>,
}

impl Attempts<'_> {
    /// Asks until a reply comes.
    ///
    /// `may_repeat` is asked before each further attempt once one of them was connected and got no answer.
    pub(crate) fn run(
        &self,
        request: &CommandRequest,
        may_repeat: impl Fn() -> bool,
    ) -> Result<Response, RpcError> {
        let bytes = encode_request(request, self.client_id);
        let mut requester = self.requesters.take()?;
        let mut reached = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            log::info!(
                "{} goes to {}, attempt {attempts}",
                request.command().name(),
                self.requesters.endpoint()
            );
            let until = self.within(after(self.options.timeout));
            if let Some(reply) = requester.ask(&bytes, until)? {
                self.requesters.give_back(requester);
                return self.read(request, &reply);
            }
            self.requesters.clear();
            let endpoint = || self.requesters.endpoint().to_string();
            let connection = requester.connection()?;
            if let Some(reason) = &connection.refused {
                return Err(RpcError::Refused {
                    endpoint: endpoint(),
                    reason: reason.clone(),
                });
            }
            reached |= connection.reached;
            let repeat = attempts <= self.options.retries
                && (!reached || may_repeat())
                && self
                    .deadline
                    .is_none_or(|deadline| Instant::now() < deadline);
            if !repeat {
                let endpoint = endpoint();
                let waited = self.started.elapsed();
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
            log::info!(
                "no answer to {} from {}",
                request.command().name(),
                self.requesters.endpoint()
            );
            requester = self.requesters.open()?;
        }
    }

    fn within(&self, moment: Instant) -> Instant {
        self.deadline
            .map_or(moment, |deadline| moment.min(deadline))
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

/// A requester that was idle for so long is closed when the next is taken or kept.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_idle_requesters_are_closed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut idle = vec![(at(0), 'a'), (at(20), 'b'), (at(40), 'c')];
        drop_stale(&mut idle, at(59));
        assert_eq!(idle.len(), 3);
        drop_stale(&mut idle, at(80));
        assert_eq!(idle, [(at(40), 'c')]);
    }
}
