//! An acquisition application: publishes events, answers commands, stops cleanly.
//!
//! It runs by itself on free ports, with a client in the same process in place of a person at a console.

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, Event, EventKind, RemoteClient,
    RpcOptions, RpcService,
};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = RpcService::new(RpcOptions::default().identifier("rig-7").any_port());
    service.set_delegate(answer);
    service.start()?; // a port in use is an error here
    println!(
        "events at port {}, commands at port {}",
        service.subscriber_port(),
        service.command_port()
    );

    let event = Event::now(EventKind::SessionStarted)
        .with_context(json!({"session_id": "s-1", "is_analysis_deferred": false}));
    service.send_event(&event)?; // returns in about a microsecond, whoever listens

    let at = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
    let client = RemoteClient::connect(at)?;
    for command in [ApiCommand::GetStatus, ApiCommand::EmergencyStop] {
        let response = client.request(command, &())?;
        println!(
            "{}: {} {}",
            command.name(),
            response.result(),
            response.data()
        );
    }

    service.stop(); // delivers what is queued; dropping the service does the same
    Ok(())
}

fn answer(request: &CommandRequest) -> CommandResponse {
    match request.command() {
        ApiCommand::GetStatus => CommandResponse::success().with_data(&json!({"app_mode": 0})),
        ApiCommand::EmergencyStop => CommandResponse::success(),
        _ => CommandResponse::unrecognized(),
    }
}
