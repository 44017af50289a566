//! Which rig a console without an address drives: the one that is announced, or one that the person chooses.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::chirp::{ChirpEvent, ChirpId, DiscoveredService, ServiceId};
use crate::cli::args::{self, Bus};
use crate::cli::discovery::Discovery;
use crate::cli::exit::Failure;
use crate::cli::print::{Output, note};

/// Where the bus is; who says nothing of it gets a rig that announces itself.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Machine of the service [default: that of the rig that is found, or else 127.0.0.1]
    #[arg(long, env = "ACQBUS_HOST", value_parser = args::host, help_heading = "Bus")]
    host: Option<String>,
    /// Port of its events [default: that of the rig that is found, or else 5556]
    #[arg(
        long,
        env = "ACQBUS_SUBSCRIBER_PORT",
        value_name = "PORT",
        help_heading = "Bus"
    )]
    subscriber_port: Option<u16>,
    /// Port of its commands [default: that of the rig that is found, or else 5557]
    #[arg(
        long,
        env = "ACQBUS_COMMAND_PORT",
        value_name = "PORT",
        help_heading = "Bus"
    )]
    command_port: Option<u16>,
    /// Client key file, made by `acqbus keys add`; without one the connection is open
    #[arg(long, env = "ACQBUS_KEY", value_name = "FILE", help_heading = "Bus")]
    key: Option<PathBuf>,
    #[command(flatten)]
    discovery: Discovery,
}

impl Place {
    /// The bus that is meant. Looks for rigs only when neither a host nor a port is given; `interactive` if a person can choose.
    pub(super) fn bus(&self, out: Output, interactive: bool) -> Result<Bus, Failure> {
        if self.host.is_some() || self.subscriber_port.is_some() || self.command_port.is_some() {
            return Ok(self.at(None));
        }
        let rigs = match self.look() {
            Ok(rigs) => rigs,
            // What was asked for in so many words is not left out in silence.
            Err(failure) if !self.discovery.interface.is_empty() => return Err(failure),
            Err(failure) => {
                log::info!("rigs cannot be looked for: {failure}");
                Vec::new()
            }
        };
        match rigs.as_slice() {
            [] => Ok(self.at(None)),
            [rig] => {
                note(&format!("-- one rig is announced: {rig}"));
                Ok(self.at(Some(rig)))
            }
            rigs if interactive => Ok(self.at(Some(choose(rigs, out)?))),
            rigs => Err(Failure::usage(format!(
                "{} rigs are announced, and there is no terminal to choose at{}",
                rigs.len(),
                listed(rigs)
            ))
            .with_hint("the flags of one of them")),
        }
    }

    fn at(&self, rig: Option<&Rig>) -> Bus {
        Bus {
            host: match (&self.host, rig) {
                (Some(host), _) => host.clone(),
                (None, Some(rig)) => rig.address.to_string(),
                (None, None) => args::HOST.to_owned(),
            },
            subscriber_port: self
                .subscriber_port
                .or(rig.map(|rig| rig.subscriber_port))
                .unwrap_or(args::SUBSCRIBER_PORT),
            command_port: self
                .command_port
                .or(rig.map(|rig| rig.command_port))
                .unwrap_or(args::COMMAND_PORT),
            key: self.key.clone(),
        }
    }

    /// Asks for rigs and waits for their answers, which come within about 200 ms.
    fn look(&self) -> Result<Vec<Rig>, Failure> {
        let manager = self.discovery.join(None)?;
        let events = manager.subscribe();
        manager.request(ServiceId::Control)?;
        manager.request(ServiceId::Monitoring)?;
        Ok(gather(&events, Instant::now()))
    }
}

/// A rig that announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rig {
    address: Ipv4Addr,
    subscriber_port: u16,
    command_port: u16,
}

impl fmt::Display for Rig {
    /// The flags that lead there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--host {} --subscriber-port {} --command-port {}",
            self.address, self.subscriber_port, self.command_port
        )
    }
}

/// What is announced until the others must have answered, too; a little longer when nobody has.
fn gather(events: &Receiver<ChirpEvent>, since: Instant) -> Vec<Rig> {
    let mut services = BTreeMap::new();
    loop {
        let found = rigs(&services);
        let wait = if found.is_empty() { LONGEST } else { USUAL };
        match events.recv_deadline(since + wait) {
            Ok(event) => {
                let service = event.service();
                let key = (service.host, service.service);
                if event.is_discovered() {
                    services.insert(key, *service);
                } else {
                    services.remove(&key);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return found,
        }
    }
}

/// The hosts that have both services of a rig.
fn rigs(services: &BTreeMap<(ChirpId, ServiceId), DiscoveredService>) -> Vec<Rig> {
    let controls = services
        .values()
        .filter(|found| found.service == ServiceId::Control);
    let rig = |control: &DiscoveredService| {
        let monitoring = services.get(&(control.host, ServiceId::Monitoring))?;
        Some(Rig {
            address: control.address,
            subscriber_port: monitoring.port,
            command_port: control.port,
        })
    };
    let mut rigs: Vec<_> = controls.filter_map(rig).collect();
    // Hosts are hashes; people sort by what they see.
    rigs.sort_by_key(|rig| (rig.address, rig.command_port));
    rigs
}

fn choose(rigs: &[Rig], out: Output) -> Result<&Rig, Failure> {
    out.line(&format!(
        "{} rigs are announced:{}",
        rigs.len(),
        listed(rigs)
    ))?;
    loop {
        write!(io::stdout(), "Which one? [1-{}] ", rigs.len())?;
        io::stdout().flush()?;
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer)? == 0 {
            return Err(Failure::usage("no rig was chosen").with_hint("the flags of one of them"));
        }
        let number = answer.trim().parse::<usize>().unwrap_or(0);
        if let Some(rig) = number.checked_sub(1).and_then(|index| rigs.get(index)) {
            return Ok(rig);
        }
    }
}

fn listed(rigs: &[Rig]) -> String {
    let lines = rigs.iter().enumerate();
    lines
        .map(|(index, rig)| format!("\n  {}  {rig}", index + 1))
        .collect()
}

/// Within this time whoever is there has answered.
const USUAL: Duration = Duration::from_millis(250);

/// For answers on a busy machine, when there was none.
const LONGEST: Duration = Duration::from_millis(450);

#[cfg(test)]
mod tests {
    use super::*;

    fn services(
        list: &[(&str, ServiceId, u16)],
    ) -> BTreeMap<(ChirpId, ServiceId), DiscoveredService> {
        list.iter()
            .map(|(host, service, port)| {
                let host = ChirpId::of(host);
                let found = DiscoveredService::new(host, *service, Ipv4Addr::LOCALHOST, *port);
                ((host, *service), found)
            })
            .collect()
    }

    #[test]
    fn rig_has_both_services() {
        let found = services(&[
            ("Rig.a", ServiceId::Control, 20),
            ("Rig.a", ServiceId::Monitoring, 21),
            ("Rig.b", ServiceId::Control, 10),
            ("Rig.b", ServiceId::Monitoring, 11),
            ("Rig.c", ServiceId::Control, 30),
            ("Rig.d", ServiceId::Monitoring, 41),
            ("Camera.e", ServiceId::Data, 50),
        ]);
        let ports: Vec<_> = rigs(&found)
            .iter()
            .map(|rig| (rig.command_port, rig.subscriber_port))
            .collect();
        assert_eq!(ports, [(10, 11), (20, 21)]);
    }

    #[test]
    fn rig_is_told_as_the_flags_that_lead_there() {
        let rig = Rig {
            address: Ipv4Addr::LOCALHOST,
            subscriber_port: 5556,
            command_port: 5557,
        };
        assert_eq!(
            listed(&[rig]),
            "\n  1  --host 127.0.0.1 --subscriber-port 5556 --command-port 5557"
        );
    }
}
