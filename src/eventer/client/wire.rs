//! What is between the frames and the socket: nothing, or TLS. Pure: bytes in, bytes out.

use std::io::{self, Read, Write};

use rustls::ClientConnection;

/// The bytes of a connection, as they are or encrypted.
#[derive(Debug)]
pub(super) enum Wire {
    Plain,
    Tls(Box<ClientConnection>),
}

impl Wire {
    /// Turns bytes of the socket into bytes of the peer, which are appended to `plain`.
    pub(super) fn incoming(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let Self::Tls(connection) = self else {
            plain.extend_from_slice(bytes);
            return Ok(());
        };
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes)?;
            connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match connection.reader().read_to_end(plain) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Turns bytes for the peer into bytes for the socket, which are appended to `out`; also what TLS itself has to say.
    pub(super) fn outgoing(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain => out.append(plain),
            Self::Tls(connection) => {
                connection.writer().write_all(plain)?;
                plain.clear();
                while connection.wants_write() {
                    connection.write_tls(out)?;
                }
            }
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
            self.outgoing(&mut Vec::new(), out)?;
        }
        Ok(())
    }
}
