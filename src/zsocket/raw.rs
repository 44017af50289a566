//! The calls of libzmq that the `zmq` crate lacks, or that it spoils for us.
//!
//! | call | why not the crate's |
//! |---|---|
//! | context | it cannot set the number of I/O threads |
//! | bind, connect, unbind, disconnect | it panics on an error code that it does not know (`ENFILE`, `EAFNOSUPPORT`) |
//! | send | it drops the message when the queue is full or a signal interrupts |
//! | message from a vector | it frees the vector with the wrong size |
//! | message from a lent buffer | it can give a message's memory to nobody but the allocator |
//! | message property | it wants the message mutably |
//! | descriptor | it gives a bare number |
//! | stop a monitor | it cannot pass "no endpoint" |
//! | options `ZMQ_ZAP_ENFORCE_DOMAIN`, `ZMQ_XPUB_NODROP` | it does not know them |
//! | pin a descriptor of a connection | libzmq tells its number, and `std` borrows numbers unsafely only |
//!
//! Everything else goes through the crate; all unsafe code of the library is in this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::mem::{align_of, size_of};
use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

use zmq_sys::zmq_msg_t;

/// An error number of libzmq, which is the system's or one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(pub(super) i32);

impl From<zmq::Error> for Errno {
    fn from(error: zmq::Error) -> Self {
        Self(error.to_raw())
    }
}

/// Owns a libzmq context; dropping it waits for the lingers of its sockets.
pub(super) struct RawContext(NonNull<c_void>);

// SAFETY: zmq.h, "zmq_ctx_new": a context is thread safe and may be shared by any number of
// threads.
unsafe impl Send for RawContext {}
// SAFETY: as above.
unsafe impl Sync for RawContext {}

impl RawContext {
    pub(super) fn new(io_threads: u16) -> Result<Self, Errno> {
        // SAFETY: takes nothing; null means failure.
        let context = NonNull::new(unsafe { zmq_sys::zmq_ctx_new() }).ok_or_else(last_errno)?;
        let this = Self(context);
        // SAFETY: the context is live until `this` is dropped.
        check(unsafe {
            zmq_sys::zmq_ctx_set(
                this.0.as_ptr(),
                zmq_sys::ZMQ_IO_THREADS as c_int,
                c_int::from(io_threads.max(1)),
            )
        })?;
        Ok(this)
    }

    pub(super) fn shutdown(&self) {
        // SAFETY: the context is live; the call may come from any thread, and more than once.
        unsafe { zmq_sys::zmq_ctx_shutdown(self.0.as_ptr()) };
    }

    /// Opens a socket, which its owner must drop before the context.
    pub(super) fn socket(&self, kind: u32) -> Result<RawSocket, Errno> {
        // SAFETY: the context is live.
        let pointer = unsafe { zmq_sys::zmq_socket(self.0.as_ptr(), kind as c_int) };
        let pointer = NonNull::new(pointer).ok_or_else(last_errno)?;
        // SAFETY: the pointer is an open socket that nobody else owns.
        let socket = unsafe { zmq::Socket::from_raw(pointer.as_ptr()) };
        Ok(RawSocket { socket, pointer })
    }
}

impl Drop for RawContext {
    fn drop(&mut self) {
        // SAFETY: the context is live and no socket of it is used any more: each holds the `Arc` of
        // this value.
        while unsafe { zmq_sys::zmq_ctx_term(self.0.as_ptr()) } == -1
            && last_errno() == Errno(zmq_sys::errno::EINTR)
        {}
    }
}

/// An open socket: the crate's, and its pointer for the calls here. Closed by `Drop`.
pub(super) struct RawSocket {
    socket: zmq::Socket,
    pointer: NonNull<c_void>,
}

// SAFETY: zmq.h, "zmq_socket": a socket may move to another thread as long as one at a time uses
// it; the type is not `Sync`.
unsafe impl Send for RawSocket {}

impl Deref for RawSocket {
    type Target = zmq::Socket;

    fn deref(&self) -> &zmq::Socket {
        &self.socket
    }
}

impl RawSocket {
    pub(super) fn bind(&self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: the socket is open, the text ends with a zero.
        check(unsafe { zmq_sys::zmq_bind(self.pointer.as_ptr(), endpoint.as_ptr()) })
    }

    pub(super) fn connect(&self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: the socket is open, the text ends with a zero.
        check(unsafe { zmq_sys::zmq_connect(self.pointer.as_ptr(), endpoint.as_ptr()) })
    }

    pub(super) fn unbind(&self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: the socket is open, the text ends with a zero.
        check(unsafe { zmq_sys::zmq_unbind(self.pointer.as_ptr(), endpoint.as_ptr()) })
    }

    pub(super) fn disconnect(&self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: the socket is open, the text ends with a zero.
        check(unsafe { zmq_sys::zmq_disconnect(self.pointer.as_ptr(), endpoint.as_ptr()) })
    }

    /// What becomes readable when libzmq has something to say to the owner of the socket: not only messages.
    pub(super) fn descriptor(&self) -> Result<BorrowedFd<'_>, Errno> {
        let descriptor = self.socket.get_fd()?;
        // SAFETY: zmq_getsockopt(3), ZMQ_FD: the descriptor belongs to the socket, which is open as long as the
        // borrow of this value lasts.
        Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    pub(super) fn stop_monitor(&self) -> Result<(), Errno> {
        // SAFETY: the socket is open; a null endpoint means "stop" (zmq_socket_monitor(3)).
        check(unsafe { zmq_sys::zmq_socket_monitor(self.pointer.as_ptr(), ptr::null(), 0) })
    }

    /// Refuses clients while no authenticator runs in the context; libzmq would accept them all.
    pub(super) fn enforce_zap(&self) -> Result<(), Errno> {
        self.set_flag(ZMQ_ZAP_ENFORCE_DOMAIN, true)
    }

    /// Whether an XPUB socket refuses a message for which one of its subscribers has no room.
    pub(super) fn set_xpub_nodrop(&self, nodrop: bool) -> Result<(), Errno> {
        self.set_flag(zmq_sys::ZMQ_XPUB_NODROP as c_int, nodrop)
    }

    fn set_flag(&self, option: c_int, value: bool) -> Result<(), Errno> {
        let value = c_int::from(value);
        // SAFETY: the socket is open, and the callers' options are integers (zmq_setsockopt(3)).
        check(unsafe {
            zmq_sys::zmq_setsockopt(
                self.pointer.as_ptr(),
                option,
                ptr::from_ref(&value).cast(),
                size_of::<c_int>(),
            )
        })
    }

    /// Sends; the message is unchanged after a failure, and empty after a success.
    #[inline]
    pub(super) fn send(&self, message: &mut zmq::Message, flags: c_int) -> Result<(), Errno> {
        // SAFETY: the socket is open, the message is initialised, and stays so whatever the call
        // answers.
        check(unsafe {
            zmq_sys::zmq_msg_send(message_pointer(message), self.pointer.as_ptr(), flags)
        })
    }
}

/// A message that owns the vector's memory, without a copy.
pub(super) fn message_from_vec(data: Vec<u8>) -> zmq::Message {
    let mut message = zmq::Message::new();
    let data = data.into_boxed_slice();
    let len = data.len();
    let start = Box::into_raw(data).cast::<c_void>();
    // SAFETY: the new, empty message owns nothing. The memory stays valid until libzmq calls
    // `free_box` once, with the length as the hint; the call may come from an I/O thread, and bytes
    // may be freed on any thread.
    let done = check(unsafe {
        zmq_sys::zmq_msg_init_data(
            message_pointer(&mut message),
            start,
            len,
            Some(free_box),
            ptr::without_provenance_mut(len),
        )
    });
    if done.is_err() {
        // Out of memory, the only failure. libzmq has not taken the vector: give it back to the
        // allocator. SAFETY: pointer and length come from the box above.
        unsafe { free_box(start, ptr::without_provenance_mut(len)) };
        return zmq::Message::new();
    }
    message
}

/// Owns the memory of a message until libzmq lets go of it.
pub(super) trait FrameOwner: Send + 'static {
    /// The memory, which stays where it is until the release.
    fn bytes(&mut self) -> &mut [u8];

    /// Called once, on any thread, such as an I/O thread of libzmq; must not panic.
    fn release(self: Box<Self>);
}

/// A message of the owner's bytes from `start` on, without a copy; the owner comes back where libzmq has no memory.
pub(super) fn message_from_owner<O: FrameOwner>(
    owner: Box<O>,
    start: usize,
) -> Result<zmq::Message, Box<O>> {
    let mut message = zmq::Message::new();
    let owner = Box::into_raw(owner);
    // SAFETY: the pointer comes from the box above, and nobody else has it yet.
    let all = unsafe { (*owner).bytes() };
    let len = all.len().saturating_sub(start);
    let from = all.len() - len;
    let bytes = all[from..].as_mut_ptr();
    // SAFETY: the new, empty message owns nothing. The memory belongs to the owner, who keeps it in place until libzmq
    // calls `release_owner` once, with the owner as the hint; that may be on an I/O thread, and the owner is `Send`.
    let done = check(unsafe {
        zmq_sys::zmq_msg_init_data(
            message_pointer(&mut message),
            bytes.cast(),
            len,
            Some(release_owner::<O>),
            owner.cast(),
        )
    });
    match done {
        Ok(()) => Ok(message),
        // SAFETY: out of memory, the only failure; libzmq has taken nothing, so the box is ours again.
        Err(_) => Err(unsafe { Box::from_raw(owner) }),
    }
}

/// A property of a received message, where it has one and it is UTF-8.
pub(super) fn message_property<'a>(message: &'a zmq::Message, name: &CStr) -> Option<&'a str> {
    // SAFETY: the message is initialised; the call only reads it.
    let value = unsafe { zmq_sys::zmq_msg_gets(ptr::from_ref(message).cast(), name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: a zero-terminated text that lives as long as the message (zmq_msg_gets(3)).
    unsafe { CStr::from_ptr(value) }.to_str().ok()
}

/// The message inside the crate's wrapper.
fn message_pointer(message: &mut zmq::Message) -> *mut zmq_msg_t {
    // `zmq::Message` holds one `zmq_msg_t`; being of the same size, it holds it at offset 0.
    const {
        assert!(size_of::<zmq::Message>() == size_of::<zmq_msg_t>());
        assert!(align_of::<zmq::Message>() == align_of::<zmq_msg_t>());
    };
    ptr::from_mut(message).cast()
}

/// Frees what [`message_from_vec`] gave away.
unsafe extern "C" fn free_box(data: *mut c_void, len: *mut c_void) {
    let data = ptr::slice_from_raw_parts_mut(data.cast::<u8>(), len.addr());
    // SAFETY: the pointer and the length come from one `Box<[u8]>`, and libzmq calls once.
    drop(unsafe { Box::from_raw(data) });
}

/// Gives back what [`message_from_owner`] lent.
unsafe extern "C" fn release_owner<O: FrameOwner>(_data: *mut c_void, owner: *mut c_void) {
    // SAFETY: the hint is the box of one `message_from_owner::<O>`, and libzmq calls once.
    unsafe { Box::from_raw(owner.cast::<O>()) }.release();
}

#[inline]
fn check(answer: c_int) -> Result<(), Errno> {
    if answer == -1 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

#[cold]
fn last_errno() -> Errno {
    // SAFETY: reads the calling thread's error number.
    Errno(unsafe { zmq_sys::zmq_errno() })
}

/// zmq.h; `zmq-sys` 0.11 does not have it.
const ZMQ_ZAP_ENFORCE_DOMAIN: c_int = 93;

/// A duplicate of a descriptor of libzmq, which nobody can close or reuse while it is looked at.
pub(super) fn pin(descriptor: RawFd) -> Option<OwnedFd> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: the descriptor is not negative, and it is borrowed for the one call that duplicates
    // it. If libzmq has closed it, the call fails or duplicates another open file of this process:
    // neither reads, writes nor closes it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_dupfd_cloexec(borrowed, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_from_vec_keeps_bytes_and_place() {
        let data = vec![7u8; 100_000].into_boxed_slice().into_vec();
        let start = data.as_ptr();
        let message = message_from_vec(data);
        assert_eq!(message.len(), 100_000);
        assert!(message.iter().all(|byte| *byte == 7));
        assert_eq!(message.as_ptr(), start);
    }

    #[test]
    fn local_message_has_no_property() {
        assert_eq!(message_property(&zmq::Message::new(), c"User-Id"), None);
    }
}
