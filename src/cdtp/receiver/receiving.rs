//! The thread that owns the sockets of some senders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use smallvec::SmallVec;

use crate::cdtp::RunEvent;
use crate::cdtp::receiver::connections::Connections;
use crate::cdtp::receiver::delivery::Delivery;
use crate::cdtp::receiver::held::{Held, HeldPool, REST};
use crate::cdtp::receiver::queue::Closed;
use crate::cdtp::receiver::redial::Redial;
use crate::cdtp::receiver::state::PeerId;
use crate::cdtp::receiver::stopping::{StopTimes, Stopping};
use crate::zsocket::{self, Endpoint, MonitorEvent, Socket, WakeReceiver, Waker, ZsocketError};

/// What a receiving thread is told.
pub(crate) enum Command {
    /// Reads this socket too, once another one has been read to its end.
    Add {
        id: PeerId,
        socket: Socket,
        endpoint: Endpoint,
        after: Option<PeerId>,
    },
    /// Reads what is there, then closes the socket.
    Remove(PeerId),
    /// Reads what is there, waits for the ends of open runs, ends.
    Stop,
}

/// What a receiving thread owns or shares.
pub(crate) struct Receiving {
    pub(crate) commands: Receiver<Command>,
    pub(crate) waker: Waker,
    pub(crate) wake: WakeReceiver,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) times: Times,
    pub(crate) pool: HeldPool,
    /// Whether a wait ended because a connection did, or was tried again.
    pub(crate) connections_spoke: bool,
    /// Whether the thread ends when its last sender was removed.
    pub(crate) ends_alone: bool,
}

/// How long this and that may take.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) stop: StopTimes,
    pub(crate) remove_grace: Duration,
}

struct Peer {
    id: PeerId,
    socket: Socket,
    endpoint: Endpoint,
    redial: Redial,
    /// The one that is read to its end before.
    after: Option<PeerId>,
    leaving: Option<Leaving>,
}

/// A sender that was removed and may still have something to say.
struct Leaving {
    /// It has, until it is silent up to here; `None` is beyond the clock.
    silent_until: Option<Instant>,
    /// It is closed then in any case.
    end: Option<Instant>,
}

/// Why a thread ended before it was told to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nobody listens any more.
    Closed,
    /// A socket failed.
    Socket(ZsocketError),
}

impl Receiving {
    /// Receives until it was told to stop and is done, or nobody listens any more.
    pub(crate) fn run(mut self) -> Result<(), Ended> {
        self.receive()
    }

    fn receive(&mut self) -> Result<(), Ended> {
        let mut peers: Vec<Peer> = Vec::new();
        let mut events = Vec::new();
        let mut stopping = Stopping::No;
        let mut busy_rounds = 0;
        loop {
            self.obey(&mut peers, &mut stopping);
            let mut quiet = self.read_all(&mut peers, &mut events)?;
            if self.delivery.is_aborted() {
                return Ok(());
            }
            if self.close_left(&mut peers) {
                if peers.is_empty() && self.ends_alone {
                    return Ok(());
                }
                // Another one may be read now.
                quiet = false;
            }
            if stopping != Stopping::No {
                let held_up = peers.iter().any(|peer| peer.after.is_some());
                let open = held_up || self.has_open_run(&peers);
                stopping.step(Instant::now(), self.times.stop, quiet, open);
                if stopping.is_done() {
                    return Ok(());
                }
            }
            busy_rounds += 1;
            if self.connections_spoke || busy_rounds == BUSY_ROUNDS {
                busy_rounds = 0;
                self.connections_spoke = false;
                for peer in &mut peers {
                    peer.look_at_connection()?;
                }
            }
            if quiet || busy_rounds == 0 {
                self.redial(&mut peers)?;
            }
            if quiet {
                self.pool.release();
                let deadline = earliest(&peers, stopping);
                self.rest(&peers, deadline)?;
            }
        }
    }

    fn obey(&mut self, peers: &mut Vec<Peer>, stopping: &mut Stopping) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add {
                    id,
                    socket,
                    endpoint,
                    after,
                } => peers.push(Peer {
                    id,
                    socket,
                    endpoint,
                    redial: Redial::new(),
                    after,
                    leaving: None,
                }),
                Command::Remove(id) => {
                    let now = Instant::now();
                    if let Some(peer) = peers.iter_mut().find(|peer| peer.id == id) {
                        peer.leaving = Some(Leaving {
                            silent_until: now.checked_add(self.times.remove_grace),
                            end: (self.times.stop.drain).and_then(|drain| now.checked_add(drain)),
                        });
                    }
                }
                Command::Stop => stopping.begin(Instant::now(), self.times.stop),
            }
        }
    }

    /// Reads some messages of each socket; true if there was nothing at all.
    fn read_all(&mut self, peers: &mut [Peer], events: &mut Vec<RunEvent>) -> Result<bool, Ended> {
        let mut quiet = true;
        for peer in peers {
            if let Some(before) = peer.after {
                if self.connections.is_leaving(before, &self.waker) {
                    if let Some(leaving) = &mut peer.leaving {
                        leaving.silent_until = Instant::now().checked_add(self.times.remove_grace);
                    }
                    continue;
                }
                peer.after = None;
            }
            if self.read_some(peer, events)? {
                quiet = false;
                if let Some(leaving) = &mut peer.leaving {
                    leaving.silent_until = Instant::now().checked_add(self.times.remove_grace);
                }
            }
        }
        Ok(quiet)
    }

    /// Reads up to [`MESSAGES_AT_ONCE`], so that no sender holds up the others; true if there was one.
    fn read_some(&mut self, peer: &Peer, events: &mut Vec<RunEvent>) -> Result<bool, Ended> {
        let mut bytes = 0;
        for read in 0..MESSAGES_AT_ONCE {
            let mut message = self.pool.take();
            let received = match Arc::get_mut(&mut message) {
                Some(Held { frame, .. }) => {
                    let received = peer.socket.try_recv_into(frame)?;
                    bytes += frame.len();
                    received
                }
                // The pool gives out what nobody else has.
                None => false,
            };
            if !received || self.delivery.is_aborted() {
                self.pool.put_back(message);
                return Ok(read > 0);
            }
            if peer.socket.more() {
                self.pool.put_back(message);
                let frame_count = 1 + peer.socket.skip_rest()?;
                self.delivery.take_frames(peer.id, frame_count)?;
            } else {
                self.delivery
                    .take(peer.id, message, &mut self.pool, events)?;
            }
            if bytes >= BYTES_AT_ONCE {
                break;
            }
        }
        Ok(true)
    }

    /// Closes the sockets of senders that were removed and have no more to say; true if there was one.
    fn close_left(&self, peers: &mut Vec<Peer>) -> bool {
        if peers.iter().all(|peer| peer.leaving.is_none()) {
            return false;
        }
        let before = peers.len();
        let now = Instant::now();
        peers.retain_mut(|peer| {
            let Some(leaving) = &peer.leaving else {
                return true;
            };
            let is_past = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
            let silent = is_past(leaving.silent_until) || !self.has_open_run_of(peer.id);
            let read = silent && peer.after.is_none() && !peer.has_more();
            if !read && !is_past(leaving.end) {
                return true;
            }
            // It may have been added again meanwhile, and then stays.
            peer.leaving = None;
            !self.connections.forget_left(peer.id)
        });
        peers.len() < before
    }

    /// Connects anew where libzmq has given up, once all that had come is read.
    fn redial(&mut self, peers: &mut [Peer]) -> Result<(), Ended> {
        for peer in peers {
            let Some(due) = peer.redial.due().filter(|_| peer.after.is_none()) else {
                continue;
            };
            let now = Instant::now();
            // Messages that wait would go with the connection.
            if now < due || peer.has_more() {
                continue;
            }
            // libzmq may have said meanwhile that it tries again.
            peer.look_at_connection()?;
            if peer.redial.due() != Some(due) {
                continue;
            }
            peer.redial.done(now);
            self.delivery.cut_off(peer.id)?;
            if let Err(error) = peer.connect_anew() {
                log::warn!("{} is not connected again yet: {error}", peer.endpoint);
                peer.redial.ended(now);
            }
        }
        Ok(())
    }

    /// Waits for something to do; gives memory back when that takes long.
    fn rest(&mut self, peers: &[Peer], deadline: Option<Instant>) -> Result<(), Ended> {
        if !self.pool.holds() {
            return self.wait(peers, deadline).map(|_| ());
        }
        let rested = Instant::now() + REST;
        let first = deadline.map_or(rested, |deadline| deadline.min(rested));
        if self.wait(peers, Some(first))? && first == rested {
            self.pool.let_go();
        }
        Ok(())
    }

    /// True if nothing came until the deadline.
    fn wait(&mut self, peers: &[Peer], deadline: Option<Instant>) -> Result<bool, Ended> {
        let readable = peers.iter().filter(|peer| peer.after.is_none());
        let mut sockets: SmallVec<[&Socket; 16]> = readable.map(|peer| &peer.socket).collect();
        let readable = sockets.len();
        for peer in peers {
            sockets.push(peer.socket.monitor_ends()?.socket());
        }
        let ready = zsocket::wait(&sockets, Some(&self.wake), deadline)?;
        if ready.woken() {
            self.wake.drain();
        }
        self.connections_spoke |= (readable..sockets.len()).any(|index| ready.socket(index));
        let came = ready.woken() || (0..sockets.len()).any(|index| ready.socket(index));
        Ok(!came)
    }

    fn has_open_run(&self, peers: &[Peer]) -> bool {
        let state = self.delivery.state();
        state
            .open_runs()
            .any(|(_, open)| peers.iter().any(|peer| peer.id == open))
    }

    fn has_open_run_of(&self, id: PeerId) -> bool {
        let state = self.delivery.state();
        state.open_runs().any(|(_, open)| open == id)
    }
}

impl Peer {
    fn look_at_connection(&mut self) -> Result<(), ZsocketError> {
        for event in self.socket.monitor_ends()?.events()? {
            match event {
                MonitorEvent::Disconnected => self.redial.ended(Instant::now()),
                MonitorEvent::ConnectRetried(_) => self.redial.retried(),
                _ => {}
            }
        }
        Ok(())
    }

    fn connect_anew(&self) -> Result<(), ZsocketError> {
        // What is left of the old connection: with both, the sender would share out its messages.
        match self.socket.disconnect(&self.endpoint) {
            Ok(()) | Err(ZsocketError::NotAttached { .. }) => {}
            Err(error) => return Err(error),
        }
        self.socket.connect(&self.endpoint)
    }

    fn has_more(&self) -> bool {
        self.socket.readable().unwrap_or(false)
    }
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<ZsocketError> for Ended {
    fn from(error: ZsocketError) -> Self {
        Self::Socket(error)
    }
}

fn earliest(peers: &[Peer], stopping: Stopping) -> Option<Instant> {
    let leaving = peers.iter().filter_map(|peer| peer.leaving.as_ref());
    // One that is held up is looked at when it may be read.
    let redials = peers.iter().filter(|peer| peer.after.is_none());
    leaving
        .flat_map(|leaving| [leaving.silent_until, leaving.end])
        .chain(redials.map(|peer| peer.redial.due()))
        .chain([stopping.deadline()])
        .flatten()
        .min()
}

/// Rounds without a rest, after which the connections are looked at nevertheless.
const BUSY_ROUNDS: u32 = 64;

/// Messages of one socket before the next one has its turn.
const MESSAGES_AT_ONCE: usize = 64;

/// Bytes of one socket before the next one has its turn.
const BYTES_AT_ONCE: usize = 4 << 20;
