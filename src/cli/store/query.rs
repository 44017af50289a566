//! `acqbus store query`: asks for the latest event of each type, a stretch of time, or the events of a server.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, harmless, note};
use crate::cli::signal::Stop;
use crate::cli::store::args::{Place, Stretch, Types, event_id};
use crate::cli::store::ask::Ask;
use crate::cli::store::moment::Moment;
use crate::cli::store::page::Held;
use crate::cli::store::show;
use crate::event::{
    EventId, Order, OrderBy, QueryLatestParams, QueryParams, QueryServerParams,
    QueryTimeseriesParams,
};

/// Arguments of `acqbus store query`.
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The latest event of each type
    #[command(after_help = LATEST)]
    Latest(Latest),
    /// Events of a stretch of time
    #[command(after_help = TIMESERIES)]
    Timeseries(Timeseries),
    /// Events of one server, in the order of their ids
    #[command(after_help = SERVER)]
    Server(Server),
}

#[derive(Debug, Args)]
struct Latest {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    types: Types,
}

#[derive(Debug, Args)]
struct Timeseries {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    types: Types,
    #[command(flatten)]
    stretch: Stretch,
    /// Not before this time of the source
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    source_from: Option<Moment>,
    /// Not after this time of the source
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    source_to: Option<Moment>,
    /// Which comes first: the newest or the oldest
    #[arg(long, value_name = "ORDER", default_value = "desc")]
    order: Direction,
    /// The time that orders: when it was registered, or when the source says it was
    #[arg(long, value_name = "TIME", default_value = "timestamp")]
    order_by: By,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
struct Server {
    #[command(flatten)]
    place: Place,
    /// Number of the server
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    server_id: i64,
    /// What looks like the number of the server, or like event types
    #[arg(hide = true, allow_negative_numbers = true)]
    stray: Option<String>,
    /// Only what is on disk
    #[arg(long)]
    persisted: bool,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Clone, Copy, Args)]
struct Page {
    /// At most so many events [default: as many as the store gives at a time, 4,096 unless configured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true)]
    max_results: Option<i64>,
    /// Only what comes after this event in the order of the answer
    #[arg(long, value_name = "ID", value_parser = event_id, allow_hyphen_values = true)]
    after: Option<EventId>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Direction {
    /// The oldest first
    Asc,
    /// The newest first
    Desc,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// When the event was registered
    Timestamp,
    /// When it happened by the word of its source
    SourceTimestamp,
}

impl Query {
    /// Prints the answer.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        // The store is closed well, however early the user has enough.
        let stop = Stop::on_ctrl_c()?;
        match &self.what {
            What::Latest(latest) => latest.run(&stop, out),
            What::Timeseries(series) => series.run(&stop, out),
            What::Server(server) => server.run(&stop, out),
        }
    }
}

impl Latest {
    fn run(&self, stop: &Stop, out: Output) -> Result<Exit, Failure> {
        let mut params = QueryLatestParams::default();
        if let Some(types) = self.types.query()? {
            params = params.event_types(types);
        }
        let store = self.place.open()?;
        // One event a type, in an order that is the same each time.
        let mut events = store.query(&params.into())?.events;
        events.sort_by(|a, b| a.event_type.cmp(&b.event_type));
        for (printed, event) in (0_u64..).zip(&events) {
            if let Ok(exit) = stop.asked().try_recv() {
                tell_end(out, printed, Some(None))?;
                return Ok(exit);
            }
            show::event(out, event)?;
        }
        tell_end(out, events.len() as u64, None)
    }
}

impl Timeseries {
    fn run(&self, stop: &Stop, out: Output) -> Result<Exit, Failure> {
        let mut params = QueryTimeseriesParams::default()
            .order(match self.order {
                Direction::Asc => Order::Ascending,
                Direction::Desc => Order::Descending,
            })
            .order_by(match self.order_by {
                By::Timestamp => OrderBy::Timestamp,
                By::SourceTimestamp => OrderBy::SourceTimestamp,
            });
        params.event_types = self.types.query()?;
        params.t_from = self.stretch.from.map(|moment| moment.0);
        params.t_to = self.stretch.to.map(|moment| moment.0);
        params.source_t_from = self.source_from.map(|moment| moment.0);
        params.source_t_to = self.source_to.map(|moment| moment.0);
        let store = self.place.open()?;
        answer(&store, self.page, stop, out, |page| {
            params.max_results = page.max_results;
            params.last_event_id = page.after;
            params.clone().into()
        })
    }
}

impl Server {
    fn run(&self, stop: &Stop, out: Output) -> Result<Exit, Failure> {
        if let Some(stray) = &self.stray {
            return Err(match stray.parse::<i64>() {
                Ok(number) => Failure::usage(format!("{number} is not asked for by its place"))
                    .with_hint(format!("--server-id {number}")),
                Err(_) => Failure::usage(format!(
                    "{}: no event types choose from the events of a server",
                    harmless(stray)
                ))
                .with_hint("acqbus store query timeseries"),
            });
        }
        if let Some(after) = self.page.after
            && after.server != self.server_id
        {
            return Err(Failure::usage(format!(
                "--after {after} is an event of server {}, and the query is for server {}",
                after.server, self.server_id
            ))
            .with_hint(format!("--server-id {}", after.server)));
        }
        let mut params = QueryServerParams::new(self.server_id).persisted(self.persisted);
        let store = self.place.open()?;
        answer(&store, self.page, stop, out, |page| {
            params.max_results = page.max_results;
            params.last_event_id = page.after;
            params.into()
        })
    }
}

/// Prints page after page, until there are as many events as were asked for: the store gives a page at a time.
///
/// A page is read before it is printed, for the output may stand still for long.
fn answer(
    store: &dyn Ask,
    mut page: Page,
    stop: &Stop,
    out: Output,
    mut params: impl FnMut(Page) -> QueryParams,
) -> Result<Exit, Failure> {
    let mut printed = 0_u64;
    loop {
        let held = Held::read(store, &params(page))?;
        for event in &held.events {
            if let Ok(exit) = stop.asked().try_recv() {
                tell_end(out, printed, Some(page.after))?;
                return Ok(exit);
            }
            show::event(out, event)?;
            printed += 1;
            page.after = Some(event.id);
        }
        let count = i64::try_from(held.events.len()).unwrap_or(i64::MAX);
        page.max_results = page.max_results.map(|most| most - count);
        let is_wanted = held.is_cut || page.max_results.is_some_and(|left| left > 0);
        if held.more_follows && count > 0 && is_wanted {
            continue;
        }
        return tell_end(out, printed, held.more_follows.then_some(page.after));
    }
}

/// Says how many there were, and how to see more; `more` is the last event that was seen.
fn tell_end(out: Output, events: u64, more: Option<Option<EventId>>) -> Result<Exit, Failure> {
    if out.is_json() {
        out.object(&json!({
            "notice": "end",
            "events": events,
            "moreFollows": more.is_some(),
            "after": more.flatten().map(|id| id.to_string()),
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("-- {}", show::events(events));
    match more {
        Some(Some(last)) => text.push_str(&format!(
            ", and more follow: --after {last}, or a larger --max-results"
        )),
        Some(None) => text.push_str(", and more follow: a larger --max-results"),
        None => {}
    }
    note(&out.paint(Colour::Notice, &text));
    Ok(Exit::Done)
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store query latest --store history
  acqbus store query timeseries 'rig-1/event/*' --from -10m --store history
  acqbus store query server --server-id 1 --max-results 20 --store history";

const LATEST: &str = "\
Examples:
  acqbus store query latest --store history
  acqbus store query latest 'rig-1/*' --store history --json";

const TIMESERIES: &str = "\
Examples:
  acqbus store query timeseries --store history --max-results 10
  acqbus store query timeseries 'rig-1/event/*' '?/heartbeat' --from -10m --order asc --store history
  acqbus store query timeseries --from 2026-11-20T21:00:00Z --to 2026-11-20T22:00:00Z --store history --json

An event type is text with / between its segments: ? stands for any one segment, * at the end for any rest.";

const SERVER: &str = "\
Examples:
  acqbus store query server --store history
  acqbus store query server --server-id 1 --after 1.20.3 --max-results 100 --store history --json";
