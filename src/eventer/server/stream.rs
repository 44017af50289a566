//! A socket that never waits, plain or with TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustls::ServerConnection;

/// A connection's socket; nothing of it waits.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, tls: Option<ServerConnection>) -> Self {
        Self {
            socket,
            tls: tls.map(Box::new),
        }
    }

    /// Reads what has come; 0 at the end of the stream, which a peer may cut without a farewell.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            // The end of the stream too is told by the reader, once it knows.
            tls.read_tls(&mut self.socket)?;
            if let Err(error) = tls.process_new_packets() {
                // Says which of its rules the peer broke, if that goes at once.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Whether a short read means that no more has come.
    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Writes what the socket takes of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.socket.write(bytes);
        }
        self.flush()?;
        let Some(tls) = &mut self.tls else {
            return Ok(0);
        };
        let taken = tls.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => done?,
        }
        match taken {
            // Before the end of the handshake.
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// Whether [`flush`](Self::flush) has something to write.
    pub(super) fn is_unflushed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what TLS has to say.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // A peer that does not take it is told by the end of the stream.
            let _ = self.flush();
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
