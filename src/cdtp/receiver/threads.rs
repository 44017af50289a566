//! The receiving threads of one receiver: one for all senders, or one each.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

use crate::cdtp::CdtpError;
use crate::cdtp::receiver::connections::Connections;
use crate::cdtp::receiver::delivery::Delivery;
use crate::cdtp::receiver::held::HeldPool;
use crate::cdtp::receiver::queue::Queue;
use crate::cdtp::receiver::receiving::{Command, Ended, Receiving, Times};
use crate::cdtp::receiver::state::PeerId;
use crate::zsocket::{Waker, wake_pair};

/// What all threads of a receiver share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) outcome: Arc<Mutex<Outcome>>,
    /// The way to the iterator, where there is one.
    pub(crate) queue: Option<Arc<Queue>>,
    pub(crate) times: Times,
    /// How many messages each thread keeps to use again.
    pub(crate) pool_limit: usize,
}

/// How the receiving ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What ended it before its time.
    pub(crate) failure: Option<CdtpError>,
    /// Senders whose run was open at the end.
    pub(crate) unended: Vec<String>,
}

/// The way to a thread: commands, and what makes it look at them.
pub(crate) struct Control {
    commands: Sender<Command>,
    /// The thread that only waits for commands needs none.
    waker: Option<Waker>,
}

impl Control {
    /// Never blocks. Commands wait while the listener is slow; there are few of them, for each socket one to add it and one to
    /// remove it.
    ///
    /// False: the thread has ended, and needs no command.
    pub(crate) fn send(&self, command: Command) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.wake();
        sent
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

/// Starts one thread that reads all sockets.
pub(crate) fn start_one(shared: Shared) -> Result<(Control, JoinHandle<()>), CdtpError> {
    let (control, receiving) = prepare(&shared, false)?;
    let handle = spawn("acqbus-receiver", move || {
        let end = End::of(&shared);
        end.note(receiving.run());
        finish(&shared);
    })?;
    Ok((control, handle))
}

/// Starts one thread that starts another for each socket.
pub(crate) fn start_each(shared: Shared) -> Result<(Control, JoinHandle<()>), CdtpError> {
    let (commands, received) = unbounded();
    let handle = spawn("acqbus-receiver", move || {
        let _end = End::of(&shared);
        Workers::default().run(&shared, &received);
        finish(&shared);
    })?;
    let control = Control {
        commands,
        waker: None,
    };
    Ok((control, handle))
}

/// Whether the calling thread is one of the threads of this receiver.
pub(crate) fn is_inside(delivery: &Arc<Delivery>) -> bool {
    INSIDE.get() == Arc::as_ptr(delivery).addr()
}

#[derive(Default)]
struct Workers(Vec<Worker>);

struct Worker {
    id: PeerId,
    control: Control,
    handle: JoinHandle<()>,
}

impl Workers {
    fn run(&mut self, shared: &Shared, commands: &Receiver<Command>) {
        for command in commands {
            match command {
                Command::Add { id, .. } => {
                    self.0.retain(|worker| !worker.handle.is_finished());
                    if let Err(error) = self.add(shared, id, command) {
                        shared.connections.forget(id);
                        shared.outcome.lock().failure.get_or_insert(error);
                    }
                }
                Command::Remove(id) => {
                    for worker in self.0.iter().filter(|worker| worker.id == id) {
                        worker.control.send(Command::Remove(id));
                    }
                }
                Command::Stop => break,
            }
        }
        for worker in &self.0 {
            worker.control.send(Command::Stop);
        }
        for worker in self.0.drain(..) {
            // A panic in it was noted by itself.
            let _ = worker.handle.join();
        }
    }

    fn add(&mut self, shared: &Shared, id: PeerId, command: Command) -> Result<(), CdtpError> {
        let (control, receiving) = prepare(shared, true)?;
        control.send(command);
        let shared = shared.clone();
        let handle = spawn("acqbus-receive", move || {
            let end = End::of(&shared);
            end.note(receiving.run());
            // However it ended: the sender may be added again.
            shared.connections.forget(id);
        })?;
        self.0.push(Worker {
            id,
            control,
            handle,
        });
        Ok(())
    }
}

/// Notes how a thread ends, a panic of the handler too.
struct End(Shared);

impl End {
    fn of(shared: &Shared) -> Self {
        INSIDE.set(Arc::as_ptr(&shared.delivery).addr());
        Self(shared.clone())
    }

    fn note(&self, ended: Result<(), Ended>) {
        let failure = match ended {
            Ok(()) => return,
            Err(Ended::Closed) if self.0.delivery.is_aborted() => return,
            Err(Ended::Closed) => CdtpError::NobodyListens,
            Err(Ended::Socket(error)) => CdtpError::Socket(error),
        };
        self.0.outcome.lock().failure.get_or_insert(failure);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            // Nothing may be told to a handler that has panicked.
            self.0.delivery.abort();
            let failure = CdtpError::HandlerPanicked;
            self.0.outcome.lock().failure.get_or_insert(failure);
            if let Some(queue) = &self.0.queue {
                queue.end();
            }
        }
    }
}

/// Ends what the senders did not end, and then the iterator.
fn finish(shared: &Shared) {
    if !shared.delivery.is_aborted() {
        let silent: Vec<_> = {
            let state = shared.delivery.state();
            state.silent_senders().map(ToString::to_string).collect()
        };
        if !silent.is_empty() {
            log::warn!("nothing was received from {}", silent.join(", "));
        }
        let unended = shared.delivery.substitute_open_runs();
        shared.outcome.lock().unended = unended;
    }
    if let Some(queue) = &shared.queue {
        queue.end();
    }
}

fn prepare(shared: &Shared, ends_alone: bool) -> Result<(Control, Receiving), CdtpError> {
    let (waker, wake) = wake_pair()?;
    let (commands, received) = unbounded();
    let receiving = Receiving {
        commands: received,
        waker: waker.clone(),
        wake,
        delivery: Arc::clone(&shared.delivery),
        connections: Arc::clone(&shared.connections),
        times: shared.times,
        pool: HeldPool::new(shared.pool_limit),
        connections_spoke: false,
        ends_alone,
    };
    let control = Control {
        commands,
        waker: Some(waker),
    };
    Ok((control, receiving))
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, CdtpError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| CdtpError::Thread { name, source })
}

thread_local! {
    /// The receiver that the thread receives for, by the address of what its threads share; 0 is none.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}
