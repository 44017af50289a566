//! Keys and roles: a service that lets in who has a key, and lets a viewer look on only.
//! `acqbus keys` does the first part.

use std::time::Duration;

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, RemoteClient, RpcOptions,
    RpcService,
};
use acqbus::zsocket::{ClientKeys, KeyRing, Role};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut ring = KeyRing::create(folder.path().join("keys"))?;
    let ada = ring.add("ada", Role::Operator)?; // the path of a file to hand over
    let vic = ring.add("vic", Role::Viewer)?;

    let service = RpcService::launch(RpcOptions::default().any_port().keys(ring.directory()))?;
    service.set_delegate(|request: &CommandRequest| {
        let (user, command) = (request.user(), request.command().name());
        println!("  {user:?} asks for {command}");
        CommandResponse::success()
    });

    let at = ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .timeout(Duration::from_millis(500));
    for file in [&ada, &vic] {
        let keys = ClientKeys::load(file)?;
        println!("{}, {}:", keys.name, keys.role);
        let client = RemoteClient::connect(at.clone().keys(keys))?;
        for command in [ApiCommand::GetStatus, ApiCommand::EmergencyStop] {
            let response = client.request(command, &())?;
            let code = response.error_code(); // 403: the role does not permit it
            println!("  {}: {} {code}", command.name(), response.result());
        }
    }

    ring.revoke("ada")?; // ends live connections too
    let keys = ClientKeys::load(&ada)?;
    let refused = RemoteClient::connect(at.keys(keys))?.request(ApiCommand::GetStatus, &());
    println!("ada, revoked: {}", refused.expect_err("her key is revoked"));
    Ok(())
}
