//! `acqbus store tail`: the last events, then those that come.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{after, never, select};
use serde_json::json;

use crate::cli::args;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, note};
use crate::cli::signal::Stop;
use crate::cli::store::args::{Place, Types};
use crate::cli::store::show;
use crate::event::{Event, EventId};
use crate::store::{FollowOptions, Followed, Follower, StoreHandle};

/// Arguments of `acqbus store tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    types: Types,
    /// Begin with the last N events
    #[arg(
        short = 'n',
        long = "last",
        value_name = "N",
        default_value_t = 10,
        allow_negative_numbers = true
    )]
    last: usize,
    /// Print events when they are on disk, not when they are registered
    #[arg(long)]
    persisted: bool,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = args::from_one, allow_negative_numbers = true)]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
}

impl Tail {
    /// Prints events until the count, the duration or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let types = self.types.subscription()?;
        let stop = Stop::on_ctrl_c()?;
        let store = self.place.open()?;
        let options = FollowOptions::default()
            .event_types(types)
            .persisted(self.persisted);
        let mut session = Session {
            out,
            left: self.count,
            printed: 0,
            lost: 0,
            last: HashMap::new(),
        };
        let mut follower = store.follow(&options.clone().last(self.last))?;
        let end = self.duration.map_or_else(never, after);
        let exit = loop {
            select! {
                recv(follower.news()) -> news => match news {
                    Ok(news) => if session.take(news)? { break Exit::Done },
                    Err(_) => match follower.failure() {
                        Some(error) => return Err(error.into()),
                        None => follower = session.go_on(&store, &options)?,
                    },
                },
                recv(stop.asked()) -> exit => break exit.unwrap_or(Exit::Interrupted),
                recv(end) -> _ => break match self.count {
                    Some(_) => Exit::TimedOut,
                    None => Exit::Done,
                },
            }
        };
        session.summary()?;
        Ok(exit)
    }
}

/// What was printed so far.
struct Session {
    out: Output,
    left: Option<u64>,
    printed: u64,
    lost: u64,
    last: HashMap<i64, EventId>,
}

impl Session {
    /// Prints; says whether that is all that was asked for.
    fn take(&mut self, news: Followed) -> Result<bool, Failure> {
        match news {
            Followed::Events(events) => {
                for event in events {
                    self.print(&event)?;
                    if self.left == Some(0) {
                        return Ok(true);
                    }
                }
            }
            Followed::Lost(count) => {
                self.lost += count;
                if self.out.is_json() {
                    self.out
                        .object(&json!({"notice": "lost", "count": count}))?;
                } else {
                    let text = format!("-- {} missed: they came too fast", show::events(count));
                    note(&self.out.paint(Colour::Bad, &text));
                }
            }
        }
        Ok(false)
    }

    fn print(&mut self, event: &Arc<Event>) -> Result<(), Failure> {
        let last = self.last.entry(event.id.server).or_insert(event.id);
        *last = event.id.max(*last);
        self.printed += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        show::event(self.out, event)
    }

    /// The program that had the store open has ended: goes on behind what was printed, with the next one or alone.
    fn go_on(&self, store: &StoreHandle, options: &FollowOptions) -> Result<Follower, Failure> {
        if !self.out.is_json() {
            let text = "-- the program that had the store open has ended; still following";
            note(&self.out.paint(Colour::Notice, text));
        }
        let seen = self.last.values().copied();
        Ok(store.follow(&options.clone().after(seen))?)
    }

    fn summary(&self) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.object(&json!({
                "notice": "end",
                "events": self.printed,
                "lost": self.lost,
            }));
        }
        note(&format!(
            "-- {}, {} missed",
            show::events(self.printed),
            self.lost
        ));
        Ok(())
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store tail --store history
  acqbus store tail 'rig-1/event/*' -n 0 --store history --json
  acqbus store tail -n 3 --count 3 --store history

It works while another program records into the store. With --count and --duration both, too few events in
time is exit code 4.";
