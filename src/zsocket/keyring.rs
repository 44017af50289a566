//! A directory of keys: the server's own, and who may connect.
//!
//! ```text
//! DIR/               0700
//!   server.key       0600  the server's public and secret key
//!   members.json     0600  name, public key, role, since, revoked at: all that the server needs to know
//!   clients/         0700
//!     NAME.key       0600  to hand to that person or program: its keys and the server's public key
//! ```
//!
//! A client's file may be moved away; the server reads only the first two. Each is JSON with a
//! `version`, here 1.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::zsocket::curve::{CurveKeyPair, PublicKey};
use crate::zsocket::error::KeyError;
use crate::zsocket::key_file::{
    check_private_dir, create_private_dir, format_error, json_error, lock, read_private,
    write_private,
};
use crate::zsocket::role::Role;

/// The keys of a server and the people and programs that it knows, on disk.
///
/// Several processes may use one directory: each change reads it anew under a lock.
///
/// ```
/// use acqbus::zsocket::{ClientKeys, KeyRing, Role};
///
/// # let temporary = tempfile::tempdir().unwrap();
/// # let directory = temporary.path().join("keys");
/// let mut ring = KeyRing::create(&directory)?;
/// let file = ring.add("ada", Role::Operator)?;
/// assert_eq!(ClientKeys::load(&file)?.server, ring.server().public());
/// ring.revoke("ada")?;
/// assert!(ring.show("ada").unwrap().is_revoked());
/// # Ok::<(), acqbus::zsocket::KeyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    directory: PathBuf,
    server: CurveKeyPair,
    members: Vec<Member>,
}

impl KeyRing {
    /// Makes the directory, if it is missing, and a new key pair for the server in it.
    ///
    /// # Errors
    /// [`KeyError::AlreadyExists`] if it holds keys, which stay; [`KeyError::WideMode`];
    /// [`KeyError::NoCurve`]; [`KeyError::Io`].
    pub fn create(directory: impl AsRef<Path>) -> Result<Self, KeyError> {
        let directory = directory.as_ref();
        let held = |name| directory.join(name).symlink_metadata().is_ok();
        let refuse = || {
            Err(KeyError::AlreadyExists {
                path: directory.to_owned(),
            })
        };
        if held(SERVER_FILE) || held(MEMBERS_FILE) {
            return refuse();
        }
        create_private_dir(directory)?;
        let _lock = lock(directory)?;
        // Another process may have come first.
        if held(SERVER_FILE) || held(MEMBERS_FILE) {
            return refuse();
        }
        create_private_dir(&directory.join(CLIENTS_DIR))?;
        let ring = Self {
            directory: directory.to_owned(),
            server: CurveKeyPair::generate()?,
            members: Vec::new(),
        };
        ring.write_members()?;
        let secret = ring.server.secret().to_z85();
        write_json(
            &directory.join(SERVER_FILE),
            &ServerFile {
                version: VERSION,
                kind: "server",
                public: &ring.server.public().to_string(),
                secret: &secret,
            },
        )?;
        Ok(ring)
    }

    /// Reads the directory.
    ///
    /// # Errors
    /// [`KeyError::WideMode`] if others may use it or a file in it; [`KeyError::Format`];
    /// [`KeyError::Io`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, KeyError> {
        let directory = directory.as_ref();
        check_private_dir(directory)?;
        let path = directory.join(SERVER_FILE);
        let text = read_private(&path)?;
        let file: ServerFile<'_> = parse(&path, &text, "server")?;
        Ok(Self {
            server: pair(&path, file.public, file.secret)?,
            members: read_members(directory)?,
            directory: directory.to_owned(),
        })
    }

    /// The server's own keys.
    #[must_use]
    pub fn server(&self) -> &CurveKeyPair {
        &self.server
    }

    /// Where the keys are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes keys for somebody and gives the path of the file to hand over.
    ///
    /// A running server lets the new key in at once. After a failure nobody was added.
    ///
    /// # Errors
    /// [`KeyError::InvalidName`], [`KeyError::NameTaken`], [`KeyError::NameRevoked`], or as
    /// [`KeyRing::open`].
    pub fn add(&mut self, name: &str, role: Role) -> Result<PathBuf, KeyError> {
        check_name(name)?;
        let _lock = lock(&self.directory)?;
        self.members = read_members(&self.directory)?;
        match self.show(name) {
            Ok(member) if member.is_revoked() => {
                return Err(KeyError::NameRevoked {
                    name: name.to_owned(),
                });
            }
            Ok(_) => {
                return Err(KeyError::NameTaken {
                    name: name.to_owned(),
                });
            }
            Err(_) => {}
        }
        let keys = CurveKeyPair::generate()?;
        let clients = self.directory.join(CLIENTS_DIR);
        create_private_dir(&clients)?;
        let path = clients.join(format!("{name}.key"));
        // The file first: a crash in between leaves keys that open nothing, and the next `add`
        // replaces them.
        let secret = keys.secret().to_z85();
        write_json(
            &path,
            &ClientFile {
                version: VERSION,
                kind: "client",
                name,
                role,
                public: &keys.public().to_string(),
                secret: &secret,
                server: &self.server.public().to_string(),
            },
        )?;
        self.members.push(Member {
            name: name.to_owned(),
            public: keys.public(),
            role,
            since: now(),
            revoked_at: None,
        });
        if let Err(error) = self.write_members() {
            self.members.pop();
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }

    /// Takes somebody's access away for good; the name stays in the list and is not used again.
    ///
    /// A running server ends the live connections too. Revoking twice keeps the first time.
    ///
    /// # Errors
    /// [`KeyError::UnknownName`], or as [`KeyRing::open`].
    pub fn revoke(&mut self, name: &str) -> Result<(), KeyError> {
        let _lock = lock(&self.directory)?;
        self.members = read_members(&self.directory)?;
        let member = self
            .members
            .iter_mut()
            .find(|member| member.name == name)
            .ok_or_else(|| KeyError::UnknownName {
                name: name.to_owned(),
            })?;
        if member.is_revoked() {
            return Ok(());
        }
        member.revoked_at = Some(now());
        self.write_members()
    }

    /// Everybody who has or had access, in the order of their coming.
    #[must_use]
    pub fn list(&self) -> &[Member] {
        &self.members
    }

    /// One of them.
    ///
    /// # Errors
    /// [`KeyError::UnknownName`].
    pub fn show(&self, name: &str) -> Result<&Member, KeyError> {
        self.members
            .iter()
            .find(|member| member.name == name)
            .ok_or_else(|| KeyError::UnknownName {
                name: name.to_owned(),
            })
    }

    fn write_members(&self) -> Result<(), KeyError> {
        let file = MembersFile {
            version: VERSION,
            members: self.members.iter().map(MemberEntry::from).collect(),
        };
        write_json(&self.directory.join(MEMBERS_FILE), &file)
    }
}

/// Somebody who has or had access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The name, unique in the ring, 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// The public key, unique in the ring.
    pub public: PublicKey,
    /// What the member may do.
    pub role: Role,
    /// When the member was added, in whole seconds.
    pub since: SystemTime,
    /// When access ended, if it did.
    pub revoked_at: Option<SystemTime>,
}

impl Member {
    /// Whether access has ended.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }
}

/// What a client needs to connect: the content of the file that it was handed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientKeys {
    /// The name under which the server knows the client.
    pub name: String,
    /// The role at the time when the file was made; what counts is the server's list.
    pub role: Role,
    /// The client's keys.
    pub keys: CurveKeyPair,
    /// The public key that the server must prove to hold.
    pub server: PublicKey,
}

impl ClientKeys {
    /// Reads a client's file.
    ///
    /// # Errors
    /// [`KeyError::WideMode`] if others may use it; [`KeyError::Format`]; [`KeyError::Io`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = read_private(path)?;
        let file: ClientFile<'_> = parse(path, &text, "client")?;
        check_name(file.name)?;
        Ok(Self {
            name: file.name.to_owned(),
            role: file.role,
            keys: pair(path, file.public, file.secret)?,
            server: key(path, file.server)?,
        })
    }
}

/// Reads who may connect, and nothing secret.
pub(super) fn read_members(directory: &Path) -> Result<Vec<Member>, KeyError> {
    let path = directory.join(MEMBERS_FILE);
    let text = read_private(&path)?;
    let file: MembersFile =
        serde_json::from_str(&text).map_err(|error| json_error(&path, &error))?;
    check_version(&path, file.version)?;
    let mut names = HashSet::new();
    let mut keys = HashSet::new();
    let mut members = Vec::with_capacity(file.members.len());
    for entry in file.members {
        check_name(&entry.name)?;
        let public = key(&path, &entry.public)?;
        if !names.insert(entry.name.clone()) || !keys.insert(public) {
            return Err(format_error(
                &path,
                format!("{:?} or its key is there twice", entry.name),
            ));
        }
        let (Some(since), Ok(revoked_at)) = (
            from_seconds(entry.since),
            entry
                .revoked_at
                .map(|at| from_seconds(at).ok_or(()))
                .transpose(),
        ) else {
            return Err(format_error(&path, "a time is out of range"));
        };
        members.push(Member {
            name: entry.name,
            public,
            role: entry.role,
            since,
            revoked_at,
        });
    }
    Ok(members)
}

#[derive(Serialize, Deserialize)]
struct ServerFile<'a> {
    version: u32,
    kind: &'a str,
    public: &'a str,
    secret: &'a str,
}

#[derive(Serialize, Deserialize)]
struct ClientFile<'a> {
    version: u32,
    kind: &'a str,
    name: &'a str,
    role: Role,
    public: &'a str,
    secret: &'a str,
    server: &'a str,
}

#[derive(Serialize, Deserialize)]
struct MembersFile {
    version: u32,
    members: Vec<MemberEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberEntry {
    name: String,
    public: String,
    role: Role,
    since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<u64>,
}

impl From<&Member> for MemberEntry {
    fn from(member: &Member) -> Self {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        Self {
            name: member.name.clone(),
            public: member.public.to_string(),
            role: member.role,
            since: seconds(member.since),
            revoked_at: member.revoked_at.map(seconds),
        }
    }
}

/// What both files with a secret have in front.
trait Headed {
    fn version(&self) -> u32;
    fn kind(&self) -> &str;
}

impl Headed for ServerFile<'_> {
    fn version(&self) -> u32 {
        self.version
    }

    fn kind(&self) -> &str {
        self.kind
    }
}

impl Headed for ClientFile<'_> {
    fn version(&self) -> u32 {
        self.version
    }

    fn kind(&self) -> &str {
        self.kind
    }
}

fn parse<'a, T: Deserialize<'a> + Headed>(
    path: &Path,
    text: &'a str,
    kind: &str,
) -> Result<T, KeyError> {
    // Borrowed strings: no copy of the secret stays in memory. Z85 has no character that JSON
    // escapes.
    let file: T = serde_json::from_str(text).map_err(|error| json_error(path, &error))?;
    check_version(path, file.version())?;
    if file.kind() != kind {
        return Err(format_error(path, format!("it is not a {kind}'s key file")));
    }
    Ok(file)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), KeyError> {
    // Grown once: a growing buffer would leave pieces of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_FILE_LEN));
    serde_json::to_writer_pretty(&mut *bytes, value).map_err(|error| json_error(path, &error))?;
    bytes.push(b'\n');
    let text = std::str::from_utf8(&bytes).map_err(|_| format_error(path, "it is not text"))?;
    write_private(path, text)
}

fn check_version(path: &Path, version: u32) -> Result<(), KeyError> {
    if version == VERSION {
        return Ok(());
    }
    let reason = format!("it has version {version}, and this program knows version {VERSION}");
    Err(format_error(path, reason))
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // A leading dot would make a hidden file, or `..`; a leading dash an option.
    let good = (1..=MAX_NAME_LEN).contains(&name.len())
        && name.bytes().all(letter)
        && !name.starts_with(['.', '-']);
    if good {
        Ok(())
    } else {
        Err(KeyError::InvalidName {
            name: name.to_owned(),
        })
    }
}

fn key(path: &Path, text: &str) -> Result<PublicKey, KeyError> {
    text.parse()
        .map_err(|error: KeyError| format_error(path, error.to_string()))
}

fn pair(path: &Path, public: &str, secret: &str) -> Result<CurveKeyPair, KeyError> {
    let secret = secret
        .parse()
        .map_err(|error: KeyError| format_error(path, error.to_string()))?;
    Ok(CurveKeyPair::new(key(path, public)?, secret))
}

fn from_seconds(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The present, in the whole seconds that the file keeps.
fn now() -> SystemTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

pub(super) const MEMBERS_FILE: &str = "members.json";
const SERVER_FILE: &str = "server.key";
const CLIENTS_DIR: &str = "clients";
const VERSION: u32 = 1;
const MAX_NAME_LEN: usize = 64;
/// More than any file with a secret needs.
const SECRET_FILE_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::create(directory.path().join("keys")).unwrap();
        (directory, ring)
    }

    #[test]
    fn ring_reads_back_as_it_was_written() {
        let (_directory, mut ring) = ring();
        for (name, role) in [
            ("ada", Role::Admin),
            ("bob-2", Role::Viewer),
            ("C_d.e", Role::Operator),
        ] {
            ring.add(name, role).unwrap();
        }
        ring.revoke("bob-2").unwrap();
        let read = KeyRing::open(ring.directory()).unwrap();
        assert_eq!(read.list(), ring.list());
        assert_eq!(read.server().public(), ring.server().public());
        assert_eq!(
            read.server().secret().as_bytes(),
            ring.server().secret().as_bytes()
        );
        let revoked: Vec<bool> = read.list().iter().map(Member::is_revoked).collect();
        assert_eq!(revoked, [false, true, false]);
    }

    #[test]
    fn client_file_holds_what_a_client_needs() {
        let (_directory, mut ring) = ring();
        let path = ring.add("ada", Role::Operator).unwrap();
        let client = ClientKeys::load(&path).unwrap();
        assert_eq!(client.name, "ada");
        assert_eq!(client.role, Role::Operator);
        assert_eq!(client.keys.public(), ring.show("ada").unwrap().public);
        assert_eq!(client.server, ring.server().public());
        std::fs::remove_file(path).unwrap();
        assert_eq!(KeyRing::open(ring.directory()).unwrap().list().len(), 1);
    }

    #[test]
    fn names_that_are_paths_or_odd_are_refused() {
        let (_directory, mut ring) = ring();
        let long = "x".repeat(65);
        for name in [
            "", ".", "..", "../ada", "a/b", ".ada", "-ada", "a b", "a\0", "\u{e9}", "a\n", &long,
        ] {
            let error = ring.add(name, Role::Viewer).unwrap_err();
            assert!(
                matches!(error, KeyError::InvalidName { .. }),
                "{name:?}: {error}"
            );
        }
        ring.add(&"x".repeat(64), Role::Viewer).unwrap();
    }

    #[test]
    fn names_are_used_once() {
        let (_directory, mut ring) = ring();
        ring.add("ada", Role::Viewer).unwrap();
        assert!(matches!(
            ring.add("ada", Role::Viewer),
            Err(KeyError::NameTaken { .. })
        ));
        ring.revoke("ada").unwrap();
        let since = ring.show("ada").unwrap().revoked_at;
        ring.revoke("ada").unwrap();
        assert_eq!(ring.show("ada").unwrap().revoked_at, since);
        let error = ring.add("ada", Role::Viewer).unwrap_err();
        assert!(matches!(error, KeyError::NameRevoked { .. }));
        assert!(error.to_string().contains("ada-2"), "{error}");
        assert!(matches!(
            ring.revoke("bob"),
            Err(KeyError::UnknownName { .. })
        ));
    }

    #[test]
    fn second_process_is_seen_by_the_first() {
        let (_directory, mut ring) = ring();
        KeyRing::open(ring.directory())
            .unwrap()
            .add("ada", Role::Viewer)
            .unwrap();
        assert!(matches!(
            ring.add("ada", Role::Viewer),
            Err(KeyError::NameTaken { .. })
        ));
        ring.add("bob", Role::Viewer).unwrap();
        assert_eq!(KeyRing::open(ring.directory()).unwrap().list().len(), 2);
    }

    #[test]
    fn existing_keys_are_not_overwritten() {
        let (_directory, ring) = ring();
        let error = KeyRing::create(ring.directory()).unwrap_err();
        assert!(matches!(error, KeyError::AlreadyExists { .. }));
        let read = KeyRing::open(ring.directory()).unwrap();
        assert_eq!(read.server().public(), ring.server().public());
    }

    #[test]
    fn every_truncation_of_a_file_is_an_error_without_the_secret() {
        let (_directory, mut ring) = ring();
        let client = ring.add("ada", Role::Viewer).unwrap();
        let secret = ClientKeys::load(&client).unwrap().keys.secret().to_z85();
        let server = ring.directory().join(SERVER_FILE);
        let members = ring.directory().join(MEMBERS_FILE);
        for path in [client, server, members] {
            let good = std::fs::read_to_string(&path).unwrap();
            // One byte less is only the final line end.
            for len in 0..good.len() - 1 {
                std::fs::write(&path, &good[..len]).unwrap();
                let error = match path.file_name().unwrap().to_str().unwrap() {
                    "ada.key" => ClientKeys::load(&path).map(|_| ()).unwrap_err(),
                    _ => KeyRing::open(ring.directory()).map(|_| ()).unwrap_err(),
                };
                assert!(matches!(error, KeyError::Format { .. }), "{error}");
                assert!(!error.to_string().contains(secret.as_str()));
            }
            std::fs::write(&path, good).unwrap();
        }
        KeyRing::open(ring.directory()).unwrap();
    }

    #[test]
    fn later_version_and_wrong_kind_are_refused() {
        let (_directory, mut ring) = ring();
        let client = ring.add("ada", Role::Viewer).unwrap();
        let error = ClientKeys::load(ring.directory().join(SERVER_FILE)).unwrap_err();
        assert!(matches!(error, KeyError::Format { .. }), "{error}");
        let text = std::fs::read_to_string(&client).unwrap();
        std::fs::write(&client, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        let error = ClientKeys::load(&client).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let (_directory, mut ring) = ring();
        let client = ClientKeys::load(ring.add("ada", Role::Viewer).unwrap()).unwrap();
        let shown = format!("{ring:?} {client:?}");
        assert!(!shown.contains(ring.server().secret().to_z85().as_str()));
        assert!(!shown.contains(client.keys.secret().to_z85().as_str()));
    }
}
