//! Arguments that the verbs of the store share, and how their texts are read.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::origin::nearness;
use crate::cli::store::ask::Opened;
use crate::cli::store::moment::Moment;
use crate::cli::store::remote::{Reach, Remote};
use crate::event::{EventId, EventType, Subscription};
use crate::eventer::ClientOptions;
use crate::store::{Callbacks, OpenOptions, StoreConfig, StoreHandle};

/// Where the store is: a directory here, or a server that has one.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Directory of the store
    #[arg(
        long = "store",
        env = "ACQBUS_STORE",
        value_name = "DIR",
        help_heading = "Store"
    )]
    dir: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Which of the two it is.
pub(super) enum Site<'a> {
    /// In this directory.
    Here(&'a Path),
    /// With the server at this address.
    There(&'a str),
}

/// What is kept, where a store is made or recorded into.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Keep {
    /// What the store keeps and for how long: hat-event's configuration, TOML or JSON [default: as before, or else everything]
    #[arg(
        long,
        env = "ACQBUS_STORE_CONFIG",
        value_name = "FILE",
        help_heading = "Store"
    )]
    pub(crate) store_config: Option<PathBuf>,
}

/// The events that are meant.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Types {
    /// Event types, such as rig-1/event/sessionStarted; ? is any one segment, * at the end any rest [default: all]
    #[arg(value_name = "TYPE", value_parser = event_type)]
    types: Vec<EventType>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Stretch {
    /// Not before this time: RFC 3339, such as 2026-11-20T21:23:00Z, or before now, such as -10m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) from: Option<Moment>,
    /// Not after this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) to: Option<Moment>,
}

impl Place {
    /// The one that is named; of two the one that is named nearer to the user: typed, in the environment, in the settings.
    pub(super) fn site(&self) -> Result<Site<'_>, Failure> {
        match (&self.dir, &self.reach.server) {
            (Some(dir), None) => Ok(Site::Here(dir)),
            (None, Some(server)) => Ok(Site::There(server)),
            (Some(dir), Some(server)) => match nearness("store").cmp(&nearness("server")) {
                Ordering::Greater => Ok(Site::Here(dir)),
                Ordering::Less => Ok(Site::There(server)),
                Ordering::Equal => Err(Failure::usage(
                    "--store and --server are both given, and a store is in one place",
                )
                .with_hint("one of them")),
            },
            (None, None) => Err(Failure::usage("it is not said which store")
                .with_hint("--store <DIR>, or --server <HOST[:PORT]>")),
        }
    }

    /// Opens a store that is there.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        match self.site()? {
            Site::Here(dir) => open(dir).map(Opened::Here),
            Site::There(server) => Remote::connect(self.client(server)?).map(Opened::There),
        }
    }

    /// The options of a client of a server.
    pub(super) fn client(&self, server: &str) -> Result<ClientOptions, Failure> {
        self.reach.options(server)
    }
}

/// Opens a store that is there.
pub(super) fn open(dir: &Path) -> Result<StoreHandle, Failure> {
    let options = OpenOptions::default().create(false);
    Ok(StoreHandle::open(dir, options)?)
}

/// Opens a store to write into; it is made where there is none.
pub(crate) fn open_or_create(dir: &Path, keep: &Keep) -> Result<StoreHandle, Failure> {
    open_with(dir, keep, Callbacks::default())
}

/// The same, with whom the store tells while this process owns it.
pub(super) fn open_with(
    dir: &Path,
    keep: &Keep,
    callbacks: Callbacks,
) -> Result<StoreHandle, Failure> {
    let config = keep.config()?;
    let is_given = config.is_some();
    let options = OpenOptions::default().config(config).callbacks(callbacks);
    let store = StoreHandle::open(dir, options)?;
    if is_given && !store.is_owner() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{} is in use, and its configuration cannot change now",
                dir.display()
            ),
        )
        .with_hint("again without --store-config, or when the other program has ended"));
    }
    Ok(store)
}

impl Keep {
    /// Whether anything is said.
    pub(super) const fn is_given(&self) -> bool {
        self.store_config.is_some()
    }

    fn config(&self) -> Result<Option<StoreConfig>, Failure> {
        let Some(path) = &self.store_config else {
            return Ok(None);
        };
        let told = |failure: Failure| failure.while_doing(path.display());
        let text = fs::read_to_string(path).map_err(|error| {
            told(Failure::of(Exit::Usage, &error)).with_hint("another file for --store-config")
        })?;
        let is_json = path.extension().is_some_and(|name| name == "json");
        let config = if is_json || text.trim_start().starts_with('{') {
            StoreConfig::from_json(&text)
        } else {
            StoreConfig::from_toml(&text)
        };
        config.map(Some).map_err(|error| told(error.into()))
    }
}

impl Types {
    /// For a query: none where all are meant.
    pub(super) fn query(&self) -> Result<Option<Vec<EventType>>, Failure> {
        if self.types.is_empty() {
            return Ok(None);
        }
        // What cannot be a query type is told before the store is asked.
        self.subscription()?;
        Ok(Some(self.types.clone()))
    }

    pub(super) fn subscription(&self) -> Result<Subscription, Failure> {
        if self.types.is_empty() {
            return Ok(Subscription::all());
        }
        Subscription::new(self.types.iter().cloned()).map_err(|error| {
            Failure::usage(error.to_string()).with_hint("* at the end of the type only")
        })
    }
}

/// Reads an event id as it is printed: `1.20.3`.
pub(super) fn event_id(text: &str) -> Result<EventId, String> {
    text.trim()
        .parse()
        .map_err(|_| "not SERVER.SESSION.INSTANCE, such as 1.20.3".to_owned())
}

/// Reads an event type or a query type.
fn event_type(text: &str) -> Result<EventType, String> {
    if text.is_empty() {
        return Err("an event type has a segment at least".to_owned());
    }
    Ok(EventType::from(text))
}
