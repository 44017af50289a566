//! A server that does what a test tells it to, message by message.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use acqbus::event::{QueryResult, Status};
use acqbus::eventer::chatter::{Chatter, ChatterOptions, Conversation};
use acqbus::eventer::message::{InitReq, Message};
use acqbus::store::Backend;

use super::PATIENCE;

/// Where clients connect to.
pub(crate) struct Scripted(TcpListener);

/// A message of a client.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) conversation: Conversation,
    pub(crate) is_first: bool,
    pub(crate) last: bool,
    pub(crate) message: Message,
}

/// One client.
pub(crate) struct Peer {
    stream: TcpStream,
    chatter: Chatter,
    out: Vec<u8>,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The same address again, after a "restart".
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self(TcpListener::bind(address).unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Waits for the next client.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        self.0.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "no client came");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer {
            stream,
            chatter: Chatter::new(ChatterOptions::default(), Instant::now()),
            out: Vec::new(),
        }
    }

    /// Waits for the next client, and lets it in.
    #[track_caller]
    pub(crate) fn welcome(&self, status: Status) -> Peer {
        let mut peer = self.accept();
        let heard = peer.hear();
        assert!(matches!(heard.message, Message::InitReq(_)), "{heard:?}");
        peer.say(heard.conversation, &Message::InitRes(Ok(status)));
        peer
    }
}

impl Peer {
    /// The next message of the client; `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn try_hear(&mut self) -> Option<Heard> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(received) = self.chatter.next(&mut self.out).unwrap() {
                let heard = Heard {
                    conversation: received.conversation,
                    is_first: received.is_first,
                    last: received.last,
                    message: Message::decode(received.kind, received.data).unwrap(),
                };
                self.flush();
                return Some(heard);
            }
            self.flush();
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.chatter.receive(&buffer[..count], Instant::now()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the client says nothing: {error}"),
            }
        }
    }

    /// Answers so many pings of a client that says nothing else.
    #[track_caller]
    pub(crate) fn answer_pings(&mut self, count: usize) {
        let mut buffer = [0; 64];
        let mut answered = 0;
        while answered < count {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the client has gone");
            self.chatter.receive(&buffer[..read], Instant::now());
            let heard = self.chatter.next(&mut self.out).unwrap();
            assert!(heard.is_none(), "{heard:?}");
            answered += usize::from(!self.out.is_empty());
            self.flush();
        }
    }

    #[track_caller]
    pub(crate) fn hear(&mut self) -> Heard {
        self.try_hear().expect("the client has not gone")
    }

    /// The greeting of the client, which waits for its answer.
    #[track_caller]
    pub(crate) fn hear_greeting(&mut self) -> (Conversation, InitReq) {
        let heard = self.hear();
        assert!(heard.is_first && !heard.last);
        match heard.message {
            Message::InitReq(request) => (heard.conversation, request),
            other => panic!("{other:?}"),
        }
    }

    /// The last message of a conversation.
    pub(crate) fn say(&mut self, conversation: Conversation, message: &Message) {
        let mut data = Vec::new();
        message.encode(&mut data);
        let out = &mut self.out;
        self.chatter
            .reply(conversation, message.kind(), &data, true, out)
            .unwrap();
        self.flush();
    }

    /// The only message of a conversation, or the first of one if it is to be answered.
    pub(crate) fn tell(&mut self, message: &Message, last: bool) -> Conversation {
        let mut data = Vec::new();
        message.encode(&mut data);
        let out = &mut self.out;
        let begun = self
            .chatter
            .begin(message.kind(), &data, last, out)
            .unwrap();
        self.flush();
        begun
    }

    /// Tells the same again and again until the client reads no more; gives how often.
    ///
    /// The end of the last one is for [`finish_telling`](Self::finish_telling).
    pub(crate) fn tell_until_stuck(&mut self, message: &Message) -> usize {
        let stuck = Some(Duration::from_millis(500));
        self.stream.set_write_timeout(stuck).unwrap();
        let mut data = Vec::new();
        message.encode(&mut data);
        let deadline = Instant::now() + PATIENCE;
        for count in 1.. {
            assert!(Instant::now() < deadline, "the client reads for ever");
            let out = &mut self.out;
            self.chatter
                .begin(message.kind(), &data, true, out)
                .unwrap();
            while !self.out.is_empty() {
                match self.stream.write(&self.out) {
                    Ok(written) => drop(self.out.drain(..written)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        return count;
                    }
                }
            }
        }
        unreachable!("there is no end of numbers")
    }

    pub(crate) fn finish_telling(&mut self) {
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        self.flush();
    }

    /// Bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // A client that has gone is seen by the next read.
        let _ = self.stream.write_all(bytes);
    }

    /// Answers queries out of a store, up to the first message that is none.
    #[track_caller]
    pub(crate) fn answer_queries(&mut self, store: &dyn Backend) -> Option<Heard> {
        loop {
            let heard = self.try_hear()?;
            let Message::QueryReq(params) = &heard.message else {
                return Some(heard);
            };
            let result = store
                .query(params)
                .unwrap_or_else(|_| QueryResult::default());
            self.say(heard.conversation, &Message::QueryRes(result));
        }
    }

    fn flush(&mut self) {
        let out = std::mem::take(&mut self.out);
        self.write(&out);
    }
}
