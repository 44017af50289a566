#![no_main]

use acqbus::store;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| store::fuzz_record(data));
