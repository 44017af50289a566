//! The bytes of run data: records written, messages checked and read.
//!
//! Each run does a batch of records, as a message of 128 KiB holds them; divide its time by the count in its name, or read the rate of items.

use acqbus::cdtp::{
    DataRecord, DecodeLimits, Encoding, MessageKind, MessageView, Tags, encode_message,
    write_record,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Sizes of the one block of a record.
const BLOCKS: [usize; 3] = [64, 1024, 65_536];

#[divan::bench(args = BLOCKS)]
fn write(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let count = records_of_a_message(block_bytes);
    let block = vec![7; block_bytes];
    let mut out = Vec::with_capacity(2 << 17);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        out.clear();
        for sequence in FIRST..FIRST + count as u64 {
            let record = DataRecord::new(sequence).with_block(black_box(&block[..]));
            write_record(&mut out, &record, Encoding::Compact).expect("a small record");
        }
        black_box(out.len())
    });
}

#[divan::bench(args = BLOCKS)]
fn check(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let frame = message(block_bytes, &Tags::new());
    let count = records_of_a_message(block_bytes);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let message = MessageView::decode(black_box(&frame), &DecodeLimits::default());
        message.expect("a good message").payload_bytes()
    });
}

#[divan::bench(args = BLOCKS)]
fn check_and_iterate(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let frame = message(block_bytes, &Tags::new());
    let count = records_of_a_message(block_bytes);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| iterate(&frame));
}

#[divan::bench(args = BLOCKS)]
fn check_and_iterate_with_tags(bencher: Bencher<'_, '_>, block_bytes: usize) {
    let tags = Tags::new().with("channel", 7).with("gain", 2.5);
    let frame = message(block_bytes, &tags);
    let count = records_of_a_message(block_bytes);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| iterate(&frame));
}

/// Checks a message and touches number and block of every record.
fn iterate(frame: &[u8]) -> u64 {
    let message = MessageView::decode(black_box(frame), &DecodeLimits::default());
    let mut sum = 0_u64;
    for record in message.expect("a good message").records() {
        sum = sum.wrapping_add(record.sequence());
        for block in record.blocks() {
            sum = sum.wrapping_add(black_box(block).len() as u64);
        }
    }
    sum
}

fn message(block_bytes: usize, tags: &Tags) -> Vec<u8> {
    let block = vec![7; block_bytes];
    let last = FIRST + records_of_a_message(block_bytes) as u64;
    let records: Vec<_> = (FIRST..last)
        .map(|sequence| DataRecord::new(sequence).with_tags(tags).with_block(&block))
        .collect();
    encode_message("Bench.One", MessageKind::Data, &records, Encoding::Compact)
        .expect("a short name")
}

/// The records that the default threshold of 128 KiB gathers.
fn records_of_a_message(block_bytes: usize) -> usize {
    (1 << 17) / block_bytes
}

/// A number as a long run has it, of four bytes.
const FIRST: u64 = 1_000_000;
