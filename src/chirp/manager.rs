//! The thread that takes part in the discovery.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use crate::chirp::listeners::{Listeners, call};
use crate::chirp::sockets::{Refreshed, Sockets};
use crate::chirp::wait::wait;
use crate::chirp::{
    Beacon, ChirpError, ChirpEvent, ChirpId, ChirpOptions, ChirpState, ChirpStats,
    DiscoveredService, PORT, ServiceId,
};
use crate::wake::{WakeReceiver, Waker, wake_pair};

/// A host that offers services and knows those of others.
///
/// One thread, `acqbus-chirp`, owns the sockets and blocks until a datagram comes, somebody calls, or an answer is due; idle, it
/// uses no measurable CPU. No datagram harms it: the unusable ones are counted. All calls work from any thread and wait for none
/// but [`stop`](Self::stop). Dropping the manager stops it.
///
/// ```
/// use acqbus::chirp::{ChirpManager, ChirpOptions, ServiceId};
///
/// let manager = ChirpManager::start(ChirpOptions::new("lab", "Writer.a"))?;
/// manager.register(ServiceId::Control, 5557)?;
/// let events = manager.subscribe();
/// manager.request(ServiceId::Data)?;
/// assert!(manager.services(Some(ServiceId::Data)).is_empty(), "nobody has answered yet");
///
/// manager.stop(); // tells the others that the service goes
/// assert!(events.recv().is_err(), "no more events");
/// assert!(manager.request(ServiceId::Data).unwrap_err().is_stopped());
/// # Ok::<(), acqbus::chirp::ChirpError>(())
/// ```
pub struct ChirpManager {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
    event_queue: usize,
    host: ChirpId,
}

impl ChirpManager {
    /// Opens the sockets and starts the thread; sends nothing yet.
    ///
    /// An interface that cannot be used is logged as a warning and counted while another one can.
    ///
    /// # Errors
    /// [`ChirpError::NoName`] and [`ChirpError::NotMulticast`] for options that cannot work;
    /// [`ChirpError::UnknownInterface`], [`ChirpError::NoInterface`], [`ChirpError::Interfaces`] and [`ChirpError::Socket`] where
    /// no interface can be used or the port is another program's own; [`ChirpError::Thread`].
    pub fn start(mut options: ChirpOptions) -> Result<Self, ChirpError> {
        check(&options)?;
        let port = match options.port {
            0 => PORT,
            port => port,
        };
        let (sockets, refreshed) = Sockets::open(&options, port)?;
        options.seed.get_or_insert_with(random_seed);
        let mut state = ChirpState::new(&options);
        state.set_local_only(sockets.is_local());
        let (waker, wake) = wake_pair().map_err(|source| ChirpError::Thread { source })?;
        let mut shell = ShellCounts::default();
        shell.refreshed(&sockets, refreshed);
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                state,
                listeners: Listeners::default(),
                shell,
                stopping: false,
            }),
            waker,
        });
        let running = Running {
            shared: Arc::clone(&shared),
            sockets,
            wake,
            rescan: options.rescan.map(|interval| interval.max(SHORTEST_RESCAN)),
        };
        let thread = thread::Builder::new()
            .name("acqbus-chirp".to_owned())
            .spawn(move || running.run())
            .map_err(|source| ChirpError::Thread { source })?;
        Ok(Self {
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
            shared,
            event_queue: options
                .event_queue
                .max(options.max_services)
                .min(EVENT_QUEUE_LIMIT),
            host: ChirpId::of(&options.host),
        })
    }

    /// Offers a service from now on, and says so to all: OFFER.
    ///
    /// A host has one service of each kind; one at another port departs first.
    ///
    /// # Errors
    /// [`ChirpError::NoPort`]; [`ChirpError::Stopped`].
    pub fn register(&self, service: ServiceId, port: u16) -> Result<(), ChirpError> {
        if port == 0 {
            return Err(ChirpError::NoPort { service });
        }
        self.change(|state| state.register(service, port))
    }

    /// Offers a service no more, and says so to all: DEPART. Says whether it was offered.
    ///
    /// # Errors
    /// [`ChirpError::Stopped`].
    pub fn unregister(&self, service: ServiceId) -> Result<bool, ChirpError> {
        self.change(|state| state.unregister(service))
    }

    /// Asks all hosts of the group for a service: REQUEST. Their answers come as events within about 200 ms.
    ///
    /// Calls that come faster than beacons go out share one.
    ///
    /// # Errors
    /// [`ChirpError::Stopped`].
    pub fn request(&self, service: ServiceId) -> Result<(), ChirpError> {
        self.change(|state| state.request(service))
    }

    /// The services of others that are known now, of one kind or, for `None`, of all; in the order of service and host.
    #[must_use]
    pub fn services(&self, service: Option<ServiceId>) -> Vec<DiscoveredService> {
        let inner = self.shared.inner.lock();
        inner
            .state
            .services()
            .filter(|found| service.is_none_or(|service| found.service == service))
            .collect()
    }

    /// The services of this host and their ports.
    #[must_use]
    pub fn registered(&self) -> Vec<(ServiceId, u16)> {
        self.shared.inner.lock().state.registered().collect()
    }

    /// A channel of what comes and goes, which begins with what is known; it ends with the manager.
    ///
    /// A subscriber that lets [`event_queue`](ChirpOptions::event_queue) events pile up misses the next ones, which is counted.
    /// One that was dropped is forgotten with the next event.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<ChirpEvent> {
        let mut inner = self.shared.inner.lock();
        let Inner {
            state,
            listeners,
            stopping,
            ..
        } = &mut *inner;
        let receiver = listeners.subscribe(self.event_queue, state.services());
        if *stopping {
            listeners.clear();
        }
        receiver
    }

    /// Calls `callback` with whatever comes and goes from now on, on the thread of the discovery, which waits for it meanwhile.
    ///
    /// It may call the manager, also [`stop`](Self::stop). A panic in it is counted and goes no further. What is known already,
    /// [`services`](Self::services) tells.
    pub fn on_change(&self, callback: impl Fn(&ChirpEvent) + Send + Sync + 'static) {
        let mut inner = self.shared.inner.lock();
        if !inner.stopping {
            inner.listeners.on_change(Arc::new(callback));
        }
    }

    /// What beacons of this host carry in place of its name.
    #[must_use]
    pub fn host(&self) -> ChirpId {
        self.host
    }

    /// What the manager has counted.
    #[must_use]
    pub fn stats(&self) -> ChirpStats {
        let inner = self.shared.inner.lock();
        inner.shell.add_to(inner.state.stats())
    }

    /// Says DEPART for every service, ends the subscriptions and the thread.
    ///
    /// Blocks until the thread has ended, also where another thread stops it already; called by a callback, it does not wait. Once
    /// stopped, a further call does nothing; what was discovered stays readable.
    pub fn stop(&self) {
        self.shared.inner.lock().stopping = true;
        self.shared.waker.wake();
        if thread::current().id() == self.thread_id {
            return;
        }
        // Held while joining, so that a second call waits for the same end.
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of the discovery panicked; this is a defect of acqbus");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut ChirpState) -> T) -> Result<T, ChirpError> {
        let mut inner = self.shared.inner.lock();
        if inner.stopping {
            return Err(ChirpError::Stopped);
        }
        let result = change(&mut inner.state);
        drop(inner);
        self.shared.waker.wake();
        Ok(result)
    }
}

impl Drop for ChirpManager {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for ChirpManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChirpManager")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

struct Shared {
    inner: Mutex<Inner>,
    waker: Waker,
}

struct Inner {
    state: ChirpState,
    listeners: Listeners,
    shell: ShellCounts,
    stopping: bool,
}

impl Inner {
    fn publish(&mut self, events: &[ChirpEvent]) {
        self.shell.events_lost += self.listeners.publish(events);
    }
}

/// What the state cannot count.
#[derive(Clone, Copy, Default)]
struct ShellCounts {
    sent: u64,
    send_failures: u64,
    receive_failures: u64,
    events_lost: u64,
    callback_panics: u64,
    interface_failures: u64,
    interfaces: usize,
}

impl ShellCounts {
    fn refreshed(&mut self, sockets: &Sockets, refreshed: Refreshed) {
        self.interfaces = sockets.len();
        self.interface_failures += refreshed.failures;
    }

    fn add_to(self, stats: ChirpStats) -> ChirpStats {
        ChirpStats {
            sent: self.sent,
            send_failures: self.send_failures,
            receive_failures: self.receive_failures,
            events_lost: self.events_lost,
            callback_panics: self.callback_panics,
            interface_failures: self.interface_failures,
            interfaces: self.interfaces,
            ..stats
        }
    }
}

/// What the thread owns.
struct Running {
    shared: Arc<Shared>,
    sockets: Sockets,
    wake: WakeReceiver,
    rescan: Option<Duration>,
}

impl Running {
    fn run(mut self) {
        let mut beacons = Vec::new();
        let mut events = Vec::new();
        let mut next_rescan = self.next_rescan();
        // Set while the receive socket is out of order.
        let mut deaf_until = None;
        loop {
            let deadline = {
                let inner = &mut *self.shared.inner.lock();
                if inner.stopping {
                    break;
                }
                let before = events.len();
                inner.state.due(Instant::now(), &mut beacons, &mut events);
                inner.publish(&events[before..]);
                inner.state.next_deadline()
            };
            self.send(&mut beacons);
            self.call_back(&mut events);
            let deadlines = [deadline, next_rescan, deaf_until];
            let earliest = deadlines.into_iter().flatten().min();
            let listening = deaf_until.is_none().then(|| self.sockets.receiver());
            let readable = wait(listening, &self.wake, earliest);
            let now = Instant::now();
            if deaf_until.is_some_and(|until| until <= now) {
                deaf_until = None;
            }
            let heard = match readable {
                Ok(true) => self.receive(&mut events),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            if heard.is_err() {
                self.shared.inner.lock().shell.receive_failures += 1;
                deaf_until = Some(now + DEAF);
            }
            if next_rescan.is_some_and(|due| due <= now) {
                self.refresh();
                next_rescan = self.next_rescan();
            }
        }
        self.depart(&mut beacons);
    }

    /// Takes what has come, but not more than a batch, so that a flood delays no answer.
    fn receive(&self, events: &mut Vec<ChirpEvent>) -> io::Result<()> {
        // More than a beacon, so that what is longer shows as such.
        let mut buffer = [0; Beacon::LEN + 22];
        let inner = &mut *self.shared.inner.lock();
        let now = Instant::now();
        let mut result = Ok(());
        for _ in 0..BATCH {
            match self.sockets.receive(&mut buffer) {
                Ok((length, source)) => {
                    inner.state.handle(now, source, &buffer[..length], events);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // Under the same lock, so that a subscriber sees each service once: as known, or as an event.
        inner.publish(events);
        result
    }

    fn send(&mut self, beacons: &mut Vec<Beacon>) {
        if beacons.is_empty() {
            return;
        }
        let (mut taken, mut failed) = (0, 0);
        for beacon in beacons.drain(..) {
            let interfaces = self.sockets.send(&beacon);
            taken += interfaces as u64;
            failed += (self.sockets.len() - interfaces) as u64;
        }
        let shell = &mut self.shared.inner.lock().shell;
        shell.sent += taken;
        shell.send_failures += failed;
    }

    fn call_back(&self, events: &mut Vec<ChirpEvent>) {
        if events.is_empty() {
            return;
        }
        let callbacks = self.shared.inner.lock().listeners.callbacks();
        let panics = call(&callbacks, events);
        events.clear();
        if panics > 0 {
            self.shared.inner.lock().shell.callback_panics += panics;
        }
    }

    fn refresh(&mut self) {
        let refreshed = self.sockets.refresh();
        let inner = &mut *self.shared.inner.lock();
        inner.shell.refreshed(&self.sockets, refreshed);
        inner.state.set_local_only(self.sockets.is_local());
        if refreshed.new {
            inner.state.repeat();
        }
    }

    fn next_rescan(&self) -> Option<Instant> {
        Instant::now().checked_add(self.rescan?)
    }

    /// The last words. The subscribers' channels end here.
    fn depart(&mut self, beacons: &mut Vec<Beacon>) {
        let listeners = {
            let inner = &mut *self.shared.inner.lock();
            inner.state.unregister_all();
            inner.state.due(Instant::now(), beacons, &mut Vec::new());
            inner.listeners.clear()
        };
        self.send(beacons);
        // Outside the lock: a callback may own what calls the manager when it is dropped.
        drop(listeners);
    }
}

fn check(options: &ChirpOptions) -> Result<(), ChirpError> {
    if options.group.is_empty() {
        return Err(ChirpError::NoName { what: "group" });
    }
    if options.host.is_empty() {
        return Err(ChirpError::NoName { what: "host" });
    }
    if !options.multicast.is_multicast() {
        return Err(ChirpError::NotMulticast {
            address: options.multicast,
        });
    }
    Ok(())
}

/// A delay needs no secret: without the system's random source, the clock does.
fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| crate::time::monotonic_nanoseconds().unsigned_abs())
}

/// Datagrams between two looks at what is due.
const BATCH: usize = 64;

/// Most events that may wait: the channel takes memory for all of them at once.
const EVENT_QUEUE_LIMIT: usize = 1 << 18;

/// How long a receive socket out of order is left alone; it would end every wait at once.
const DEAF: Duration = Duration::from_millis(100);

const SHORTEST_RESCAN: Duration = Duration::from_millis(100);
