//! Buffers that go out as frames without a copy, and come back when libzmq has sent them.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::wake::Waker;
use crate::zsocket::raw::FrameOwner;

/// Lends buffers that become frames without a copy, and knows how many bytes libzmq still holds.
///
/// Clones share one pool. Once warm it allocates nothing: a buffer that comes back keeps its memory
/// for the next [`take`](Self::take), as long as the idle buffers together stay within twice the limit.
///
/// ```
/// use acqbus::zsocket::{Frame, FramePool};
///
/// let pool = FramePool::new(1 << 20, None);
/// let mut buffer = pool.take(64);
/// buffer.extend_from_slice(b"  head and body");
/// let frame = Frame::from_pooled(buffer, 2);
/// assert_eq!(&frame[..], b"head and body");
/// assert!(pool.bytes_out() >= 15);
/// drop(frame); // a sent frame comes back when libzmq has written it
/// assert_eq!(pool.bytes_out(), 0);
/// ```
#[derive(Clone)]
pub struct FramePool {
    shared: Arc<Shared>,
}

impl FramePool {
    /// A pool that has room for `limit_bytes` out, and keeps up to twice as much idle memory: some wait to go out, too.
    ///
    /// The waker, if any, is used when bytes have come back after a [`has_room`](Self::has_room) that answered no and no more than
    /// three quarters of the limit are out: who waits gets room for many frames at once.
    #[must_use]
    pub fn new(limit_bytes: usize, waker: Option<Waker>) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit_bytes,
                waker,
                bytes_out: AtomicUsize::new(0),
                room_wanted: AtomicBool::new(false),
                idle: Mutex::default(),
            }),
        }
    }

    /// An empty buffer with memory for about this many bytes; never blocks.
    ///
    /// It grows as any vector. Dropped, it goes back to the pool.
    #[must_use]
    pub fn take(&self, len_hint: usize) -> PooledBuffer {
        let idle = self.shared.idle.lock().take();
        let mut home = idle.unwrap_or_default();
        let mut bytes = mem::take(&mut home.bytes);
        bytes.reserve_exact(len_hint);
        home.pool = Some(Arc::clone(&self.shared));
        PooledBuffer {
            bytes,
            home: Some(home),
        }
    }

    /// Bytes of memory behind the frames that libzmq, or whoever holds one, has not let go of.
    #[must_use]
    pub fn bytes_out(&self) -> usize {
        self.shared.bytes_out.load(Ordering::SeqCst)
    }

    /// Whether these bytes may go out besides those that are out already.
    ///
    /// One buffer alone may always go, however large. After a no the waker is used once, when enough bytes have come back: not
    /// with the first that would do, so who cannot wait for long asks again.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits = || {
            let out = self.bytes_out();
            out == 0 || out.saturating_add(bytes) <= self.shared.limit_bytes
        };
        if fits() {
            return true;
        }
        self.shared.room_wanted.store(true, Ordering::SeqCst);
        // What came back before the flag was set has woken nobody.
        fits()
    }
}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePool")
            .field("limit_bytes", &self.shared.limit_bytes)
            .field("bytes_out", &self.bytes_out())
            .finish_non_exhaustive()
    }
}

/// A buffer of a [`FramePool`], to be filled and sent with
/// [`Frame::from_pooled`](crate::zsocket::Frame::from_pooled).
///
/// It is used as the vector that it holds.
pub struct PooledBuffer {
    bytes: Vec<u8>,
    /// There until the buffer goes: into a frame, or back by `Drop`.
    home: Option<Box<Home>>,
}

impl PooledBuffer {
    /// The owner of a frame's memory from now on; its bytes are out.
    pub(super) fn into_owner(mut self) -> Box<Home> {
        let mut home = self.home.take().unwrap_or_default();
        home.bytes = mem::take(&mut self.bytes);
        home.bytes_out = home.bytes.capacity();
        if let Some(pool) = &home.pool {
            pool.bytes_out.fetch_add(home.bytes_out, Ordering::SeqCst);
        }
        home
    }
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(mut home) = self.home.take() {
            home.bytes = mem::take(&mut self.bytes);
            home.release();
        }
    }
}

impl fmt::Debug for PooledBuffer {
    // The length only: a buffer may be large, and may hold what no log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledBuffer({} bytes)", self.bytes.len())
    }
}

/// What travels behind a frame: its memory and where that goes afterwards. Used again with it.
#[derive(Default)]
pub(super) struct Home {
    bytes: Vec<u8>,
    bytes_out: usize,
    /// Absent while the buffer is idle, so that a pool does not keep itself alive.
    pool: Option<Arc<Shared>>,
}

impl FrameOwner for Home {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn release(mut self: Box<Self>) {
        let Some(pool) = self.pool.take() else { return };
        let bytes_out = mem::take(&mut self.bytes_out);
        self.bytes.clear();
        let kept_bytes = pool.limit_bytes.saturating_mul(2);
        pool.idle.lock().put(self, kept_bytes);
        if bytes_out == 0 {
            return;
        }
        let left = pool.bytes_out.fetch_sub(bytes_out, Ordering::SeqCst) - bytes_out;
        if left <= pool.limit_bytes / 4 * 3
            && pool.room_wanted.load(Ordering::SeqCst)
            && pool.room_wanted.swap(false, Ordering::SeqCst)
            && let Some(waker) = &pool.waker
        {
            waker.wake();
        }
    }
}

struct Shared {
    limit_bytes: usize,
    waker: Option<Waker>,
    bytes_out: AtomicUsize,
    room_wanted: AtomicBool,
    idle: Mutex<Idle>,
}

/// Buffers that nobody uses; the one that came last goes first, being in the processor's cache.
#[derive(Default)]
struct Idle {
    homes: Vec<Parked>,
    bytes: usize,
}

struct Parked(Box<Home>);

impl Idle {
    fn take(&mut self) -> Option<Box<Home>> {
        let Parked(home) = self.homes.pop()?;
        self.bytes -= home.bytes.capacity();
        Some(home)
    }

    fn put(&mut self, home: Box<Home>, limit_bytes: usize) {
        let bytes = self.bytes + home.bytes.capacity();
        if bytes <= limit_bytes && self.homes.len() < MAX_IDLE {
            self.bytes = bytes;
            self.homes.push(Parked(home));
        }
    }
}

/// Most idle buffers, so that many empty ones are not kept for ever either.
const MAX_IDLE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::zsocket::{Context, Endpoint, Frame, SocketKind, SocketOptions, wait, wake_pair};

    fn filled(pool: &FramePool, len: usize) -> PooledBuffer {
        let mut buffer = pool.take(len);
        buffer.extend((0..len).map(|at| (at % 251) as u8));
        buffer
    }

    #[test]
    fn frame_has_the_bytes_from_its_start_without_a_copy() {
        let pool = FramePool::new(1 << 20, None);
        for (len, start) in [(0, 0), (1, 0), (1, 1), (40, 7), (100_000, 33)] {
            let buffer = filled(&pool, len);
            let (place, bytes) = (buffer.as_ptr(), buffer.clone());
            let frame = Frame::from_pooled(buffer, start);
            assert_eq!(&frame[..], &bytes[start..], "{len} from {start}");
            if len > start {
                assert_eq!(frame.as_ptr(), place.wrapping_add(start));
            }
        }
        assert_eq!(pool.bytes_out(), 0);
    }

    #[test]
    fn start_beyond_the_end_is_an_empty_frame() {
        let pool = FramePool::new(1 << 20, None);
        assert_eq!(Frame::from_pooled(filled(&pool, 3), 4).len(), 0);
        assert_eq!(pool.bytes_out(), 0);
    }

    #[test]
    fn memory_is_used_again() {
        let pool = FramePool::new(1 << 20, None);
        let buffer = filled(&pool, 5000);
        let place = buffer.as_ptr();
        drop(Frame::from_pooled(buffer, 0));
        let again = pool.take(5000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(again);
        assert_eq!(
            pool.take(1).as_ptr(),
            place,
            "a buffer that is not sent comes back too"
        );
    }

    #[test]
    fn idle_memory_stays_within_the_limit() {
        let pool = FramePool::new(5000, None);
        let buffers: Vec<_> = (0..5).map(|_| filled(&pool, 4000)).collect();
        drop(buffers);
        assert_eq!(pool.shared.idle.lock().homes.len(), 2);
        drop(filled(&pool, 20_000));
        assert!(pool.shared.idle.lock().bytes <= 10_000);
    }

    #[test]
    fn bytes_are_out_until_the_frame_is_gone_and_one_alone_always_fits() {
        let pool = FramePool::new(1000, None);
        assert!(pool.has_room(5000), "nothing is out");
        let large = Frame::from_pooled(filled(&pool, 5000), 0);
        assert!(pool.bytes_out() >= 5000);
        assert!(!pool.has_room(1));
        drop(large);
        assert!(pool.has_room(1));
        let small = Frame::from_pooled(filled(&pool, 500), 0);
        assert!(pool.has_room(1000 - pool.bytes_out()));
        assert!(!pool.has_room(1001 - pool.bytes_out()));
        drop(small);
    }

    #[test]
    fn waker_is_used_when_bytes_come_back_after_a_no() {
        let (waker, receiver) = wake_pair().unwrap();
        let pool = FramePool::new(1000, Some(waker));
        drop(Frame::from_pooled(filled(&pool, 900), 0));
        let now = Some(Instant::now());
        assert!(
            !wait(&[], Some(&receiver), now).unwrap().woken(),
            "nobody asked"
        );
        let frame = Frame::from_pooled(filled(&pool, 900), 0);
        assert!(!pool.has_room(900));
        drop(frame);
        assert!(
            wait(&[], Some(&receiver), Some(Instant::now()))
                .unwrap()
                .woken()
        );
        assert!(pool.has_room(900));
    }

    #[test]
    fn waker_waits_until_a_quarter_of_the_room_is_free() {
        let (waker, receiver) = wake_pair().unwrap();
        let pool = FramePool::new(10_000, Some(waker));
        let mut frames: Vec<_> = (0..10)
            .map(|_| Frame::from_pooled(filled(&pool, 1000), 0))
            .collect();
        assert!(!pool.has_room(1000));
        let woken = || {
            let ready = wait(&[], Some(&receiver), Some(Instant::now())).unwrap();
            ready.woken()
        };
        frames.truncate(8);
        assert!(!woken(), "two came back");
        frames.truncate(7);
        assert!(woken(), "three came back");
        assert!(pool.has_room(1000));
    }

    #[test]
    fn sent_frames_come_back_from_the_thread_of_libzmq() {
        let (waker, receiver) = wake_pair().unwrap();
        let pool = FramePool::new(1 << 20, Some(waker));
        let context = Context::new().unwrap();
        let options = SocketOptions::default().recv_timeout(Some(Duration::from_secs(20)));
        let pull = context.socket(SocketKind::Pull, &options).unwrap();
        let endpoint = pull.bind(&Endpoint::tcp("127.0.0.1", 0).unwrap()).unwrap();
        let push = context.socket(SocketKind::Push, &options).unwrap();
        push.connect(&endpoint).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        for round in 0..200 {
            let buffer = filled(&pool, 100_000);
            while !pool.has_room(buffer.capacity()) {
                let ready = wait(&[], Some(&receiver), Some(deadline)).unwrap();
                assert!(ready.woken(), "round {round}");
                receiver.drain();
            }
            push.send(Frame::from_pooled(buffer, 1), false).unwrap();
            let mut frame = Frame::new();
            assert!(pull.recv_into(&mut frame).unwrap());
            assert_eq!(frame.len(), 99_999);
            assert!(
                frame
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| *byte == ((at + 1) % 251) as u8)
            );
        }
        drop((push, pull, context));
        assert_eq!(pool.bytes_out(), 0, "the context has let go of all");
    }

    #[test]
    fn frame_outlives_its_pool() {
        let pool = FramePool::new(1 << 20, None);
        let frame = Frame::from_pooled(filled(&pool, 3000), 0);
        drop(pool);
        assert_eq!(frame.len(), 3000);
    }
}
