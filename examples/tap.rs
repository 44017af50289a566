//! A tap: a consumer inside the application that sees everything published, in order, and knows what it missed.

use std::thread;

use acqbus::rpc::{Event, EventKind, RpcOptions, RpcService, Topic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = RpcService::launch(RpcOptions::default().any_port())?;
    // At most 1,000 messages behind; beyond that it misses some, and the service goes on.
    let tap = service.tap(1_000);
    let log = thread::spawn(move || {
        let mut events = 0;
        for message in tap.iter() {
            if let Some(event) = message.event() {
                events += 1;
                println!("{} {:?} at {}", message.topic, event.kind, event.when);
            }
        }
        (events, tap.lost())
    });

    service.send_event(&Event::now(EventKind::TunnelEnter))?;
    service.send_event(&Event::now(EventKind::TunnelExit))?;
    service.send_dict(Topic::PROPERTY_CHANGE, &serde_json::json!({"fan_speed": 3}))?;
    service.stop(); // ends the tap, behind what it still holds

    let (events, lost) = log.join().expect("the logging thread does not panic");
    println!("{events} events, {lost} messages lost");
    Ok(())
}
