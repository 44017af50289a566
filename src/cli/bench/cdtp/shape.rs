//! A run to measure: its blocks, its records, and the frames that the transmitter makes of them.

use crate::cdtp::{DataRecord, Encoding, MessageKind, encode_message};
use crate::cli::exit::{Exit, Failure};

/// A run of records of one block each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(super) struct Shape {
    /// Bytes of a block
    #[arg(long)]
    pub(super) block_bytes: usize,
    /// Records of the run
    #[arg(long)]
    pub(super) records: u64,
    /// Payload of a message, in KiB; 0 is each record alone
    #[arg(long)]
    pub(super) threshold_kib: u32,
}

impl Shape {
    /// Bytes of all the blocks.
    pub(super) fn payload_bytes(self) -> u64 {
        self.records * self.block_bytes as u64
    }

    /// Records of one message.
    pub(super) fn records_a_message(self) -> u64 {
        let threshold = u64::from(self.threshold_kib) << 10;
        threshold
            .div_ceil((self.block_bytes as u64).max(1))
            .clamp(1, self.records.max(1))
    }

    /// Messages of the run, the last of which may be shorter.
    pub(super) fn messages(self) -> u64 {
        self.records.div_ceil(self.records_a_message())
    }

    /// Bytes of a frame from the middle of the run.
    pub(super) fn frame_bytes(self) -> Result<usize, Failure> {
        let block = vec![0; self.block_bytes];
        let middle = self.records / 2;
        let records: Vec<_> = (0..self.records_a_message())
            .map(|at| DataRecord::new(middle + at).with_block(&block[..]))
            .collect();
        encode_message(SENDER, MessageKind::Data, &records, Encoding::Compact)
            .map(|frame| frame.len())
            .map_err(|error| Failure::of(Exit::Failed, &error))
    }

    /// The flags that give this shape to the other process.
    pub(super) fn flags(self) -> [String; 3] {
        [
            format!("--block-bytes={}", self.block_bytes),
            format!("--records={}", self.records),
            format!("--threshold-kib={}", self.threshold_kib),
        ]
    }
}

/// The sender of the runs that are measured.
pub(super) const SENDER: &str = "Bench.Transmitter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_as_many_records_as_reach_the_threshold() {
        let shape = |block_bytes, threshold_kib| Shape {
            block_bytes,
            records: 10_000,
            threshold_kib,
        };
        assert_eq!(shape(64, 128).records_a_message(), 2048);
        assert_eq!(shape(64, 128).messages(), 5);
        assert_eq!(shape(64 << 10, 128).records_a_message(), 2);
        assert_eq!(shape(1 << 20, 128).records_a_message(), 1);
        assert_eq!(shape(64, 0).records_a_message(), 1);
    }

    #[test]
    fn frame_is_the_one_that_goes_over_the_wire() {
        let alone = Shape {
            block_bytes: 64,
            records: 1_000_000,
            threshold_kib: 0,
        };
        // Protocol, sender, type, count; then the record: array, number, tags, blocks, the block.
        let head = 6 + 1 + SENDER.len() + 1 + 1;
        assert_eq!(alone.frame_bytes().unwrap(), head + 1 + 5 + 1 + 1 + 2 + 64);
    }
}
