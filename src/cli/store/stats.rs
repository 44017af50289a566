//! `acqbus store stats`: what a store holds.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, bytes, counted, harmless};
use crate::cli::signal::Stop;
use crate::cli::store::args::Place;
use crate::cli::store::ask::{Ask, Opened};
use crate::cli::store::remote::Remote;
use crate::cli::store::show;
use crate::event::{OrderBy, QueryLatestParams};
use crate::store::{StoreHandle, StoreStats};

/// Arguments of `acqbus store stats`.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    place: Place,
}

impl Stats {
    /// Prints the figures.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        // The store is closed well, also when the user has enough.
        let stop = Stop::on_ctrl_c()?;
        match self.place.open()? {
            Opened::Here(store) => here(&store, out)?,
            Opened::There(remote) => there(&remote, out)?,
        }
        Ok(stop.asked().try_recv().unwrap_or(Exit::Done))
    }
}

fn here(store: &StoreHandle, out: Output) -> Result<(), Failure> {
    let stats = store.stats()?;
    if !out.is_json() {
        return tell(&stats, store.dir(), !store.is_owner(), out);
    }
    let figures = serde_json::to_value(&stats).map_err(std::io::Error::from)?;
    let mut object = json!({
        "notice": "stats",
        "store": store.dir(),
        "inUse": !store.is_owner(),
    });
    if let (Some(object), Some(figures)) = (object.as_object_mut(), figures.as_object()) {
        object.extend(figures.clone());
    }
    out.object(&object)
}

/// What the protocol can tell: no counts, but what the server does, and how far its events reach.
fn there(remote: &Remote, out: Output) -> Result<(), Failure> {
    let types = remote.query(&QueryLatestParams::default().into())?;
    let types = types.events.len() as u64;
    let servers = remote.last_events()?;
    let status = show::status(remote.client().status());
    if out.is_json() {
        let servers: Vec<_> = servers
            .values()
            .map(|event| {
                json!({
                    "server": event.id.server,
                    "lastEventId": event.id,
                    "lastTimestamp": event.timestamp,
                })
            })
            .collect();
        return out.object(&json!({
            "notice": "stats",
            "server": remote.address(),
            "status": status,
            "types": types,
            "servers": servers,
        }));
    }
    out.line(&format!(
        "{}: {status}, the latest events of {}",
        out.paint(Colour::Name, &harmless(remote.address())),
        counted(types, "type")
    ))?;
    for event in servers.values() {
        out.line(&format!(
            "server {}: the last {} at {}",
            event.id.server,
            event.id,
            show::time(event.timestamp)
        ))?;
    }
    Ok(())
}

fn tell(stats: &StoreStats, dir: &Path, in_use: bool, out: Output) -> Result<(), Failure> {
    let place = out.paint(Colour::Name, &harmless(&dir.display().to_string()));
    let owner = if in_use {
        ", in use by another program"
    } else {
        ""
    };
    out.line(&format!(
        "store {place}{owner}: {} of {} types on disk, {} not yet, file of {}",
        show::events(stats.events),
        stats.types,
        stats.unflushed,
        bytes(stats.file_bytes as f64)
    ))?;
    for server in &stats.servers {
        out.line(&format!(
            "server {}: {}, the last {} at {}",
            server.server,
            show::events(server.events),
            server.last_event_id,
            show::time(server.last_timestamp)
        ))?;
    }
    for series in &stats.partitions {
        let by = match series.order_by {
            OrderBy::SourceTimestamp => "source timestamp",
            OrderBy::Timestamp => "timestamp",
        };
        let types: Vec<_> = series
            .subscriptions
            .query_types()
            .iter()
            .map(|query_type| harmless(&query_type.to_string()))
            .collect();
        let span = match (series.oldest, series.newest) {
            (Some(oldest), Some(newest)) => {
                format!(", {} to {}", show::time(oldest), show::time(newest))
            }
            _ => String::new(),
        };
        out.line(&format!(
            "series by {by} of {}: {}{span}",
            types.join(" "),
            show::events(series.events)
        ))?;
    }
    Ok(())
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store stats --store history
  acqbus store stats --store history --json";
