//! Sorted maps in chunks: many small entries a page, so that an append rewrites one page and a scan reads whole ones.
//!
//! Each map has a prefix. A chunk is one pair of the table `chunks`: its key is the prefix and the first key of the chunk, its value has a
//! checksum, the prefix again and up to 168 entries in ascending order, which fill one page of 8 KiB. The table `counts` has the
//! number of entries of each map. `docs/store-file.md` has the bytes.

mod format;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use format::{Entry, EntryKey};
pub(super) use reader::ChunkReader;
pub(super) use writer::{ChunkWriter, Fate};
