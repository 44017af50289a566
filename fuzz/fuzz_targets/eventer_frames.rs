#![no_main]

use std::time::Instant;

use acqbus::eventer::chatter::{Chatter, ChatterOptions};
use acqbus::eventer::message::Message;
use libfuzzer_sys::fuzz_target;

// The first byte is the size of the pieces, the rest what a peer sends.
fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let (mut pongs, mut pongs_at_once) = (Vec::new(), Vec::new());
    let pieces = stream.chunks(1 + usize::from(*size));
    let messages = take(pieces, &mut pongs);
    let at_once = take([stream].into_iter(), &mut pongs_at_once);
    assert_eq!(messages, at_once);
    assert_eq!(pongs, pongs_at_once);
});

type Taken = (i64, bool, bool, bool, String, Vec<u8>);

/// The messages until the first fault, and whether there was one.
fn take<'a>(pieces: impl Iterator<Item = &'a [u8]>, pongs: &mut Vec<u8>) -> (Vec<Taken>, bool) {
    let now = Instant::now();
    let mut end = Chatter::new(ChatterOptions::default().max_frame(MAX_FRAME), now);
    let mut taken = Vec::new();
    for piece in pieces {
        end.receive(piece, now);
        loop {
            match end.next(pongs) {
                Ok(None) => break,
                Err(_) => return (taken, true),
                Ok(Some(message)) => {
                    assert!(message.data.len() < MAX_FRAME);
                    let _ = Message::decode(message.kind, message.data);
                    taken.push((
                        message.conversation.first,
                        message.conversation.owner,
                        message.is_first,
                        message.last,
                        message.kind.to_owned(),
                        message.data.to_owned(),
                    ));
                }
            }
        }
    }
    (taken, false)
}

const MAX_FRAME: usize = 4096;
