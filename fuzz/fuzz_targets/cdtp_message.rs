#![no_main]

use acqbus::cdtp::{
    DataRecord, DecodeLimits, Encoding, MessageView, RecordView, RunMetadata, encode_message,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let unchecked = RecordView::checked_before(data);
    let _all = (unchecked.tags(), unchecked.tags_bytes(), unchecked.blocks().count());
    let Ok(message) = MessageView::decode(data, &DecodeLimits::default()) else {
        return;
    };
    assert_eq!(message.records().count(), message.record_count());
    let payload: u64 = message.records().map(|record| record.payload_bytes()).sum();
    assert_eq!(payload, message.payload_bytes());
    let copy = |record: RecordView<'_>| {
        let alone = RecordView::decode(record.as_bytes()).expect("a record of a message");
        assert_eq!(alone.block_count(), record.blocks().count());
        let copy = DataRecord::new(record.sequence()).with_tags(record.tags());
        let blocks = record.blocks().map(<[u8]>::to_vec);
        blocks.fold(copy, DataRecord::with_block)
    };
    let records: Vec<_> = message.records().map(copy).collect();
    if let Some((_, metadata)) = message.eor() {
        let _typed = RunMetadata::from_tags(&metadata).to_tags();
    }
    for encoding in [Encoding::Compact, Encoding::Cxx] {
        // A name may be longer in what comes than in what we send.
        if let Ok(frame) = encode_message(message.sender(), message.kind(), &records, encoding) {
            let again = MessageView::decode(&frame, &DecodeLimits::default());
            let again = again.expect("what we write, we read");
            assert_eq!(again.payload_bytes(), payload);
        }
    }
});
