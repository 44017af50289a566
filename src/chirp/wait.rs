//! Waiting for a datagram, for another thread and for a moment, all at once.

use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::wake::{WakeReceiver, poll_until};

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
    let wake_item = PollFd::from_borrowed_fd(wake.descriptor(), PollFlags::IN);
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
    if !poll_until(items, deadline)? {
        return Ok(false);
    }
    if !items[0].revents().is_empty() {
        wake.drain();
    }
    Ok(items.get(1).is_some_and(|item| !item.revents().is_empty()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wake::wake_pair;

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
