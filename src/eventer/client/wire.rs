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
            if connection.read_tls(&mut bytes)? == 0 {
                // Behind its farewell the peer has nothing to say.
                return Ok(());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventer::{ClientTls, ServerTls};
    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

    #[test]
    fn bytes_behind_the_farewell_of_the_peer_are_left_alone() {
        let made: CertifiedKey<KeyPair> =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.pem();
        let key = made.signing_key.serialize_pem();
        let server = ServerTls::new(certificate.as_bytes(), key.as_bytes()).unwrap();
        let mut server = server.connection().unwrap();
        let client = ClientTls::trusting(certificate.as_bytes()).unwrap();
        let mut client = Wire::Tls(Box::new(client.connection("localhost").unwrap()));
        let mut plain = Vec::new();
        for _ in 0..4 {
            let mut to_server = Vec::new();
            client.outgoing(&mut Vec::new(), &mut to_server).unwrap();
            let mut left = &to_server[..];
            while !left.is_empty() {
                server.read_tls(&mut left).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut to_client = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            client.incoming(&to_client, &mut plain).unwrap();
        }
        assert!(!server.is_handshaking());
        server.writer().write_all(b"the last words").unwrap();
        server.send_close_notify();
        let mut farewell = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut farewell).unwrap();
        }
        farewell.extend_from_slice(&[7; 100]);
        // Ends, which is what this is about.
        client.incoming(&farewell, &mut plain).unwrap();
        client.incoming(&[7; 100], &mut plain).unwrap();
        assert_eq!(plain, b"the last words");
    }
}
