//! `acqbus store tail`: the last events, then those that come.

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
use crate::cli::store::following::{Following, News};
use crate::cli::store::show;
use crate::event::Event;
use crate::store::FollowOptions;

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
        let options = FollowOptions::default()
            .event_types(types)
            .persisted(self.persisted)
            .last(self.last);
        let (mut following, first) = Following::start(&self.place, options)?;
        let mut session = Session {
            out,
            left: self.count,
            printed: 0,
            lost: 0,
        };
        if session.take(News::Events(first), &mut following)? {
            session.summary()?;
            return Ok(Exit::Done);
        }
        let end = self.duration.map_or_else(never, after);
        let exit = loop {
            select! {
                recv(following.here()) -> news => {
                    let news = following.take_here(news.ok())?;
                    if session.take(news, &mut following)? { break Exit::Done }
                }
                recv(following.there()) -> notice => {
                    let news = following.take_there(notice.ok())?;
                    if session.take(news, &mut following)? { break Exit::Done }
                }
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
}

impl Session {
    /// Prints; says whether that is all that was asked for.
    fn take(&mut self, news: News, following: &mut Following) -> Result<bool, Failure> {
        match news {
            News::Events(events) => {
                for event in events {
                    self.print(&event)?;
                    following.shown(event.id);
                    if self.left == Some(0) {
                        return Ok(true);
                    }
                }
            }
            News::Lost(count) => {
                self.lost += count;
                if self.out.is_json() {
                    self.out
                        .object(&json!({"notice": "lost", "count": count}))?;
                } else {
                    let text = format!("-- {} missed: they came too fast", show::events(count));
                    note(&self.out.paint(Colour::Bad, &text));
                }
            }
            News::Told(object, text) => {
                if !self.out.is_json() {
                    note(&self.out.paint(Colour::Notice, &format!("-- {text}")));
                } else if !object.is_null() {
                    self.out.object(&object)?;
                }
            }
            News::Nothing => {}
        }
        Ok(false)
    }

    fn print(&mut self, event: &Arc<Event>) -> Result<(), Failure> {
        self.printed += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        show::event(self.out, event)
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
