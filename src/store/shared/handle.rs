//! A store on disk, whoever owns it: this process or another one.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, EventId, Events, QueryParams, Timestamp};
use crate::store::{
    Backend, Callbacks, CheckSummary, Damage, RedbBackend, Repair, StoreConfig, StoreError,
    StoreStats,
};

use super::access::Access;
use super::follower::{FollowOptions, Follower};
use super::settings;

/// Opens the store in a directory, or connects to the process that has it open.
///
/// As [`StoreHandle::open`], for a caller who has all options at hand; `None` for the configuration takes the one that the store
/// was opened with before, or else the default.
///
/// # Errors
/// As [`StoreHandle::open`].
pub fn open(
    dir: &Path,
    config: Option<StoreConfig>,
    callbacks: Callbacks,
) -> Result<Arc<StoreHandle>, StoreError> {
    let options = OpenOptions {
        config,
        callbacks,
        ..OpenOptions::default()
    };
    StoreHandle::open(dir, options).map(Arc::new)
}

/// How a store directory is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// What is kept, and how. Defaults to `None`: as the store was opened before, `store.json` in its directory says how.
    ///
    /// One that is given replaces that file. It has no effect while another process has the store open.
    pub config: Option<StoreConfig>,
    /// Whether the store is made where there is none. Defaults to true.
    pub create: bool,
    /// Whom this process tells while it owns the store; [`StoreHandle::follow`] works in both roles. Defaults to nobody.
    pub callbacks: Callbacks,
    /// How long to try while the owner is neither reached nor gone. Defaults to 5 s; zero tries once.
    pub patience: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            config: None,
            create: true,
            callbacks: Callbacks::default(),
            patience: Duration::from_secs(5),
        }
    }
}

impl OpenOptions {
    /// Sets [`config`](Self::config).
    #[must_use]
    pub fn config(mut self, config: impl Into<Option<StoreConfig>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets [`create`](Self::create).
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets [`callbacks`](Self::callbacks).
    #[must_use]
    pub fn callbacks(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// Sets [`patience`](Self::patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// A store on disk that several processes use at a time.
///
/// The first one that opens the directory owns it: it has the database open, and listens at `DIR/store.sock`, which only its user
/// can reach. All others ask it. When the owner ends, however it ends, the next call of a guest makes that guest the owner, or the
/// guest of whoever was faster; the call only takes longer. What a killed owner had not flushed is lost as always in periodic mode.
///
/// All methods of [`Backend`] work in both roles and keep their promises. Dropping the handle closes the store, if it is the owner.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, EventType, QueryLatestParams, Timestamp};
/// use acqbus::store::{Backend, FollowOptions, OpenOptions, StoreHandle};
/// use std::sync::Arc;
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("history");
/// let owner = StoreHandle::open(&dir, OpenOptions::default())?;
/// let guest = StoreHandle::open(&dir, OpenOptions::default())?; // as well in another process
/// assert!(owner.is_owner() && !guest.is_owner());
///
/// let follower = owner.follow(&FollowOptions::default())?;
/// let id = EventId { server: 1, session: 1, instance: 1 };
/// guest.register(vec![Arc::new(Event::new(id, EventType::new(["door"]), Timestamp::now()))].into())?;
/// assert_eq!(owner.query(&QueryLatestParams::default().into())?.events[0].id, id);
/// follower.news().recv()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoreHandle {
    access: Arc<Access>,
}

impl StoreHandle {
    /// Opens the directory as its owner, or connects to the owner.
    ///
    /// Blocks while an owner is there and does not let anybody in yet or any more, as long as the options say.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no store and none is to be made; [`StoreError::is_in_use`] when another process
    /// has it open and cannot be reached; [`StoreError::is_configuration`]; or what opening gave.
    pub fn open(dir: impl AsRef<Path>, options: OpenOptions) -> Result<Self, StoreError> {
        let access = Arc::new(Access::open(dir, options)?);
        Ok(Self { access })
    }

    /// Makes a store that is too damaged to be opened one that can be, as [`RedbBackend::repair`] does.
    ///
    /// `None` for the configuration takes the one that the store was opened with before, or else the default.
    ///
    /// # Errors
    /// As [`RedbBackend::repair`]; what reading `store.json` gave.
    pub fn repair(
        dir: impl AsRef<Path>,
        config: Option<StoreConfig>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Repair, StoreError> {
        let dir = dir.as_ref();
        let config = match config {
            Some(config) => config,
            None => settings::read(dir)?.unwrap_or_default(),
        };
        RedbBackend::repair(dir, config, report)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.access.dir()
    }

    /// Whether this process has the store open; it may become so at any call.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.access.is_owner()
    }

    /// Follows the store: what [`FollowOptions`] want of the past, then everything as it comes, without a gap and without a double.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; [`StoreError::Thread`]; what reaching the store gave. What reading of the past gives is
    /// told by [`Follower::failure`].
    pub fn follow(&self, options: &FollowOptions) -> Result<Follower, StoreError> {
        Follower::start(Arc::clone(&self.access), options.clone())
    }

    /// What the store holds.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what reading gave.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        self.access.stats()
    }

    /// Verifies everything that is stored, tells each damage, and goes on past it.
    ///
    /// # Errors
    /// [`StoreError::Closed`], or what kept it from reading on.
    pub fn check(&self, damage: &mut dyn FnMut(Damage)) -> Result<CheckSummary, StoreError> {
        self.access.check(damage)
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle")
            .field("dir", &self.dir())
            .field("is_owner", &self.is_owner())
            .finish_non_exhaustive()
    }
}

impl Backend for StoreHandle {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.access.last_event_id(server)
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.access.last_timestamp(server)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        self.access.register(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        self.access.visit(params, visit)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.access.flush()
    }

    /// Flushes, and gives the store free for another owner; as a guest it takes leave, and flushes only if it has written.
    fn close(&self) -> Result<(), StoreError> {
        self.access.close()
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.access.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.access.session_floor(server)
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("closing the store: {error}");
        }
    }
}
