#![no_main]

use std::io::Cursor;

use acqbus::cdtp::DecodeLimits;
use acqbus::relay::{RunFileEntry, RunFileReader, run_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = DecodeLimits::default().frame_bytes(1 << 20);
    let Ok(mut reader) = RunFileReader::new(Cursor::new(data), "fuzz", limits) else {
        return;
    };
    let (mut entries, mut number) = (0, None);
    while let Some(entry) = reader.next_entry().expect("no disk") {
        entries += 1;
        assert!(entries <= data.len(), "more entries than bytes");
        if let RunFileEntry::Record(record) = entry {
            number = Some(record.view.sequence());
        }
    }
    assert!(reader.ending().is_some());
    reader.eor().expect("no disk");
    if let Some(number) = number {
        reader.seek(number).expect("no disk");
    }
    run_file::summarise(reader).expect("no disk");
});
