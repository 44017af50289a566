//! Where a recording goes: into a store here, through an engine of this process, or to a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::print::harmless;
use crate::cli::store::args::{Keep, Place, Site, open_or_create};
use crate::cli::store::claim::Claim;
use crate::cli::store::remote::Remote;
use crate::relay::{Registrar, ServerRegistrar};
use crate::store::{Backend, Engine, EngineOptions, StoreHandle};

/// What a recording is registered with.
pub(super) enum Target {
    Here {
        engine: Engine,
        store: Arc<StoreHandle>,
        dir: PathBuf,
        server: i64,
        /// Given back behind the engine.
        _claim: Claim,
    },
    There(Remote),
}

impl Target {
    /// Opens or makes the store, or connects to the server, which gives its own number to the events.
    pub(super) fn open(place: &Place, keep: &Keep, server: i64) -> Result<Self, Failure> {
        match place.site()? {
            Site::Here(dir) => Self::here(dir, keep, server),
            Site::There(_) if keep.is_given() => Err(Failure::usage(
                "what a server keeps is said where it is started, not here",
            )
            .with_hint("acqbus store serve --store-config FILE, on its machine")),
            Site::There(address) => Remote::connect(place.client(address)?).map(Self::There),
        }
    }

    fn here(dir: &Path, keep: &Keep, server: i64) -> Result<Self, Failure> {
        let store = Arc::new(open_or_create(dir, keep)?);
        let claim = Claim::take(dir, server)?;
        let backend: Arc<dyn Backend> = Arc::<StoreHandle>::clone(&store);
        let engine = Engine::start(backend, EngineOptions::default().server(server))?;
        Ok(Self::Here {
            engine,
            store,
            dir: dir.to_owned(),
            server,
            _claim: claim,
        })
    }

    /// For the recorder.
    pub(super) fn registrar(&self) -> Box<dyn Registrar> {
        match self {
            Self::Here { engine, .. } => Box::new(engine.handle()),
            Self::There(remote) => Box::new(ServerRegistrar::new(Arc::clone(remote.client()))),
        }
    }

    /// The members that tell programs where it goes.
    pub(super) fn describe(&self, object: &mut Value) {
        match self {
            Self::Here { dir, server, .. } => {
                object["store"] = json!(dir);
                object["server"] = json!(server);
            }
            Self::There(remote) => object["server"] = json!(remote.address()),
        }
    }

    /// Ends the engine; what was registered is on disk then.
    pub(super) fn close(&self) -> Result<(), Failure> {
        match self {
            Self::Here { engine, store, .. } => {
                engine.close()?;
                store.close()?;
            }
            Self::There(remote) => remote.client().close(),
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    /// As it was named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { dir, .. } => f.write_str(&harmless(&dir.display().to_string())),
            Self::There(remote) => f.write_str(&harmless(remote.address())),
        }
    }
}
