//! `acqbus discover`: prints which services come and go.

use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, after, never, select};
use serde_json::json;

use crate::chirp::{ChirpEvent, ServiceId};
use crate::cli::args;
use crate::cli::discovery::Discovery;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, note};
use crate::cli::signal::Stop;

/// Arguments of `acqbus discover`.
#[derive(Debug, Args)]
pub(crate) struct Discover {
    /// Only this service: control, heartbeat, monitoring or data; may be repeated [default: all]
    #[arg(long, value_name = "SERVICE", value_parser = service)]
    service: Vec<ServiceId>,
    #[command(flatten)]
    discovery: Discovery,
    /// Seconds of silence after which a service is told as died; it is asked three times before
    #[arg(long, value_name = "S", value_parser = ageing, allow_negative_numbers = true)]
    ageing: Option<Duration>,
    /// End after this many services were found
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = args::some_seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
}

impl Discover {
    /// Prints services until the count, the duration or Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let stop = Stop::on_ctrl_c()?;
        let manager = self.discovery.join(self.ageing)?;
        let events = manager.subscribe();
        let wanted: &[ServiceId] = if self.service.is_empty() {
            &ServiceId::ALL
        } else {
            &self.service
        };
        for service in wanted {
            manager.request(*service)?;
        }
        let end = self.duration.map_or_else(never, after);
        // Someone who waits wants to know why nothing comes.
        let mut silence: Receiver<Instant> = after(SILENCE);
        let mut found = 0_u64;
        loop {
            select! {
                recv(events) -> event => {
                    let Ok(event) = event else {
                        return Err(Failure::new(Exit::Failed, "the discovery has ended"));
                    };
                    if wanted.contains(&event.service().service) {
                        silence = never();
                        self.show(&event, out)?;
                        found += u64::from(event.is_discovered());
                    }
                },
                recv(stop.asked()) -> exit => return Ok(exit.unwrap_or(Exit::Interrupted)),
                recv(end) -> _ => return self.at_end(found),
                recv(silence) -> _ => {
                    silence = never();
                    note(&format!("acqbus: {}; waiting (Ctrl-C ends)", self.nothing()));
                },
            }
            if self.count.is_some_and(|count| found >= count) {
                return Ok(Exit::Done);
            }
        }
    }

    fn show(&self, event: &ChirpEvent, out: Output) -> Result<(), Failure> {
        let (notice, colour) = match event {
            ChirpEvent::Discovered(_) => ("discovered", Colour::Good),
            ChirpEvent::Departed(_) => ("departed", Colour::Notice),
            ChirpEvent::Died(_) => ("died", Colour::Bad),
        };
        let service = event.service();
        if out.is_json() {
            return out.object(&json!({
                "notice": notice,
                "service": service.service.as_str(),
                "address": service.address.to_string(),
                "port": service.port,
                "host": service.host.to_string(),
                "group": self.discovery.group,
            }));
        }
        let notice = out.paint(colour, &format!("{notice:<10}"));
        let kind = format!("{:<10}", service.service.as_str());
        let address = format!("{:<21}", service.socket_address().to_string());
        out.line(&format!(
            "{notice}  {kind}  {address}  host {}",
            service.host
        ))
    }

    fn at_end(&self, found: u64) -> Result<Exit, Failure> {
        if let Some(count) = self.count {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("{found} of {count} services were found in time"),
            )
            .with_hint(self.discovery.hint()));
        }
        if found == 0 {
            note(&format!(
                "acqbus: {}\n  try: {}",
                self.nothing(),
                self.discovery.hint()
            ));
        }
        Ok(Exit::Done)
    }

    fn nothing(&self) -> String {
        format!("no service in group {:?} yet", self.discovery.group)
    }
}

fn ageing(text: &str) -> Result<Duration, String> {
    let time = args::seconds(text)?;
    if time < SHORTEST_AGEING {
        return Err("less than a second is too short for an answer".to_owned());
    }
    Ok(time)
}

fn service(text: &str) -> Result<ServiceId, String> {
    text.parse::<ServiceId>().map_err(|error| error.to_string())
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus discover --duration 1
  acqbus discover --service data --group edda --interface all
  acqbus discover --json | jq 'select(.service == \"control\") | .port'

Rigs announce control and monitoring in the group acqbus, `acqbus run send` announces data; the
satellites of a Constellation announce in the group that they were started with. A host is told by
its hash: CHIRP carries no names. One that dies without a word stays known, unless --ageing asks
for it. With --count and --duration both, too few in time is exit code 4.";

/// The manager takes shorter ones as this.
const SHORTEST_AGEING: Duration = Duration::from_secs(1);

/// After this long without a service the user is told.
const SILENCE: Duration = Duration::from_secs(2);
