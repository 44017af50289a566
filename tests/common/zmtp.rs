//! The transport of ZeroMQ by hand, for peers that no library would be.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::bus::LIMIT;

pub(crate) fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// The first 64 bytes of a ZMTP 3.0 connection with this mechanism.
pub(crate) fn greeting(mechanism: &[u8]) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend(mechanism);
    greeting.resize(64, 0);
    greeting
}

/// A connection of a socket of this kind that is ready to send frames.
pub(crate) fn peer_over_tcp(kind: &[u8], port: u16) -> TcpStream {
    let mut stream = tcp(port);
    shake_hands(&mut stream, kind).unwrap();
    stream
}

/// Makes a stream a connection of a socket of this kind, whichever side made the stream.
pub(crate) fn shake_hands(stream: &mut TcpStream, kind: &[u8]) -> std::io::Result<()> {
    stream.write_all(&greeting(b"NULL"))?;
    let mut theirs = [0; 64];
    stream.read_exact(&mut theirs)?;
    let name = b"\x05READY\x0bSocket-Type\x00\x00\x00";
    let ready = [&name[..], &[kind.len() as u8], kind].concat();
    stream.write_all(&[4, ready.len() as u8])?;
    stream.write_all(&ready)?;
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    let mut command = vec![0; header[1].into()];
    stream.read_exact(&mut command)
}

/// Whether the other side ends the connection in time; what it still sends is dropped.
pub(crate) fn ends(mut stream: TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
