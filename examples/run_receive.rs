//! Receives runs from the senders at these addresses until each has ended one, and prints what came.
//!
//! `cargo run --example run_receive -- 127.0.0.1:4242`

use acqbus::cdtp::{CdtpError, DataReceiver, ReceiverOptions, RunEvent};

fn main() -> Result<(), CdtpError> {
    let senders: Vec<String> = std::env::args().skip(1).collect();
    let (receiver, events) = DataReceiver::start_with_events(ReceiverOptions::default())?;
    for sender in &senders {
        receiver.add_endpoint(&format!("tcp://{sender}").parse()?)?;
    }
    let mut open = senders.len();
    for event in events {
        match event {
            RunEvent::Bor(bor) => println!("{} begins a run: {:?}", bor.sender, bor.user_tags),
            RunEvent::Record(record) => {
                let (name, number) = (record.sender(), record.sequence());
                println!("{name} {number}: {} bytes", record.payload_bytes());
            }
            RunEvent::Lost(lost) => {
                println!("{} lost {} from {}", lost.sender, lost.count, lost.first)
            }
            RunEvent::Eor(eor) => {
                println!(
                    "{} has ended: {}, {:?}",
                    eor.sender, eor.condition, eor.counts
                );
                open = open.saturating_sub(1);
            }
            RunEvent::Substitute(eor) => println!("{} broke off: {}", eor.sender, eor.condition),
            RunEvent::Fault(fault) => println!("a message was dropped: {}", fault.kind),
            _ => {}
        }
        if open == 0 {
            receiver.request_stop();
        }
    }
    receiver.stop_receiving()
}
