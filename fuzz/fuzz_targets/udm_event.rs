#![no_main]

use acqbus::udm::{Signer, UdmEvent, verify};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut event) = UdmEvent::from_json(data) else {
        return;
    };
    let again = UdmEvent::from_json(event.to_json()).expect("what we write can be read");
    assert_eq!(again, event);
    assert_eq!(again.validate().is_ok(), event.validate().is_ok());
    let _ = verify(&event, KEY);
    let signer = Signer::new("fuzz", KEY).expect("a key");
    signer.sign(&mut event, Timestamp::UNIX_EPOCH);
    let again = UdmEvent::from_json(event.to_json()).expect("what we write can be read");
    assert!(
        verify(&again, KEY).is_ok(),
        "a round trip keeps the signature"
    );
});

const KEY: &[u8] = b"0123456789abcdef";
