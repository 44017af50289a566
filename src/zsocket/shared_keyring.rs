//! A key ring that follows its directory while a server runs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Mutex, RwLock};

use crate::zsocket::curve::{CurveKeyPair, PublicKey};
use crate::zsocket::error::KeyError;
use crate::zsocket::keyring::{KeyRing, Member, read_members};
use crate::zsocket::zap::{Authenticate, Refusal};

/// A handle of a key ring that reads its directory again whenever it changes.
///
/// It does so on the thread `acqbus-keys`.
///
/// Clones share one ring; the last one stops and joins the thread. A directory that cannot be read
/// leaves the ring as it was, with a warning in the log and a count in
/// [`SharedKeyRing::failed_reload_count`].
#[derive(Clone)]
pub struct SharedKeyRing {
    owner: Arc<Owner>,
}

impl SharedKeyRing {
    /// Reads the directory and begins to follow it.
    ///
    /// # Errors
    /// As [`KeyRing::open`], and [`KeyError::Watch`] if the system cannot report changes.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KeyError> {
        let directory = directory.as_ref();
        // The watcher compares paths, and the directory may be named by a link.
        let directory = directory.canonicalize().map_err(|source| KeyError::Io {
            action: "read",
            path: directory.to_owned(),
            source,
        })?;
        let (changed, changes) = bounded(1);
        // Watched first and read then: a change in between is seen.
        let replaced = Arc::new(AtomicBool::new(false));
        let watcher = watch(&directory, changed, Arc::clone(&replaced))?;
        let ring = KeyRing::open(&directory)?;
        let state = Arc::new(State {
            snapshot: RwLock::new(Arc::new(Snapshot::new(ring.list().to_vec()))),
            callbacks: Mutex::new(Vec::new()),
            next_callback: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        });
        let (stop, stopped) = bounded(0);
        let follower = Follower {
            directory: directory.clone(),
            state: Arc::clone(&state),
            watcher,
            changes,
            replaced,
            stopped,
        };
        let thread = thread::Builder::new()
            .name("acqbus-keys".to_owned())
            .spawn(move || follower.run())
            .map_err(|source| KeyError::Watch {
                path: directory,
                source: source.into(),
            })?;
        Ok(Self {
            owner: Arc::new(Owner {
                server: ring.server().clone(),
                state,
                stop: Some(stop),
                thread: Some(thread),
            }),
        })
    }

    /// Begins to follow the directory of a ring, as [`SharedKeyRing::open`] does.
    ///
    /// # Errors
    /// As [`SharedKeyRing::open`].
    pub fn watch(ring: &KeyRing) -> Result<Self, KeyError> {
        Self::open(ring.directory())
    }

    /// The server's keys, as they were when the ring was opened.
    #[must_use]
    pub fn server(&self) -> &CurveKeyPair {
        &self.owner.server
    }

    /// The owner of a key, unless it is unknown or revoked.
    #[must_use]
    pub fn authorize(&self, key: &PublicKey) -> Option<Arc<Member>> {
        let snapshot = self.snapshot();
        let member = snapshot.by_key.get(key)?;
        (!member.is_revoked()).then(|| Arc::clone(member))
    }

    /// The member of this name, unless unknown or revoked.
    ///
    /// For the [`user_id`](crate::zsocket::Frame::user_id) of a frame.
    #[must_use]
    pub fn member_by_name(&self, name: &str) -> Option<Arc<Member>> {
        let snapshot = self.snapshot();
        let member = snapshot.by_name.get(name)?;
        (!member.is_revoked()).then(|| Arc::clone(member))
    }

    /// Calls back after each change of who may connect, until the answer is dropped.
    ///
    /// It does so on the thread `acqbus-keys`.
    ///
    /// The ring already has the new state. The callback must be quick: the next change waits for
    /// it. One that has begun when the answer is dropped still ends.
    #[must_use = "dropping it ends the calls"]
    pub fn on_change(
        &self,
        callback: impl Fn(&KeyRingChange) + Send + Sync + 'static,
    ) -> ChangeSubscription {
        let state = &self.owner.state;
        let id = state.next_callback.fetch_add(1, Ordering::Relaxed);
        state.callbacks.lock().push((id, Arc::new(callback)));
        ChangeSubscription {
            state: Arc::downgrade(state),
            id,
        }
    }

    /// How often the directory changed and could not be read.
    #[must_use]
    pub fn failed_reload_count(&self) -> u64 {
        self.owner.state.failed_reloads.load(Ordering::Relaxed)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.owner.state.snapshot.read())
    }
}

impl Authenticate for SharedKeyRing {
    fn authenticate(&self, _domain: &str, key: &PublicKey) -> Result<String, Refusal> {
        match self.snapshot().by_key.get(key) {
            None => Err(Refusal::UnknownKey),
            Some(member) if member.is_revoked() => Err(Refusal::RevokedKey),
            Some(member) => Ok(member.name.clone()),
        }
    }
}

impl fmt::Debug for SharedKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyRing")
            .field("server", &self.server().public())
            .field("members", &self.snapshot().by_key.len())
            .finish_non_exhaustive()
    }
}

/// What changed about who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRingChange {
    /// Names whose key was good and is not any more.
    pub revoked: Vec<String>,
    /// Names whose key is good now and was not before.
    pub added: Vec<String>,
    /// Names whose role is another now.
    pub changed_roles: Vec<String>,
}

impl KeyRingChange {
    fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.added.is_empty() && self.changed_roles.is_empty()
    }
}

/// Keeps a callback of [`SharedKeyRing::on_change`] registered; `Drop` removes it.
pub struct ChangeSubscription {
    state: Weak<State>,
    id: u64,
}

impl Drop for ChangeSubscription {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.callbacks.lock().retain(|(id, _)| *id != self.id);
        }
    }
}

impl fmt::Debug for ChangeSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChangeSubscription")
    }
}

struct Owner {
    server: CurveKeyPair,
    state: Arc<State>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The thread ends when the channel has no sender any more.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The last handle may be dropped inside a callback, on that very thread.
            if thread.thread().id() != thread::current().id() {
                // It panics only if a callback did, which has been reported by then.
                let _ = thread.join();
            }
        }
    }
}

type Callback = Arc<dyn Fn(&KeyRingChange) + Send + Sync>;

struct State {
    snapshot: RwLock<Arc<Snapshot>>,
    callbacks: Mutex<Vec<(u64, Callback)>>,
    next_callback: AtomicU64,
    failed_reloads: AtomicU64,
}

/// Who may connect at one moment; revoked members are in it too.
struct Snapshot {
    by_key: HashMap<PublicKey, Arc<Member>>,
    by_name: HashMap<String, Arc<Member>>,
}

impl Snapshot {
    fn new(members: Vec<Member>) -> Self {
        let members: Vec<Arc<Member>> = members.into_iter().map(Arc::new).collect();
        Self {
            by_key: members
                .iter()
                .map(|member| (member.public, Arc::clone(member)))
                .collect(),
            by_name: members
                .into_iter()
                .map(|member| (member.name.clone(), member))
                .collect(),
        }
    }

    /// What is new in `self` against an `old` one.
    fn change_from(&self, old: &Self) -> KeyRingChange {
        let good = |snapshot: &Self, member: &Member| {
            snapshot
                .by_key
                .get(&member.public)
                .is_some_and(|other| other.name == member.name && !other.is_revoked())
        };
        // Good in the one and not in the other.
        let difference = |from: &Self, to: &Self| {
            let mut names: Vec<String> = from
                .by_key
                .values()
                .filter(|member| !member.is_revoked() && !good(to, member))
                .map(|member| member.name.clone())
                .collect();
            names.sort();
            names
        };
        let mut changed_roles: Vec<String> = self
            .by_name
            .values()
            .filter(|member| {
                old.by_name
                    .get(&member.name)
                    .is_some_and(|before| before.role != member.role)
            })
            .map(|member| member.name.clone())
            .collect();
        changed_roles.sort();
        KeyRingChange {
            revoked: difference(old, self),
            added: difference(self, old),
            changed_roles,
        }
    }
}

/// The thread's side.
struct Follower {
    directory: PathBuf,
    state: Arc<State>,
    watcher: RecommendedWatcher,
    /// Something changed in the directory.
    changes: Receiver<()>,
    /// The directory itself came, went or was replaced.
    replaced: Arc<AtomicBool>,
    stopped: Receiver<()>,
}

impl Follower {
    fn run(mut self) {
        loop {
            select! {
                recv(self.stopped) -> _ => return,
                // The watcher and its sender live in `self`, so the channel is open.
                recv(self.changes) -> _ => self.follow(),
            }
        }
    }

    fn follow(&mut self) {
        let replaced = self.replaced.swap(false, Ordering::AcqRel);
        if !self.reload() || replaced {
            // A directory that was replaced is another one for the system, which would report
            // nothing of it.
            let _ = self.watcher.unwatch(&self.directory);
            match self
                .watcher
                .watch(&self.directory, RecursiveMode::NonRecursive)
            {
                // It may have changed before it was watched.
                Ok(()) => drop(self.reload()),
                Err(error) => log::warn!(
                    "cannot watch {}: {error}; a revocation may go unnoticed",
                    self.directory.display()
                ),
            }
        }
    }

    /// Whether the directory could be read.
    fn reload(&self) -> bool {
        let members = match read_members(&self.directory) {
            Ok(members) => members,
            Err(error) => {
                self.state.failed_reloads.fetch_add(1, Ordering::Relaxed);
                log::warn!("keys stay as they were: {error}");
                return false;
            }
        };
        let fresh = Arc::new(Snapshot::new(members));
        let old = std::mem::replace(&mut *self.state.snapshot.write(), Arc::clone(&fresh));
        let change = fresh.change_from(&old);
        if !change.is_empty() {
            log::info!(
                "keys changed: revoked {:?}, added {:?}, other roles {:?}",
                change.revoked,
                change.added,
                change.changed_roles
            );
            // Called without the lock: a callback may end its own subscription.
            let callbacks: Vec<Callback> = self
                .state
                .callbacks
                .lock()
                .iter()
                .map(|(_, callback)| Arc::clone(callback))
                .collect();
            for callback in callbacks {
                callback(&change);
            }
        }
        true
    }
}

fn watch(
    directory: &Path,
    changed: Sender<()>,
    replaced: Arc<AtomicBool>,
) -> Result<RecommendedWatcher, KeyError> {
    let failed = |source: notify::Error| KeyError::Watch {
        path: directory.to_owned(),
        source: source.into(),
    };
    let watched = directory.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let directory_itself = match event {
            Ok(event) if !is_write(&event.kind) => return,
            Ok(event) if event.need_rescan() || event.paths.contains(&watched) => true,
            Ok(event) if event.paths.iter().any(|path| path.starts_with(&watched)) => false,
            // A neighbour of the directory.
            Ok(_) => return,
            Err(_) => true,
        };
        if directory_itself {
            replaced.store(true, Ordering::Release);
        }
        // Full means that the thread will look anyway. To block here would block its calls to the
        // watcher too.
        let _ = changed.try_send(());
    })
    .map_err(failed)?;
    watcher
        .watch(directory, RecursiveMode::NonRecursive)
        .map_err(failed)?;
    // Tells when the directory itself is replaced. Without it, such a change is only seen later.
    if let Some(parent) = directory.parent() {
        let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
    }
    Ok(watcher)
}

/// Whether an event may mean other content; our own reading causes events too.
fn is_write(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => *kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::zsocket::role::Role;

    const LIMIT: Duration = Duration::from_secs(10);

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::create(directory.path().join("keys")).unwrap();
        (directory, ring)
    }

    fn follow(ring: &SharedKeyRing) -> (ChangeSubscription, Receiver<KeyRingChange>) {
        let (sender, receiver) = bounded(16);
        let guard = ring.on_change(move |change| sender.send(change.clone()).unwrap());
        (guard, receiver)
    }

    #[test]
    fn additions_and_revocations_are_noticed_within_a_second() {
        let (_directory, mut ring) = ring();
        let shared = SharedKeyRing::open(ring.directory()).unwrap();
        let (_guard, changes) = follow(&shared);
        ring.add("ada", Role::Operator).unwrap();
        let key = ring.show("ada").unwrap().public;
        assert_eq!(changes.recv_timeout(LIMIT).unwrap().added, ["ada"]);
        assert_eq!(shared.authorize(&key).unwrap().name, "ada");
        assert_eq!(shared.member_by_name("ada").unwrap().role, Role::Operator);
        assert_eq!(shared.authenticate("", &key), Ok("ada".to_owned()));

        ring.revoke("ada").unwrap();
        let change = changes.recv_timeout(Duration::from_secs(1)).unwrap();
        assert_eq!(change.revoked, ["ada"]);
        assert_eq!(shared.authorize(&key), None);
        assert_eq!(shared.member_by_name("ada"), None);
        assert_eq!(shared.authenticate("", &key), Err(Refusal::RevokedKey));
        let stranger = CurveKeyPair::generate().unwrap().public();
        assert_eq!(shared.authenticate("", &stranger), Err(Refusal::UnknownKey));
        assert_eq!(shared.failed_reload_count(), 0);
    }

    #[test]
    fn unreadable_list_keeps_the_last_good_one() {
        let (_directory, mut ring) = ring();
        ring.add("ada", Role::Operator).unwrap();
        let shared = SharedKeyRing::open(ring.directory()).unwrap();
        let (_guard, changes) = follow(&shared);
        let path = ring.directory().join(crate::zsocket::keyring::MEMBERS_FILE);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"{").unwrap();
        let deadline = std::time::Instant::now() + LIMIT;
        while shared.failed_reload_count() == 0 {
            assert!(std::time::Instant::now() < deadline);
            thread::yield_now();
        }
        assert!(shared.member_by_name("ada").is_some());
        std::fs::write(&path, good).unwrap();
        ring.revoke("ada").unwrap();
        assert_eq!(changes.recv_timeout(LIMIT).unwrap().revoked, ["ada"]);
    }

    #[test]
    fn replaced_directory_is_followed() {
        let (_directory, mut ring) = ring();
        ring.add("ada", Role::Operator).unwrap();
        let shared = SharedKeyRing::open(ring.directory()).unwrap();
        let (_guard, changes) = follow(&shared);
        let away = ring.directory().with_extension("away");
        std::fs::rename(ring.directory(), &away).unwrap();
        let mut other = KeyRing::create(ring.directory()).unwrap();
        other.add("bob", Role::Viewer).unwrap();
        let mut seen = Vec::new();
        while shared.member_by_name("bob").is_none() || shared.member_by_name("ada").is_some() {
            seen.push(changes.recv_timeout(LIMIT).unwrap());
        }
        other.revoke("bob").unwrap();
        while shared.member_by_name("bob").is_some() {
            seen.push(changes.recv_timeout(LIMIT).unwrap());
        }
    }

    #[test]
    fn last_handle_may_be_dropped_inside_a_callback() {
        let (_directory, mut ring) = ring();
        let shared = SharedKeyRing::open(ring.directory()).unwrap();
        let held = Arc::new(Mutex::new(None));
        let in_callback = Arc::clone(&held);
        let (done, finished) = bounded(1);
        let guard = shared.on_change(move |_| {
            drop(in_callback.lock().take());
            done.send(()).unwrap();
        });
        *held.lock() = Some(shared);
        ring.add("ada", Role::Viewer).unwrap();
        finished.recv_timeout(LIMIT).unwrap();
        drop(guard);
    }

    #[test]
    fn change_names_what_differs() {
        let member = |name: &str, key: u8, role, revoked: bool| Member {
            name: name.to_owned(),
            public: PublicKey::from_bytes([key; 32]),
            role,
            since: SystemTime::UNIX_EPOCH,
            revoked_at: revoked.then_some(SystemTime::UNIX_EPOCH),
        };
        let old = Snapshot::new(vec![
            member("kept", 1, Role::Viewer, false),
            member("revoked", 2, Role::Viewer, false),
            member("gone", 3, Role::Viewer, false),
            member("other-key", 4, Role::Viewer, false),
            member("raised", 5, Role::Viewer, false),
            member("past", 6, Role::Viewer, true),
        ]);
        let new = Snapshot::new(vec![
            member("kept", 1, Role::Viewer, false),
            member("revoked", 2, Role::Viewer, true),
            member("other-key", 7, Role::Viewer, false),
            member("raised", 5, Role::Admin, false),
            member("past", 6, Role::Viewer, true),
            member("new", 8, Role::Viewer, false),
        ]);
        let change = new.change_from(&old);
        assert_eq!(change.revoked, ["gone", "other-key", "revoked"]);
        assert_eq!(change.added, ["new", "other-key"]);
        assert_eq!(change.changed_roles, ["raised"]);
        assert!(new.change_from(&new).is_empty());
    }
}
