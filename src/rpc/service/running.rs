//! What a started service owns: sockets, threads, the context; how they come up and go down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use crate::chirp::ChirpManager;
use crate::rpc::RpcError;
use crate::rpc::answer::RequestLimits;
use crate::rpc::service::admission::Admission;
use crate::rpc::service::binding::Binding;
use crate::rpc::service::delegate::DelegateSlot;
use crate::rpc::service::dispatcher::Dispatcher;
use crate::rpc::service::historian::Historian;
use crate::rpc::service::once::OnceWindow;
use crate::rpc::service::options::RpcOptions;
use crate::rpc::service::outbox::Outbox;
use crate::rpc::service::pending::PendingCommands;
use crate::rpc::service::publisher_state::{Identity, PublisherState};
use crate::rpc::service::publisher_thread::PublisherThread;
use crate::rpc::service::refusals::Refusals;
use crate::rpc::service::stats::Meters;
use crate::rpc::service::tap::Taps;
use crate::time;
use crate::zsocket::{
    Context, Endpoint, SharedKeyRing, Socket, WakeReceiver, Waker, ZapHandler, ZapStats, wake_pair,
};

/// What the handle of a service and its threads share, from before the start until after the stop.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: RpcOptions,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) pending: PendingCommands,
    pub(crate) delegate: Arc<DelegateSlot>,
    pub(crate) taps: Arc<Taps>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) muted: Arc<AtomicBool>,
}

/// Where a service listens.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) subscriber: Vec<Endpoint>,
    pub(crate) command: Vec<Endpoint>,
    pub(crate) epoch: u64,
}

/// What is joined and closed at the stop; in the order in which it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    announcer: Option<ChirpManager>,
    publisher: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
    dispatcher_waker: Waker,
    zap: Option<ZapHandler>,
    context: Context,
}

impl Running {
    /// Binds both ports and starts both threads, or leaves nothing behind.
    pub(crate) fn open(shared: &Shared) -> Result<(Self, Bound), RpcError> {
        let options = &shared.options;
        let context = Context::new()?;
        let keys = options.keys.as_ref().map(SharedKeyRing::open).transpose()?;
        // The handler first: a port that is open before it would let every key in.
        let zap = match &keys {
            Some(keys) => Some(ZapHandler::start(&context, keys.clone())?),
            None => None,
        };
        let binding = Binding::new(&context, options, keys.as_ref())?;
        let (subscriber, publisher_socket) = binding.publisher()?;
        let (command, dispatcher_socket) = binding.dispatcher()?;
        let (publisher_waker, publisher_wake) = wake_pair()?;
        let (dispatcher_waker, dispatcher_wake) = wake_pair()?;
        let admission = |bound: &[Endpoint]| keys.as_ref().map(|keys| Admission::new(keys, bound));
        let (publisher_admission, dispatcher_admission) =
            (admission(&subscriber), admission(&command));
        let epoch = u64::try_from(time::since_1970().as_micros()).unwrap_or(u64::MAX);
        let stopping = Arc::new(AtomicBool::new(false));

        let historian = match &options.history {
            Some(history) => Some(Historian::start(
                Arc::clone(history),
                epoch,
                options.dialect,
                dispatcher_waker.clone(),
            )?),
            None => None,
        };
        let publishing = publisher_thread(
            shared,
            publisher_socket,
            publisher_wake,
            publisher_admission,
            epoch,
        );
        let dispatching = Dispatcher {
            socket: dispatcher_socket,
            wake: dispatcher_wake,
            stopping: Arc::clone(&stopping),
            delegate: Arc::clone(&shared.delegate),
            pending: Arc::new(shared.pending.clone()),
            once: OnceWindow::new(options.once_entries.max(1), options.once_window),
            meters: Arc::clone(&shared.meters),
            refusals: Refusals::new("command", &shared.meters),
            historian,
            admission: dispatcher_admission,
            admin_commands: options.admin_commands.clone(),
            limits: RequestLimits::default()
                .with_bytes(options.max_command_bytes)
                .with_depth(options.max_depth),
            dialect: options.dialect,
        };
        let publisher = spawn("acqbus-publisher", move || publishing.run())?;
        shared.outbox.open(publisher_waker);
        let dispatcher = match spawn("acqbus-dispatcher", move || dispatching.run()) {
            Ok(dispatcher) => dispatcher,
            Err(error) => {
                shared.outbox.close();
                join(publisher);
                shared.outbox.reset();
                return Err(error);
            }
        };
        // Last: whoever finds the service may connect.
        let announcer = options.announce.as_ref().and_then(|announcement| {
            announcement.open(&options.identifier, &subscriber, &command, &shared.meters)
        });
        let running = Self {
            announcer,
            publisher,
            dispatcher,
            stopping,
            dispatcher_waker,
            zap,
            context,
        };
        let bound = Bound {
            subscriber,
            command,
            epoch,
        };
        Ok((running, bound))
    }

    /// Ends both threads: no more commands, then what is queued within the linger, then the context.
    pub(crate) fn close(self, shared: &Shared) {
        // Nobody is to find what is about to go.
        drop(self.announcer);
        self.stopping.store(true, Ordering::Release);
        self.dispatcher_waker.wake();
        join(self.dispatcher);
        shared.pending.abandon_all();
        shared.outbox.close();
        join(self.publisher);
        // Sockets are closed; the context waits for what they linger over, and nobody new may come in meanwhile.
        drop(self.zap);
        drop(self.context);
    }

    /// The thread on which the delegate is called.
    pub(crate) fn dispatcher_thread(&self) -> ThreadId {
        self.dispatcher.thread().id()
    }

    /// What the authenticator decided, where there are keys.
    pub(crate) fn zap_stats(&self) -> Option<ZapStats> {
        self.zap.as_ref().map(ZapHandler::stats)
    }
}

fn publisher_thread(
    shared: &Shared,
    socket: Socket,
    wake: WakeReceiver,
    admission: Option<Admission>,
    epoch: u64,
) -> PublisherThread {
    let identity = Identity {
        identifier: shared.options.identifier.clone(),
        version: shared.options.version.clone(),
        interval: shared.options.heartbeat_interval,
        extras: shared.options.extras,
    };
    PublisherThread {
        socket,
        wake,
        outbox: Arc::clone(&shared.outbox),
        state: PublisherState::new(identity, Instant::now()),
        pending: shared.pending.clone(),
        linger: shared.options.linger,
        given_up: false,
        taps: Arc::clone(&shared.taps),
        meters: Arc::clone(&shared.meters),
        refusals: Refusals::new("subscriber", &shared.meters),
        admission,
        dialect: shared.options.dialect,
        extras: shared.options.extras,
        epoch,
        muted: Arc::clone(&shared.muted),
    }
}

fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RpcError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| RpcError::Thread { name, source })
}

/// Waits for a thread, unless it is the one that asks.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() == thread::current().id() {
        return;
    }
    if thread.join().is_err() {
        log::error!("a thread of the service panicked; this is a defect of acqbus");
    }
}
