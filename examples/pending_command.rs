//! A slow command: answered at once, worked on by another thread, finished under its nonce.

use std::thread;
use std::time::Duration;

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, CommandResult, RemoteClient,
    RpcOptions, RpcService,
};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = RpcService::launch(RpcOptions::default().any_port())?;
    service.set_delegate(calibrate);

    let at = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
    let client = RemoteClient::connect(at)?;
    let request = CommandRequest::new(ApiCommand::UserDefined).with_custom_command(1);
    let outcome = client.send_and_wait(&request, Duration::from_secs(2), |report| {
        println!("so far: {} {}", report.result(), report.data());
    })?;
    println!(
        "result: {} {}",
        outcome.last().result(),
        outcome.last().data()
    );
    Ok(())
}

fn calibrate(request: &CommandRequest) -> CommandResponse {
    let (response, pending) = request.defer();
    if !pending.is_open() {
        return response; // Too many are pending: it says UNAVAILABLE, so nothing is begun.
    }
    // A deadline and a drop both publish FAILED: no client waits for ever.
    let pending = pending.with_deadline(Duration::from_secs(60));
    thread::spawn(move || {
        for step in 1..=3 {
            thread::sleep(Duration::from_millis(50)); // the work
            // Nobody needs to hear of progress for the work to go on.
            let _ = pending.progress(&json!({"step": step, "of": 3}));
        }
        if let Err(error) = pending.complete(CommandResult::Success, &json!({"offset": 0.25})) {
            eprintln!("the result was not published: {error}");
        }
    });
    response
}
