//! Where the blocks of `run send` come from: a generator or standard input, read ahead by a thread.

use std::io::{self, ErrorKind, Read};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::cli::exit::{Exit, Failure};
use crate::cli::run::digest::Blocks;
use crate::cli::run::generate::Stream;

/// How records are cut: so many blocks of so many bytes each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Bytes of a block.
    pub(super) block_size: usize,
    /// Blocks of a record.
    pub(super) blocks: usize,
}

/// Some records, their blocks end to end in one buffer.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    shape: Shape,
    records: usize,
}

impl Shape {
    /// Bytes of a record.
    pub(super) fn record_len(self) -> usize {
        self.block_size.saturating_mul(self.blocks)
    }

    /// The records of a batch: enough to make it worth the trip between threads, and not more than memory takes.
    fn records_of_batch(self) -> usize {
        (BATCH_BYTES / self.record_len().max(1)).clamp(1, BATCH_RECORDS)
    }
}

impl Batch {
    /// The records, each as its blocks.
    pub(super) fn records(&self) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
        let (len, shape) = (self.shape.record_len(), self.shape);
        (0..self.records).map(move |index| {
            let start = (index * len).min(self.bytes.len());
            let end = (start + len).min(self.bytes.len());
            let mut record = &self.bytes[start..end];
            // Behind the last byte of standard input there are no blocks; generated ones may be empty.
            let blocks = match shape.block_size {
                0 => shape.blocks,
                size => record.len().div_ceil(size),
            };
            (0..blocks).map(move |_| {
                let (block, rest) = record.split_at(shape.block_size.min(record.len()));
                record = rest;
                block
            })
        })
    }
}

/// Blocks that were read into a buffer which is used again, kept to be hashed.
#[derive(Debug, Default)]
pub(super) struct Copied {
    bytes: Vec<u8>,
}

impl Copied {
    /// Adds a block.
    pub(super) fn add(&mut self, block: &[u8]) {
        self.bytes.extend_from_slice(block);
    }

    /// Whether it is worth the trip to another thread.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }
}

impl Blocks for Copied {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        // The digest does not know where a block ends.
        each(&self.bytes);
    }
}

/// Generated records, so many or without end.
///
/// The thread that makes them ends when nobody takes them any more.
pub(super) fn generated(
    records: Option<u64>,
    shape: Shape,
    seed: u64,
) -> Result<Receiver<Result<Batch, Failure>>, Failure> {
    let mut stream = Stream::new(seed);
    let mut left = records.unwrap_or(u64::MAX);
    ahead(move || {
        let most = shape.records_of_batch();
        let records = usize::try_from(left).map_or(most, |left| left.min(most));
        if records == 0 {
            return Ok(None);
        }
        left -= records as u64;
        let mut bytes = vec![0; records * shape.record_len()];
        stream.fill(&mut bytes);
        Ok(Some(Batch {
            bytes,
            shape,
            records,
        }))
    })
}

/// Standard input, cut into records; the last one is as long as what is left.
///
/// The thread that reads is not waited for: it may never get another byte.
pub(super) fn standard_input(shape: Shape) -> Result<Receiver<Result<Batch, Failure>>, Failure> {
    ahead(move || read(&mut io::stdin().lock(), shape))
}

/// Whatever is there, in whole records: a slow writer's first record does not wait for its next.
fn read(input: &mut impl Read, shape: Shape) -> Result<Option<Batch>, Failure> {
    let len = shape.record_len();
    let mut bytes = vec![0; len * shape.records_of_batch()];
    let mut filled = 0;
    loop {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::new(
                    Exit::BadData,
                    format!("standard input cannot be read: {error}"),
                ));
            }
        }
        if filled.is_multiple_of(len) {
            break;
        }
    }
    bytes.truncate(filled);
    let records = filled.div_ceil(len);
    Ok((records > 0).then_some(Batch {
        bytes,
        shape,
        records,
    }))
}

/// Calls `next` on a thread of its own until it gives no more, or nobody takes it.
fn ahead(
    mut next: impl FnMut() -> Result<Option<Batch>, Failure> + Send + 'static,
) -> Result<Receiver<Result<Batch, Failure>>, Failure> {
    let (sender, batches) = bounded(AHEAD);
    thread::Builder::new()
        .name("acqbus-source".to_owned())
        .spawn(move || {
            while let Some(batch) = next().transpose() {
                let last = batch.is_err();
                if sender.send(batch).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(batches)
}

const BATCH_BYTES: usize = 256 * 1024;
const BATCH_RECORDS: usize = 4096;

/// Batches that wait to be sent.
const AHEAD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(block_size: usize, blocks: usize) -> Shape {
        Shape { block_size, blocks }
    }

    fn records(batch: &Batch) -> Vec<Vec<Vec<u8>>> {
        let blocks = batch.records();
        blocks
            .map(|record| record.map(<[u8]>::to_vec).collect())
            .collect()
    }

    #[test]
    fn generated_records_are_cut_from_one_stream() {
        let shape = shape(3, 2);
        let batches = generated(Some(10_000), shape, 7).unwrap();
        let all: Vec<_> = batches
            .iter()
            .flat_map(|batch| records(&batch.unwrap()))
            .collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|record| record.len() == 2));
        let mut stream = vec![0; 60_000];
        Stream::new(7).fill(&mut stream);
        assert_eq!(all.concat().concat(), stream);
    }

    #[test]
    fn records_without_bytes_have_their_blocks_too() {
        for (shape, blocks) in [(shape(0, 2), 2), (shape(5, 0), 0)] {
            let batch = generated(Some(3), shape, 0).unwrap().recv().unwrap();
            let records = records(&batch.unwrap());
            assert_eq!(records, vec![vec![Vec::<u8>::new(); blocks]; 3]);
        }
    }

    #[test]
    fn input_is_cut_and_its_end_is_a_short_record() {
        let mut input = &b"abcdefghijk"[..];
        let batch = read(&mut input, shape(2, 2)).unwrap().unwrap();
        let text = |record: &[Vec<u8>]| String::from_utf8(record.join(&b'.')).unwrap();
        let texts: Vec<_> = records(&batch).iter().map(|record| text(record)).collect();
        assert_eq!(texts, ["ab.cd", "ef.gh", "ij.k"]);
        assert!(read(&mut input, shape(2, 2)).unwrap().is_none());
    }

    #[test]
    fn slow_input_is_sent_record_by_record() {
        struct Slow(&'static [u8]);
        impl Read for Slow {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let (byte, rest) = self.0.split_at(self.0.len().min(1));
                out[..byte.len()].copy_from_slice(byte);
                self.0 = rest;
                Ok(byte.len())
            }
        }
        let mut input = Slow(b"abcde");
        let mut next = || read(&mut input, shape(2, 1)).unwrap();
        assert_eq!(records(&next().unwrap()), [[b"ab".to_vec()]]);
        assert_eq!(records(&next().unwrap()), [[b"cd".to_vec()]]);
        assert_eq!(records(&next().unwrap()), [[b"e".to_vec()]]);
        assert!(next().is_none());
    }
}
