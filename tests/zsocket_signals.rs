//! Signals interrupt every system call that blocks: none of our calls may end, fail or lose a frame
//! by it.
//!
//! A program of its own, without the test harness: the system hands a process's signals to its main
//! thread, so that is the thread that has to block.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::zsocket::{Context, Endpoint, Frame, SocketKind, SocketOptions, wait, wake_pair};
use rustix::process::{Signal, getpid, kill_process};

static HANDLED: AtomicU64 = AtomicU64::new(0);

const SIGNALS: u64 = 100;
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    ctrlc::set_handler(|| {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    })?;
    let context = Context::new()?;
    let options = SocketOptions::default()
        .recv_timeout(Some(LIMIT))
        .send_timeout(Some(LIMIT))
        .linger(Some(Duration::ZERO));
    let pull = context.socket(SocketKind::Pull, &options)?;
    let endpoint = pull.bind(&Endpoint::tcp("127.0.0.1", 0)?)?;
    let push = context.socket(SocketKind::Push, &options)?;
    push.connect(&endpoint)?;

    let interrupting = thread::spawn(move || {
        interrupt();
        push.send_bytes(b"received", false).map(|()| push)
    });
    let mut frame = Frame::new();
    assert!(pull.recv_into(&mut frame)?);
    assert_eq!(&frame[..], b"received");
    drop(interrupting.join().expect("the thread does not panic")?);

    let (waker, receiver) = wake_pair()?;
    let interrupting = thread::spawn(move || {
        interrupt();
        waker.wake();
    });
    let ready = wait(&[&pull], Some(&receiver), Some(Instant::now() + LIMIT))?;
    assert!(ready.woken() && !ready.timed_out());
    interrupting.join().expect("the thread does not panic");

    // Nobody is there to take it until the signals are over.
    let push = context.socket(SocketKind::Push, &options)?;
    let endpoint = push.bind(&Endpoint::tcp("127.0.0.1", 0)?)?;
    let pull = context.socket(SocketKind::Pull, &options)?;
    let interrupting = thread::spawn(move || {
        interrupt();
        pull.connect(&endpoint)?;
        pull.recv_message(1)
    });
    push.send(Frame::from(vec![7; 100_000]), false)?;
    let received = interrupting.join().expect("the thread does not panic")?;
    let received = received.expect("a message in time");
    assert_eq!(received.frames[0][..], [7; 100_000]);

    assert!(HANDLED.load(Ordering::SeqCst) >= 3 * SIGNALS);
    println!("a receive, a wait and a send outlived {SIGNALS} signals each");
    Ok(())
}

/// Sends signals to this process, each after the one before was handled.
fn interrupt() {
    let deadline = Instant::now() + LIMIT;
    for _ in 0..SIGNALS {
        let before = HANDLED.load(Ordering::SeqCst);
        kill_process(getpid(), Signal::INT).expect("a process may signal itself");
        while HANDLED.load(Ordering::SeqCst) == before {
            assert!(
                Instant::now() < deadline,
                "a signal was not handled in time"
            );
            thread::yield_now();
        }
    }
}
