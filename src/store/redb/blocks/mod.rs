//! The events themselves, packed into blocks by slot.
//!
//! A slot is the place of one event, given in the order of registering and never again. A block holds the events of slots that follow
//! each other, up to 256 events or 32,000 bytes, so that it fills one page of 32 KiB at most; a larger event has a block of its own.
//! The table `blocks` has them by their first slot, the table `live` says which of their events are still in use.
//! `docs/store-file.md` has the bytes.

mod cache;
mod format;
mod live;
mod reader;
mod writer;

pub(super) use cache::BlockCache;
pub(super) use reader::{BlockReader, Stored, Walk};
pub(super) use writer::BlockWriter;
