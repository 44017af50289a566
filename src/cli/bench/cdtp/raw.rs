//! The same frames on bare sockets, with no thread and no code of ours between them.

use std::time::{Duration, Instant};

use crate::cli::bench::PATIENCE;
use crate::cli::bench::raw::{loopback, silent};
use crate::cli::exit::{Exit, Failure};
use crate::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions};

/// A PUSH socket with libzmq's own high-water mark.
pub(super) struct Pusher {
    socket: Socket,
    endpoint: Endpoint,
}

impl Pusher {
    pub(super) fn bind() -> Result<Self, Failure> {
        let options = SocketOptions::default().linger(Some(PATIENCE));
        let socket = Context::new()?.socket(SocketKind::Push, &options)?;
        let endpoint = socket.bind(&loopback(0)?)?;
        Ok(Self { socket, endpoint })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a short frame, then so many of so many bytes, each a copy of one buffer.
    ///
    /// One copy, as any program must make whose data lie in its own memory.
    pub(super) fn push(&self, frame_bytes: usize, frames: u64) -> Result<(), Failure> {
        let data = vec![0x5a; frame_bytes];
        self.socket.send_bytes(b"begin", false)?;
        for _ in 0..frames {
            self.socket.send_bytes(&data, false)?;
        }
        Ok(())
    }
}

/// A PULL socket with libzmq's own high-water mark.
pub(super) struct Puller {
    socket: Socket,
}

impl Puller {
    pub(super) fn connect(endpoint: &Endpoint) -> Result<Self, Failure> {
        let options = SocketOptions::default().recv_timeout(Some(PATIENCE));
        Self::with_options(endpoint, &options)
    }

    /// One that takes next to nothing unless it is asked.
    pub(super) fn reluctant(endpoint: &Endpoint) -> Result<Self, Failure> {
        Self::with_options(endpoint, &SocketOptions::default().recv_hwm(1))
    }

    fn with_options(endpoint: &Endpoint, options: &SocketOptions) -> Result<Self, Failure> {
        let socket = Context::new()?.socket(SocketKind::Pull, options)?;
        socket.connect(endpoint)?;
        Ok(Self { socket })
    }

    /// Receives what [`Pusher::push`] sends, and gives the time from its first frame to its last.
    pub(super) fn pull(&self, frame_bytes: usize, frames: u64) -> Result<Duration, Failure> {
        let mut frame = Frame::new();
        let mut next = || {
            if self.socket.recv_into(&mut frame)? {
                Ok::<_, Failure>(frame.len())
            } else {
                Err(silent("a frame"))
            }
        };
        next()?;
        let begin = Instant::now();
        let mut bytes = 0;
        for _ in 0..frames {
            bytes += next()? as u64;
        }
        let time = begin.elapsed();
        if bytes == frames * frame_bytes as u64 {
            Ok(time)
        } else {
            let text = format!("{bytes} bytes came in {frames} frames of {frame_bytes}");
            Err(Failure::new(Exit::Failed, text))
        }
    }
}
