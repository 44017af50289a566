//! `acqbus store serve`: a store for clients on other machines, those of hat-event among them.
//!
//! | file | is |
//! |---|---|
//! | `args` | where it listens, who is let in |
//! | `standby` | the other one of two servers |
//! | `running` | the server, its engine, and what they stand on |
//! | `telling`, `following` | what clients are told, whichever process has the store open |
//! | `show` | clients that come and go |

mod args;
mod following;
mod running;
mod show;
mod standby;
mod telling;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{after, never, select};

use crate::cli::args::some_seconds;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::cli::signal::Stop;
use crate::cli::store::args::Keep;

use args::Door;
use running::Running;
use show::Show;
use standby::Follow;

/// Arguments of `acqbus store serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Directory of the store; it is made where there is none
    #[arg(
        long = "store",
        env = "ACQBUS_STORE",
        value_name = "DIR",
        help_heading = "Store"
    )]
    dir: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// Server number of the events that clients register; whatever else writes into the store has another one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true, help_heading = "Store")]
    server_id: i64,
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    follow: Follow,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
}

impl Serve {
    /// Serves until the duration or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let stop = Stop::on_ctrl_c()?;
        let options = self.door.options()?;
        let rival = self.follow.rival(self.server_id, options.token.clone())?;
        let running = Running::start(&self.dir, &self.keep, self.server_id, options, rival)?;
        let show = Show::new(out, self.server_id);
        show.started(&self.dir, &running)?;
        let end = self.duration.map_or_else(never, after);
        let exit = loop {
            select! {
                recv(running.events()) -> event => if let Ok(event) = event {
                    show.event(&event, &running)?;
                },
                recv(running.states()) -> state => match state {
                    Ok(state) => show.state(state)?,
                    Err(_) => return Err(Failure::new(Exit::Failed, "the other server is followed no more")),
                },
                recv(stop.asked()) -> exit => break exit.unwrap_or(Exit::Interrupted),
                recv(end) -> _ => break Exit::Done,
            }
        };
        let stats = running.stop()?;
        show.ended(&stats)?;
        Ok(exit)
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store serve --store history
  acqbus store serve --store history --bind 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem
  acqbus store serve --store copy --server-id 2 --bind 0.0.0.0 --token-file token --standby-of history-server

Every other verb of `acqbus store` takes --server HOST[:PORT] in place of --store, and clients of hat-event connect as to
their own server. It serves a store that another program has open as well: `acqbus store record` in one terminal, with
another --server-id, and this in the next. With --standby-of it keeps a copy of the events of another server, answers
queries, and registers once the other has gone.";
