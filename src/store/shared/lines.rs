//! Lines over a Unix stream: read up to a limit, written whole.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde::Serialize;

use super::message::{LINE_LIMIT, LineError, encode};

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
    out: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER, stream),
            line: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// The next line without its line feed; `None` at the end, also in the middle of a line.
    ///
    /// One that is longer than the limit is given cut, one byte over it: decoding refuses it. Nothing behind it can be
    /// read then.
    pub(super) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        // What a long line has taken is given back with the next one.
        self.line.shrink_to(BUFFER);
        let mut is_told = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok([]) => return Ok(None),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A reader that wants to know has set a time limit; what is asked may take long.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !std::mem::replace(&mut is_told, true) {
                        log::warn!("the program that has the store open is silent; still waiting");
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let room = LINE_LIMIT + 1 - self.line.len();
            let (taken, is_whole) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(at) if at < room => (at, true),
                _ => (chunk.len().min(room), false),
            };
            self.line.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken + usize::from(is_whole));
            if is_whole || self.line.len() > LINE_LIMIT {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Sends a message as one line; blocks until the system has taken it.
    pub(super) fn write(&mut self, message: &impl Serialize) -> Result<(), WriteError> {
        self.out.clear();
        self.out.shrink_to(BUFFER);
        encode(message, &mut self.out)?;
        if self.out.len() > LINE_LIMIT + 1 {
            return Err(WriteError::Line(LineError::TooLong {
                bytes: self.out.len() - 1,
                limit: LINE_LIMIT,
            }));
        }
        Ok(self.reader.get_mut().write_all(&self.out)?)
    }
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Lines, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Lines::new(ours), theirs)
    }

    #[test]
    fn lines_come_one_by_one_however_they_were_cut() {
        let (mut lines, mut peer) = pair();
        peer.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.read().unwrap(), Some(&b"one"[..]));
        peer.write_all(b"o\n\nlast").unwrap();
        assert_eq!(lines.read().unwrap(), Some(&b"two"[..]));
        assert_eq!(lines.read().unwrap(), Some(&b""[..]));
        drop(peer);
        assert_eq!(lines.read().unwrap(), None);
    }

    #[test]
    fn line_that_takes_long_comes_whole() {
        let (mut lines, mut peer) = pair();
        let limit = std::time::Duration::from_millis(1);
        lines.stream().set_read_timeout(Some(limit)).unwrap();
        let writer = std::thread::spawn(move || {
            peer.write_all(b"on").unwrap();
            // The time is what is tested.
            std::thread::sleep(20 * limit);
            peer.write_all(b"e\n").unwrap();
        });
        assert_eq!(lines.read().unwrap(), Some(&b"one"[..]));
        writer.join().unwrap();
    }

    #[test]
    fn endless_line_is_cut_at_the_limit() {
        let (mut lines, mut peer) = pair();
        let writer = std::thread::spawn(move || {
            // Ends when the reader has gone away.
            while peer.write_all(&[b'x'; 1 << 20]).is_ok() {}
        });
        assert_eq!(lines.read().unwrap().map(<[u8]>::len), Some(LINE_LIMIT + 1));
        drop(lines);
        writer.join().unwrap();
    }
}
