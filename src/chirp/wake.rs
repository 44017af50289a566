//! Waiting for a datagram, for another thread and for a moment, all at once.

use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Wakes the thread that waits with the other half.
#[derive(Debug)]
pub(super) struct Waker(UnixStream);

/// The half to wait with.
#[derive(Debug)]
pub(super) struct WakeReceiver(UnixStream);

pub(super) fn wake_pair() -> io::Result<(Waker, WakeReceiver)> {
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    Ok((Waker(sender), WakeReceiver(receiver)))
}

impl Waker {
    /// Wakes the thread, or its next wait, without ever blocking.
    pub(super) fn wake(&self) {
        // It fails only where so many wakes are pending that one more says nothing.
        let _ = (&self.0).write(&[1]);
    }
}

impl WakeReceiver {
    /// Takes the pending wakes together; look at what they announce after this, not before.
    fn drain(&self) {
        let mut buffer = [0; 256];
        while matches!((&self.0).read(&mut buffer), Ok(length) if length == buffer.len()) {}
    }
}

/// Blocks until a datagram can be read, the waker is used, or the deadline has come; says whether it was a datagram.
///
/// Without a socket, only the other two end it; without a deadline, it may last for ever.
pub(super) fn wait(
    socket: Option<&UdpSocket>,
    wake: &WakeReceiver,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let mut both;
    let mut one;
    let wake_item = PollFd::new(&wake.0, PollFlags::IN);
    let items: &mut [PollFd<'_>] = match socket {
        Some(socket) => {
            both = [wake_item, PollFd::new(socket, PollFlags::IN)];
            &mut both
        }
        None => {
            one = [wake_item];
            &mut one
        }
    };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left.min(LONGEST)).unwrap_or_default());
        match poll(items, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left <= LONGEST) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    if !items[0].revents().is_empty() {
        wake.drain();
    }
    Ok(items.get(1).is_some_and(|item| !item.revents().is_empty()))
}

/// The longest wait of one system call; a longer one goes on with another.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_before_the_wait_count_once() {
        let (waker, receiver) = wake_pair().unwrap();
        for _ in 0..1000 {
            waker.wake();
        }
        assert!(!wait(None, &receiver, None).unwrap());
        let deadline = Instant::now() + Duration::from_millis(1);
        assert!(!wait(None, &receiver, Some(deadline)).unwrap());
        assert!(Instant::now() >= deadline, "a wake was left over");
    }

    #[test]
    fn datagram_ends_the_wait() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (_waker, receiver) = wake_pair().unwrap();
        socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        assert!(wait(Some(&socket), &receiver, None).unwrap());
    }
}
