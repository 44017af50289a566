//! The owner's side of `store.sock`: a thread that lets guests in, and one for each of them.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

use crate::store::StoreError;

use super::desk::Desk;
use super::hub::Seat;
use super::lines::{Lines, WriteError};
use super::message::{Answer, FaultKind, LineError, Request, decode};
use super::place;
use super::queue::{Followed, QueueLimits};

/// Answers guests until it is stopped.
#[derive(Debug)]
pub(super) struct Server {
    path: PathBuf,
    desk: Arc<Desk>,
    guests: Arc<Mutex<Guests>>,
    wake: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Guests {
    is_closed: bool,
    next: u64,
    live: Vec<Guest>,
}

/// A connection: its stream to be shut down, its thread to be joined.
#[derive(Debug)]
struct Guest {
    number: u64,
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds the socket in a directory that this process owns, so that what is there by its name is stale.
    pub(super) fn start(dir: &Path, desk: Arc<Desk>) -> Result<Self, StoreError> {
        let path = dir.join(place::SOCKET);
        let failed = |source| StoreError::Io {
            action: "binding",
            path: path.clone(),
            source,
        };
        let listener = bind(dir).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        let guests = Arc::new(Mutex::new(Guests::default()));
        let server = Self {
            path: path.clone(),
            desk: Arc::clone(&desk),
            guests: Arc::clone(&guests),
            wake,
            thread: Mutex::new(None),
        };
        let thread = thread::Builder::new()
            .name(DOOR.to_owned())
            .spawn(move || let_in(&listener, &woken, &desk, &guests))
            .map_err(|source| StoreError::Thread { name: DOOR, source })?;
        *server.thread.lock() = Some(thread);
        Ok(server)
    }

    /// Sends all guests away and waits for their threads. A second call does nothing.
    pub(super) fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // Gone already where somebody has cleaned up.
        let _ = fs::remove_file(&self.path);
        self.desk.hub.close();
        self.desk.is_closing.store(true, Ordering::Relaxed);
        // Wakes the thread, whose other end reads the end of the stream.
        let _ = self.wake.shutdown(Shutdown::Both);
        // A panic there was reported by the panic handler.
        let _ = thread.join();
        let live = {
            let mut guests = self.guests.lock();
            guests.is_closed = true;
            std::mem::take(&mut guests.live)
        };
        for guest in &live {
            // Answers that are on their way are still delivered by the system.
            let _ = guest.stream.shutdown(Shutdown::Both);
        }
        for thread in live.into_iter().filter_map(|guest| guest.thread) {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Bound under another name and then renamed, so that it is never there with wider rights.
fn bind(dir: &Path) -> io::Result<UnixListener> {
    let own = format!("{}.{}", place::SOCKET, std::process::id());
    let temporary = dir.join(&own);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = place::with_short_path(dir, &own, |path| UnixListener::bind(path))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    fs::rename(&temporary, dir.join(place::SOCKET))?;
    Ok(listener)
}

fn let_in(
    listener: &UnixListener,
    woken: &UnixStream,
    desk: &Arc<Desk>,
    guests: &Arc<Mutex<Guests>>,
) {
    loop {
        let mut sources = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(woken, PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                log::error!("the store lets nobody in any more: {error}");
                return;
            }
        }
        if !sources[1].revents().is_empty() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = welcome(stream, desk, guests) {
                    log::warn!("a guest of the store was not let in: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Out of descriptors, as a rule: the guest is still there when one is free.
                log::warn!("a guest of the store was not let in: {error}");
                thread::sleep(BREATH);
            }
        }
    }
}

fn welcome(stream: UnixStream, desk: &Arc<Desk>, guests: &Arc<Mutex<Guests>>) -> io::Result<()> {
    if !place::is_same_user(&stream) {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let kept = stream.try_clone()?;
    let mut lines = Lines::new(stream);
    let mut held = guests.lock();
    if held.live.len() >= GUESTS {
        drop(held);
        let text = format!("{GUESTS} guests are there already");
        // Whether it hears this or not, it is not let in.
        let _ = lines.write(&Answer::fault(FaultKind::Busy, text));
        return Ok(());
    }
    let number = held.next;
    held.next += 1;
    let (desk, all) = (Arc::clone(desk), Arc::clone(guests));
    let leave = Leave { number, all };
    let serve = move || {
        let _leave = leave;
        serve(&mut lines, &desk);
    };
    // The list stays locked until the thread is in it, so that its end finds itself there.
    let thread = thread::Builder::new().name(GUEST.to_owned()).spawn(serve)?;
    held.live.push(Guest {
        number,
        stream: kept,
        thread: Some(thread),
    });
    Ok(())
}

/// Takes a guest off the list, whose copy of the stream would keep the guest waiting, also when its thread panics.
#[derive(Debug)]
struct Leave {
    number: u64,
    all: Arc<Mutex<Guests>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.all
            .lock()
            .live
            .retain(|guest| guest.number != self.number);
    }
}

/// Answers one guest until it goes.
fn serve(lines: &mut Lines, desk: &Desk) {
    loop {
        let request = match lines.read() {
            Ok(Some(line)) => decode::<Request>(line),
            // Gone, or sent away.
            Ok(None) | Err(_) => return,
        };
        let goes_on = match request {
            Ok(Request::Follow {
                event_types,
                persisted,
            }) => {
                let seat = desk
                    .hub
                    .follow(event_types, persisted, QueueLimits::default());
                return accompany(lines, &seat);
            }
            Ok(request) => desk.answer(request, &mut |answer| send(lines, answer)),
            Err(error) => {
                let is_readable = !matches!(error, LineError::TooLong { .. });
                let told = send(lines, &Answer::fault(FaultKind::Request, describe(&error)));
                if is_readable {
                    told
                } else {
                    ControlFlow::Break(())
                }
            }
        };
        if goes_on.is_break() {
            return;
        }
    }
}

/// Tells a follower everything, until it goes or the store closes.
fn accompany(lines: &mut Lines, seat: &Arc<Seat>) {
    if send(lines, &Answer::Following {}).is_break() {
        return;
    }
    let Ok(stream) = lines.stream().try_clone() else {
        return;
    };
    // Unlike a query it holds nothing in the file: it may read as slowly as it likes, and is told what it lost.
    if stream.set_write_timeout(None).is_err() {
        return;
    }
    let (told, followed) = (Arc::clone(seat), stream);
    let tell = move || {
        let Ok(second) = followed.try_clone() else {
            return;
        };
        let mut out = Lines::new(second);
        while let Some(news) = told.next() {
            let answer = match news {
                Followed::Events(events) => Answer::Events(events),
                Followed::Lost(count) => Answer::Lost(count),
            };
            if send(&mut out, &answer).is_break() {
                break;
            }
        }
        // Wakes the reader below, and the other side.
        let _ = followed.shutdown(Shutdown::Both);
    };
    let Ok(teller) = thread::Builder::new().name(FOLLOW.to_owned()).spawn(tell) else {
        return;
    };
    // A follower says nothing more; its end is what there is to read.
    while let Ok(Some(_)) = lines.read() {}
    seat.close();
    // A panic there was reported by the panic handler.
    let _ = teller.join();
}

fn send(lines: &mut Lines, answer: &Answer) -> ControlFlow<()> {
    match lines.write(answer) {
        Ok(()) => ControlFlow::Continue(()),
        // Told, or the guest would take the end of the stream for that of the owner, and ask again and again.
        Err(WriteError::Line(error)) => {
            let fault = Answer::fault(FaultKind::Other, describe(&error));
            // Cut off behind it: the rest of the answer would be one to another question.
            let _ = lines.write(&fault);
            ControlFlow::Break(())
        }
        Err(WriteError::Io(error)) => {
            log::debug!("a guest of the store has gone: {error}");
            ControlFlow::Break(())
        }
    }
}

fn describe(error: &LineError) -> String {
    match error {
        LineError::Json(cause) => format!("{error}: {cause}"),
        LineError::TooLong { .. } => error.to_string(),
    }
}

const DOOR: &str = "acqbus-store-door";
const GUEST: &str = "acqbus-store-guest";
const FOLLOW: &str = "acqbus-store-follow";

/// Connections at a time.
const GUESTS: usize = 64;

/// A guest that takes nothing for so long is cut off: a query of its holds space in the file.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

const BREATH: Duration = Duration::from_millis(100);
