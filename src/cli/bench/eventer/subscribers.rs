//! Many clients that are told of events, on one thread: bytes in, times out.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::cli::bench::PATIENCE;
use crate::cli::bench::raw::{silent, spawn};
use crate::cli::exit::{Exit, Failure};
use crate::event::{EventType, Payload};
use crate::eventer::chatter::{Chatter, ChatterOptions};
use crate::eventer::message::{InitReq, Message};

/// So many clients, each of which wants one type.
pub(super) struct Subscribers {
    thread: Option<JoinHandle<Result<Vec<Duration>, Failure>>>,
    told: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Subscribers {
    /// Connects them; all are let in when this returns.
    pub(super) fn connect(
        address: &str,
        count: usize,
        event_type: impl Fn(usize) -> EventType,
        clock: Instant,
    ) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(count))?);
        let mut crowd = Crowd {
            poll,
            clients: Vec::new(),
            clock,
            took: Vec::new(),
            told: Arc::new(AtomicU64::new(0)),
            stop: Arc::new(AtomicBool::new(false)),
            welcome: 0,
        };
        for number in 0..count {
            crowd.add(address, number, event_type(number))?;
            // The system keeps so many waiting until they are accepted.
            if number % 64 == 63 {
                crowd.until_all_are_let_in()?;
            }
        }
        crowd.until_all_are_let_in()?;
        let (told, stop) = (Arc::clone(&crowd.told), Arc::clone(&crowd.stop));
        let thread = spawn(move || crowd.run())?;
        Ok(Self {
            thread: Some(thread),
            told,
            stop,
            waker,
        })
    }

    /// Events that were told so far.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// How long each event took to be told.
    pub(super) fn end(mut self) -> Result<Vec<Duration>, Failure> {
        self.stop.store(true, Ordering::Release);
        self.waker.wake()?;
        let Some(thread) = self.thread.take() else {
            return Ok(Vec::new());
        };
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Crowd {
    poll: Poll,
    clients: Vec<Client>,
    clock: Instant,
    took: Vec<Duration>,
    told: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    welcome: usize,
}

struct Client {
    stream: TcpStream,
    chatter: Chatter,
}

impl Crowd {
    fn add(&mut self, address: &str, number: usize, event_type: EventType) -> Result<(), Failure> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut chatter = Chatter::new(ChatterOptions::default(), Instant::now());
        let mut hello = InitReq::new(format!("bench/{number}"));
        hello.subscriptions = vec![event_type];
        let message = Message::InitReq(hello);
        let (mut data, mut frame) = (Vec::new(), Vec::new());
        message.encode(&mut data);
        chatter
            .begin(message.kind(), &data, false, &mut frame)
            .map_err(|error| Failure::of(Exit::Failed, &error))?;
        stream.write_all(&frame)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.clients.len());
        self.poll
            .registry()
            .register(&mut stream, token, Interest::READABLE)?;
        self.clients.push(Client { stream, chatter });
        Ok(())
    }

    fn until_all_are_let_in(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while self.welcome < self.clients.len() {
            if Instant::now() > end {
                return Err(silent("a welcome"));
            }
            self.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    fn run(mut self) -> Result<Vec<Duration>, Failure> {
        while !self.stop.load(Ordering::Acquire) {
            self.turn(None)?;
        }
        Ok(self.took)
    }

    fn turn(&mut self, patience: Option<Duration>) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, patience) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            self.read(event.token().0)?;
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Result<(), Failure> {
        // The waker has a number behind those of the clients.
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        let mut buffer = [0; 16 << 10];
        let failed = |error: &dyn std::error::Error| Failure::of(Exit::BadData, error);
        loop {
            let now = match client.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(Failure::new(
                        Exit::Connection,
                        "the server has closed a connection",
                    ));
                }
                Ok(count) => {
                    let now = Instant::now();
                    client.chatter.receive(&buffer[..count], now);
                    now
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let mut out = Vec::new();
            while let Some(received) = client
                .chatter
                .next(&mut out)
                .map_err(|error| failed(&error))?
            {
                let message = Message::decode(received.kind, received.data)
                    .map_err(|error| failed(&error))?;
                match message {
                    Message::InitRes(Ok(_)) => self.welcome += 1,
                    Message::EventsNotify(events) => {
                        for event in events {
                            self.took.extend(took(&event.payload, self.clock, now));
                            self.told.fetch_add(1, Ordering::Release);
                        }
                    }
                    _ => {}
                }
            }
            // Answers to pings: small, and read at once.
            client.stream.write_all(&out)?;
        }
        Ok(())
    }
}

/// The time since the moment that the payload tells, in nanoseconds of the clock.
fn took(payload: &Option<Payload>, clock: Instant, now: Instant) -> Option<Duration> {
    let Some(Payload::Json(json)) = payload else {
        return None;
    };
    let sent = json.as_str().parse().ok().map(Duration::from_nanos)?;
    Some((now - clock).saturating_sub(sent))
}
