//! A server with a durable store; it ends in good order with its input.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::Status;
use acqbus::eventer::{
    ClientOptions, EventerServer, Notifier, ServerOptions, Standby, StandbyOptions, SyncOptions,
    Token,
};
use acqbus::store::{Backend, Engine, EngineOptions, RedbBackend, StoreConfig};
use serde_json::json;

use crate::{Args, Failure, say};

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = StoreConfig::from_json(&fs::read_to_string(args.needed("--configuration")?)?)?;
    let folder = Path::new(args.needed("--store")?);
    let notifier = Notifier::default();
    let backend = Arc::new(RedbBackend::open(folder, config, notifier.callbacks())?);
    let server_id = args.needed("--server-id")?.parse()?;
    let mut options = ServerOptions::default()
        .bind(([127, 0, 0, 1], args.needed("--port")?.parse()?).into())
        .token(args.text("--token").map(Token::new))
        .notifier(notifier);
    if let Some(silence) = args.text("--ping") {
        let silence = Duration::from_secs_f64(silence.parse()?);
        options = options.ping_after(silence).close_after_ping(silence);
    }
    match args.text("--follow") {
        Some(address) => follow(options, address, server_id, args, &backend)?,
        None => serve(options, server_id, &backend)?,
    }
    Ok(backend.close()?)
}

fn serve(
    options: ServerOptions,
    server_id: i64,
    backend: &Arc<RedbBackend>,
) -> Result<(), Failure> {
    let engine = Engine::start(
        Arc::clone(backend) as Arc<dyn Backend>,
        EngineOptions::default().server(server_id),
    )?;
    let server = EventerServer::start(options, engine.handle())?;
    wait_for_end()?;
    server.set_status(Status::Stopping);
    engine.close()?;
    backend.flush()?;
    server.set_engine(None);
    server.stop();
    Ok(())
}

/// Stands by for the server at an address, and takes over a second after it has gone.
fn follow(
    options: ServerOptions,
    address: &str,
    server_id: i64,
    args: &Args,
    backend: &Arc<RedbBackend>,
) -> Result<(), Failure> {
    let client = ClientOptions::new(address).token(args.text("--token").map(Token::new));
    let remote = args.needed("--remote-id")?.parse()?;
    let options = StandbyOptions::new(options, SyncOptions::new(client, server_id, remote))
        .take_over_after(Duration::from_secs(1));
    let standby = Standby::start(options, Arc::clone(backend) as Arc<dyn Backend>)?;
    wait_for_end()?;
    Ok(standby.stop()?)
}

fn wait_for_end() -> Result<(), Failure> {
    say(&json!({"ready": true}))?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
