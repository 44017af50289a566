//! The same exchanges on bare sockets, with no thread and no code of ours between them.

use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use crate::cli::exit::{Exit, Failure};
use crate::rpc::{RpcError, Topic};
use crate::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions, ZsocketError};

use super::PATIENCE;

impl From<ZsocketError> for Failure {
    fn from(error: ZsocketError) -> Self {
        Self::from(RpcError::from(error))
    }
}

/// A REP socket on a thread of its own that answers each request with the same bytes; stopped when dropped.
pub(super) struct Replier {
    context: Context,
    endpoint: Endpoint,
    thread: Option<JoinHandle<()>>,
}

impl Replier {
    pub(super) fn start(reply: Vec<u8>) -> Result<Self, Failure> {
        let context = Context::new()?;
        let socket = context.socket(SocketKind::Rep, &options())?;
        let endpoint = socket.bind(&loopback(0)?)?;
        let thread = spawn(move || {
            let mut request = Frame::new();
            // Ends when the context is shut down.
            while let Ok(true) = socket.recv_into(&mut request) {
                if socket.send_bytes(&reply, false).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            context,
            endpoint,
            thread: Some(thread),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.context.shutdown();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic handler.
            let _ = thread.join();
        }
    }
}

/// A REQ socket with a context of its own.
pub(super) struct Requester {
    socket: Socket,
    reply: Frame,
}

impl Requester {
    pub(super) fn connect(endpoint: &Endpoint) -> Result<Self, Failure> {
        let socket = Context::new()?.socket(SocketKind::Req, &options())?;
        socket.connect(endpoint)?;
        Ok(Self {
            socket,
            reply: Frame::new(),
        })
    }

    /// Sends and waits for the reply.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        self.ask_in_frames(request, 1)
    }

    /// Sends the request so many times as the frames of one message, and waits for the reply.
    pub(super) fn ask_in_frames(&mut self, request: &[u8], frames: u32) -> Result<&[u8], Failure> {
        for left in (0..frames).rev() {
            self.socket.send_bytes(request, left > 0)?;
        }
        if self.socket.recv_into(&mut self.reply)? {
            Ok(&self.reply)
        } else {
            Err(silent("a reply"))
        }
    }
}

/// A PUB socket with a context of its own.
pub(super) struct Publisher {
    socket: Socket,
    endpoint: Endpoint,
}

impl Publisher {
    pub(super) fn bind() -> Result<Self, Failure> {
        let socket = Context::new()?.socket(SocketKind::Pub, &options().send_hwm(0))?;
        let endpoint = socket.bind(&loopback(0)?)?;
        Ok(Self { socket, endpoint })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn send(&self, topic: Topic, body: &[u8]) -> Result<(), Failure> {
        self.socket.send_bytes(&topic.to_bytes(), true)?;
        self.socket.send_bytes(body, false)?;
        Ok(())
    }
}

/// A SUB socket with a context of its own and no high-water mark.
pub(super) struct Subscriber {
    socket: Socket,
    topic: Frame,
    body: Frame,
}

impl Subscriber {
    /// Subscribes to the topics in their order.
    pub(super) fn connect(endpoint: &Endpoint, topics: &[Topic]) -> Result<Self, Failure> {
        let socket = Context::new()?.socket(SocketKind::Sub, &options().recv_hwm(0))?;
        for topic in topics {
            socket.subscribe(&topic.to_bytes())?;
        }
        socket.connect(endpoint)?;
        Ok(Self {
            socket,
            topic: Frame::new(),
            body: Frame::new(),
        })
    }

    /// The next message: topic and body.
    pub(super) fn recv(&mut self) -> Result<(&[u8], &[u8]), Failure> {
        if !self.socket.recv_into(&mut self.topic)? || !self.socket.recv_into(&mut self.body)? {
            return Err(silent("a message"));
        }
        Ok((&self.topic, &self.body))
    }

    /// How long a [`recv`](Self::recv) waits.
    pub(super) fn patience(&self, timeout: Duration) -> Result<(), Failure> {
        Ok(self.socket.set_recv_timeout(Some(timeout))?)
    }
}

/// A thread of the bench.
pub(super) fn spawn<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new()
        .name("acqbus-bench-peer".to_owned())
        .spawn(body)
}

/// A port of this machine.
pub(super) fn loopback(port: u16) -> Result<Endpoint, Failure> {
    Ok(Endpoint::tcp("127.0.0.1", port)?)
}

pub(super) fn silent(what: &str) -> Failure {
    Failure::new(
        Exit::TimedOut,
        format!("{what} did not come within {} s", PATIENCE.as_secs()),
    )
}

fn options() -> SocketOptions {
    SocketOptions::default()
        .linger(Some(Duration::ZERO))
        .recv_timeout(Some(PATIENCE))
}
