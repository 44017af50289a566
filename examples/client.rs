//! A client: follows events, learns what it missed and whether the service lives, and sends a command.
//!
//! With `ACQBUS_HOST` set it talks to the service there at the default ports; else it brings one along.

use std::env;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, Event, EventKind, Notice,
    RemoteClient, RpcOptions, RpcService, Topic,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = ClientOptions::default();
    let mut own = None;
    match env::var("ACQBUS_HOST") {
        Ok(host) => options = options.host(host),
        Err(_) => {
            let service = RpcService::launch(RpcOptions::default().any_port())?;
            service.set_delegate(|_: &CommandRequest| CommandResponse::success());
            options = options.ports(service.subscriber_port(), service.command_port());
            own = Some(service);
        }
    }

    let client = RemoteClient::connect(options)?;
    let events = client.subscribe(&[Topic::EVENT])?;
    let end = Instant::now() + Duration::from_millis(500);
    while let Some(notice) = events.recv_deadline(end) {
        match notice {
            Notice::Connected { identifier, .. } => {
                println!("connected to {identifier}");
                let response = client.request(ApiCommand::GetStatus, &())?;
                println!("status: {}", response.result());
                if let Some(service) = &own {
                    service.send_event(&Event::now(EventKind::TunnelEnter))?;
                }
            }
            Notice::Message(message) => println!("event: {:?}", message.event()),
            Notice::Gap {
                topic,
                first,
                count,
            } => println!("{topic}: {count} missing from {first}"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
