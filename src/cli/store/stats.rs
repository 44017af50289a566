//! `acqbus store stats`: what a store holds.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, bytes, harmless};
use crate::cli::signal::Stop;
use crate::cli::store::args::Place;
use crate::cli::store::show;
use crate::event::OrderBy;
use crate::store::StoreStats;

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
        let store = self.place.open()?;
        let stats = store.stats()?;
        let figures = serde_json::to_value(&stats).map_err(std::io::Error::from)?;
        if out.is_json() {
            let mut object = json!({
                "notice": "stats",
                "store": self.place.dir,
                "inUse": !store.is_owner(),
            });
            if let (Some(object), Some(figures)) = (object.as_object_mut(), figures.as_object()) {
                object.extend(figures.clone());
            }
            out.object(&object)?;
        } else {
            tell(&stats, &self.place.dir, !store.is_owner(), out)?;
        }
        Ok(stop.asked().try_recv().unwrap_or(Exit::Done))
    }
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
