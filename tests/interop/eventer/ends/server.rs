//! A server with a durable store; it ends in good order with its input.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::Status;
use acqbus::eventer::{EventerServer, Notifier, ServerOptions, Token};
use acqbus::store::{Backend, Engine, EngineOptions, RedbBackend, StoreConfig};
use serde_json::json;

use crate::{Args, Failure, say};

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = StoreConfig::from_json(&fs::read_to_string(args.needed("--configuration")?)?)?;
    let folder = Path::new(args.needed("--store")?).join("store");
    let notifier = Notifier::default();
    let backend = Arc::new(RedbBackend::open(&folder, config, notifier.callbacks())?);
    let server_id = args.needed("--server-id")?.parse()?;
    let engine = Engine::start(
        Arc::clone(&backend) as Arc<dyn Backend>,
        EngineOptions::default().server(server_id),
    )?;
    let mut options = ServerOptions::default()
        .bind(([127, 0, 0, 1], args.needed("--port")?.parse()?).into())
        .token(args.text("--token").map(Token::new))
        .notifier(notifier);
    if let Some(silence) = args.text("--ping") {
        let silence = Duration::from_secs_f64(silence.parse()?);
        options = options.ping_after(silence).close_after_ping(silence);
    }
    let server = EventerServer::start(options, engine.handle())?;
    say(&json!({"ready": true}))?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    server.set_status(Status::Stopping);
    engine.close()?;
    backend.flush()?;
    server.set_engine(None);
    server.stop();
    Ok(backend.close()?)
}
