//! What is in a store directory: its database, and its socket, with its path and who may come through it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The socket's name in the directory of the store.
pub(super) const SOCKET: &str = "store.sock";

/// The database of a store, which makes a directory one.
pub(super) const DATABASE: &str = "store.redb";

/// Connects to the owner of a directory.
pub(super) fn connect(dir: &Path) -> io::Result<UnixStream> {
    with_short_path(dir, SOCKET, |path| UnixStream::connect(path))
}

/// Calls with a path of the name in the directory that fits the address of a socket, which has about 100 bytes.
pub(super) fn with_short_path<T>(
    dir: &Path,
    name: &str,
    call: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let path = dir.join(name);
    if path.as_os_str().len() <= LONGEST || !cfg!(target_os = "linux") {
        return call(&path);
    }
    // Open until the call is over.
    let open = File::open(dir)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    call(&short.join(name))
}

/// Whether the other end belongs to the user of this process, or to root; the mode of the socket says the same.
#[cfg(target_os = "linux")]
pub(super) fn is_same_user(stream: &UnixStream) -> bool {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(stream) else {
        return false;
    };
    peer.uid == rustix::process::geteuid() || peer.uid.is_root()
}

/// Whether the other end belongs to the user of this process: the mode of the socket has said so.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_same_user(_: &UnixStream) -> bool {
    true
}

const LONGEST: usize = 100;
