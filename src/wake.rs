//! How a thread that waits in a system call is woken by another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Wakes the thread that waits with the other half; clones wake the same one.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

/// The half that is waited for.
pub struct WakeReceiver {
    shared: Arc<Shared>,
    #[cfg(not(target_os = "linux"))]
    receiver: OwnedFd,
}

/// Makes a waker and the half to wait for.
///
/// # Errors
/// Where the process has no descriptor left.
pub(crate) fn wake_pair() -> io::Result<(Waker, WakeReceiver)> {
    #[cfg(target_os = "linux")]
    {
        use rustix::event::{EventfdFlags, eventfd};
        let sender = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            pending: AtomicBool::new(false),
            sender,
        });
        Ok((
            Waker {
                shared: Arc::clone(&shared),
            },
            WakeReceiver { shared },
        ))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let (sender, receiver) = std::os::unix::net::UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            pending: AtomicBool::new(false),
            sender: sender.into(),
        });
        Ok((
            Waker {
                shared: Arc::clone(&shared),
            },
            WakeReceiver {
                shared,
                receiver: receiver.into(),
            },
        ))
    }
}

impl Waker {
    /// Wakes the waiting thread, or its next wait, without ever blocking.
    ///
    /// While a wake is pending, another one costs one atomic operation.
    ///
    /// What this thread wrote before is visible to the other after its [`WakeReceiver::drain`].
    pub fn wake(&self) {
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        // Eight bytes, as an eventfd wants. It cannot be full: only one wake is pending at a time.
        while let Err(Errno::INTR) = rustix::io::write(&self.shared.sender, &1u64.to_ne_bytes()) {}
    }
}

impl WakeReceiver {
    /// Takes the pending wakes together; look at what they announce after this, not before.
    pub fn drain(&self) {
        let mut buffer = [0u8; 64];
        // First the descriptor, then the flag: in the other order a wake between the two would be
        // lost for good.
        while let Err(Errno::INTR) = rustix::io::read(self.descriptor(), &mut buffer) {}
        self.shared.pending.swap(false, Ordering::AcqRel);
    }

    /// Whether a wake was not taken yet; its byte may still be on the way to the descriptor.
    pub(crate) fn is_pending(&self) -> bool {
        self.shared.pending.load(Ordering::Acquire)
    }

    /// Readable while a wake is pending.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        #[cfg(target_os = "linux")]
        let descriptor = &self.shared.sender;
        #[cfg(not(target_os = "linux"))]
        let descriptor = &self.receiver;
        descriptor.as_fd()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

impl fmt::Debug for WakeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakeReceiver")
    }
}

/// Blocks until one of the items is ready, or the deadline has come: `false`; signals do not end it.
///
/// # Errors
/// What the system says.
#[inline]
pub(crate) fn poll_until(items: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left.min(LONGEST)).unwrap_or_default());
        match poll(items, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left <= LONGEST) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

struct Shared {
    pending: AtomicBool,
    sender: OwnedFd,
}

/// The longest wait of one system call; a longer one goes on with another.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
