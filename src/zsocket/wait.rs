//! Waiting for sockets, for another thread and for a moment, all at once.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::wake::{self, WakeReceiver, Waker, poll_until};
use crate::zsocket::error::ZsocketError;
use crate::zsocket::socket::Socket;

/// Makes a waker and the half to wait for.
///
/// # Errors
/// [`ZsocketError::Other`] if the process has no descriptor left.
///
/// ```
/// use acqbus::zsocket::{wait, wake_pair};
///
/// let (waker, receiver) = wake_pair()?;
/// std::thread::spawn(move || waker.wake());
/// let ready = wait(&[], Some(&receiver), None)?;
/// assert!(ready.woken());
/// receiver.drain();
/// # Ok::<(), acqbus::zsocket::ZsocketError>(())
/// ```
pub fn wake_pair() -> Result<(Waker, WakeReceiver), ZsocketError> {
    wake::wake_pair().map_err(|source| ZsocketError::Other {
        operation: "making a waker",
        source,
    })
}

/// What a [`wait`] ended with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    sockets: [u64; WORDS],
    woken: bool,
}

impl Ready {
    /// Whether the socket at this place of the list has something to receive, or takes what was to be sent.
    #[must_use]
    pub fn socket(&self, index: usize) -> bool {
        index < MAX_SOCKETS && self.sockets[index / 64] & (1 << (index % 64)) != 0
    }

    /// Whether any socket has something to receive.
    #[must_use]
    pub fn any_socket(&self) -> bool {
        self.sockets != [0; WORDS]
    }

    /// Whether the waker was used; call [`WakeReceiver::drain`] then.
    #[must_use]
    pub fn woken(&self) -> bool {
        self.woken
    }

    /// Whether only the deadline ended the wait.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        !self.any_socket() && !self.woken
    }

    fn mark(&mut self, index: usize) {
        self.sockets[index / 64] |= 1 << (index % 64);
    }
}

/// Blocks until a socket has something to receive, the waker is used, or the deadline has come.
///
/// A deadline in the past only looks; `None` waits for ever. Signals do not end the wait, and it
/// never returns before the deadline without a reason; it ends up to a millisecond after. No memory
/// is allocated for up to three sockets.
///
/// # Errors
/// [`ZsocketError::Terminated`] once the context is shut down; [`ZsocketError::Unsupported`] for
/// more than 1024 sockets.
pub fn wait(
    sockets: &[&Socket],
    wake: Option<&WakeReceiver>,
    deadline: Option<Instant>,
) -> Result<Ready, ZsocketError> {
    if sockets.len() > MAX_SOCKETS {
        return Err(ZsocketError::Unsupported {
            operation: "waiting for more than 1024 sockets",
        });
    }
    let mut ready = Ready::default();
    for (index, socket) in sockets.iter().enumerate() {
        // What a socket has received does not show on its descriptor any more.
        if !socket.is_drained() && socket.readable()? {
            ready.mark(index);
        }
    }
    if ready.any_socket() {
        ready.woken = wake.is_some_and(WakeReceiver::is_pending);
        return Ok(ready);
    }
    let count = sockets.len() + usize::from(wake.is_some());
    let mut items = descriptors(sockets, wake)
        .map(|descriptor| Ok(PollFd::from_borrowed_fd(descriptor?, PollFlags::IN)));
    match items.next().transpose()? {
        Some(first) if count <= INLINE_ITEMS => {
            // Those beyond `count` are not polled.
            let mut inline: [_; INLINE_ITEMS] = std::array::from_fn(|_| first.clone());
            for (place, item) in inline.iter_mut().skip(1).zip(items) {
                *place = item?;
            }
            block(&mut inline[..count], sockets, deadline, Socket::readable)
        }
        first => {
            let all = first.into_iter().map(Ok).chain(items);
            let mut all = all.collect::<Result<Vec<_>, ZsocketError>>()?;
            block(&mut all, sockets, deadline, Socket::readable)
        }
    }
}

/// As [`wait`], for one socket that is to send: blocks until it takes a message, not until it has one.
///
/// # Errors
/// As [`wait`].
pub fn wait_to_send(
    socket: &Socket,
    wake: &WakeReceiver,
    deadline: Option<Instant>,
) -> Result<Ready, ZsocketError> {
    // Asked before every block: the descriptor shows a change only, and not twice.
    if socket.writable()? {
        let mut ready = Ready::default();
        ready.mark(0);
        ready.woken = wake.is_pending();
        return Ok(ready);
    }
    let mut items = [
        PollFd::from_borrowed_fd(socket.descriptor()?, PollFlags::IN),
        PollFd::from_borrowed_fd(wake.descriptor(), PollFlags::IN),
    ];
    block(&mut items, &[socket], deadline, Socket::writable)
}

/// As [`wait`], for a publisher that drops nothing: blocks until a subscriber may have room again, has come or has gone.
///
/// To be called directly behind a [`Socket::try_send`] that was refused: a call in between could take what is waited for. The
/// message may be refused again.
///
/// # Errors
/// As [`wait`].
pub fn wait_for_room(
    publisher: &Socket,
    wake: &WakeReceiver,
    deadline: Option<Instant>,
) -> Result<Ready, ZsocketError> {
    let mut items = [
        PollFd::from_borrowed_fd(publisher.descriptor()?, PollFlags::IN),
        PollFd::from_borrowed_fd(wake.descriptor(), PollFlags::IN),
    ];
    // A publisher is writable at all times by its own word; any change is worth a try.
    block(&mut items, &[publisher], deadline, |publisher| {
        publisher.readable().map(|_| true)
    })
}

fn descriptors<'a>(
    sockets: &'a [&'a Socket],
    wake: Option<&'a WakeReceiver>,
) -> impl Iterator<Item = Result<BorrowedFd<'a>, ZsocketError>> {
    let of_sockets = sockets.iter().map(|socket| socket.descriptor());
    of_sockets.chain(wake.map(|wake| Ok(wake.descriptor())))
}

/// Blocks on drained sockets: their descriptors show when libzmq has something to say to them.
///
/// One system call where `zmq_poll` makes three, which is a part of what a command and an event take.
fn block(
    items: &mut [PollFd<'_>],
    sockets: &[&Socket],
    deadline: Option<Instant>,
    wanted: fn(&Socket) -> Result<bool, ZsocketError>,
) -> Result<Ready, ZsocketError> {
    loop {
        let in_time = poll_until(items, deadline).map_err(|source| ZsocketError::Other {
            operation: "wait",
            source,
        })?;
        if !in_time {
            return Ok(Ready::default());
        }
        let mut ready = Ready::default();
        for (index, item) in items.iter().enumerate() {
            if item.revents().is_empty() {
                continue;
            }
            match sockets.get(index) {
                // It may have been something else than a message, as a peer that came or went.
                Some(socket) if wanted(socket)? => ready.mark(index),
                Some(_) => {}
                None => ready.woken = true,
            }
        }
        if !ready.timed_out() {
            return Ok(ready);
        }
    }
}

/// As many as a context has.
const MAX_SOCKETS: usize = 64 * WORDS;
const WORDS: usize = 16;
const INLINE_ITEMS: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    #[test]
    fn wakes_before_the_wait_count_once() {
        let (waker, receiver) = wake_pair().unwrap();
        for _ in 0..10 {
            waker.wake();
        }
        assert!(wait(&[], Some(&receiver), None).unwrap().woken());
        receiver.drain();
        let ready = wait(&[], Some(&receiver), Some(Instant::now())).unwrap();
        assert!(ready.timed_out());
        waker.clone().wake();
        assert!(wait(&[], Some(&receiver), None).unwrap().woken());
    }

    #[test]
    fn wait_lasts_until_the_deadline_even_below_a_millisecond() {
        for micros in [1, 300, 1500] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            assert!(wait(&[], None, Some(deadline)).unwrap().timed_out());
            assert!(Instant::now() >= deadline);
        }
    }

    #[test]
    fn socket_to_send_with_waits_for_a_peer_and_for_room() {
        use crate::zsocket::{Context, Endpoint, SocketKind, SocketOptions};

        let (waker, receiver) = wake_pair().unwrap();
        let context = Context::new().unwrap();
        let options = SocketOptions::default().send_hwm(1).recv_hwm(1);
        let push = context.socket(SocketKind::Push, &options).unwrap();
        let endpoint = push.bind(&Endpoint::tcp("127.0.0.1", 0).unwrap()).unwrap();
        let soon = Some(Instant::now() + Duration::from_millis(20));
        assert!(wait_to_send(&push, &receiver, soon).unwrap().timed_out());
        waker.wake();
        let ready = wait_to_send(&push, &receiver, None).unwrap();
        assert!(ready.woken() && !ready.socket(0));
        receiver.drain();

        let pull = context.socket(SocketKind::Pull, &options).unwrap();
        pull.connect(&endpoint).unwrap();
        let bytes = vec![7; 1 << 20];
        let sender = std::thread::spawn(move || {
            let deadline = Some(Instant::now() + Duration::from_secs(20));
            let mut waits = 0;
            for _ in 0..50 {
                while push.try_send_bytes(&bytes, false).is_err() {
                    let ready = wait_to_send(&push, &receiver, deadline).unwrap();
                    assert!(ready.socket(0));
                    waits += 1;
                }
            }
            waits
        });
        for _ in 0..50 {
            assert!(pull.recv_message(1).unwrap().is_some());
        }
        assert!(sender.join().unwrap() > 0);
    }

    #[test]
    fn publisher_that_drops_nothing_waits_for_its_slowest_subscriber() {
        use crate::zsocket::{Context, Endpoint, SocketKind, SocketOptions};

        let (_waker, receiver) = wake_pair().unwrap();
        let context = Context::new().unwrap();
        let options = SocketOptions::default()
            .send_hwm(2)
            .recv_hwm(2)
            .recv_timeout(Some(Duration::from_secs(20)));
        let of_publisher = options.clone().xpub_verbose(true).xpub_nodrop(true);
        let publisher = context.socket(SocketKind::Xpub, &of_publisher).unwrap();
        let any = Endpoint::tcp("127.0.0.1", 0).unwrap();
        let endpoint = publisher.bind(&any).unwrap();
        let subscribers = [(); 2].map(|()| {
            let subscriber = context.socket(SocketKind::Sub, &options).unwrap();
            subscriber.subscribe(b"").unwrap();
            subscriber.connect(&endpoint).unwrap();
            assert!(publisher.recv_message(1).unwrap().is_some());
            subscriber
        });
        let [slow, fast] = subscribers;
        let quick = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 200 {
                seen += 1;
                assert!(fast.recv_message(2).unwrap().is_some());
            }
            fast
        });
        let bytes = vec![7; 1 << 20];
        let sender = std::thread::spawn(move || {
            let deadline = Some(Instant::now() + Duration::from_secs(20));
            let mut waits = 0;
            for number in 0..200_u8 {
                while publisher.try_send_bytes(&[number], true).is_err() {
                    let ready = wait_for_room(&publisher, &receiver, deadline).unwrap();
                    assert!(ready.socket(0));
                    waits += 1;
                }
                publisher.try_send_bytes(&bytes, false).unwrap();
            }
            (publisher, waits)
        });
        for number in 0..200_u8 {
            let message = slow.recv_message(2).unwrap().unwrap();
            assert_eq!(message.frames[0][..], [number]);
        }
        let (_publisher, waits) = sender.join().unwrap();
        assert!(waits > 0);
        drop(quick.join().unwrap());
    }

    #[test]
    fn every_wake_is_seen_by_a_thread_that_drains() {
        let (waker, receiver) = wake_pair().unwrap();
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            for _ in 0..10_000 {
                counted.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while count.load(Ordering::Relaxed) < 10_000 {
            assert!(wait(&[], Some(&receiver), Some(deadline)).unwrap().woken());
            receiver.drain();
        }
        thread.join().unwrap();
    }
}
