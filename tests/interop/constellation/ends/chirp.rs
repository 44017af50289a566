//! A CHIRP manager.

use acqbus::chirp::{ChirpEvent, ChirpManager, ChirpOptions, DiscoveredService, ServiceId};
use serde_json::{Value as Json, json};

use crate::{Args, End, Failure, number, say};

pub(crate) fn begin(args: &Args) -> Result<(Box<dyn End>, Json), Failure> {
    let group = args.text("--group").ok_or("no group")?;
    let name = args.text("--name").ok_or("no name")?;
    let manager = ChirpManager::start(ChirpOptions::new(group, name))?;
    manager.on_change(|event| {
        let kind = match event {
            ChirpEvent::Discovered(_) => "discovered",
            ChirpEvent::Departed(_) => "departed",
            ChirpEvent::Died(_) => "died",
            _ => "unknown",
        };
        if let Err(error) = say(&line(kind, event.service())) {
            eprintln!("interop_ends: {error}");
        }
    });
    Ok((Box::new(Manager(manager)), Json::Null))
}

struct Manager(ChirpManager);

impl End for Manager {
    fn order(&mut self, op: &str, order: &Json) -> Result<Json, Failure> {
        match op {
            "register" => self.0.register(service(order)?, port(order)?)?,
            "unregister" => {
                self.0.unregister(service(order)?)?;
            }
            "request" => self.0.request(service(order)?)?,
            "services" => {
                let services = self.0.services(None);
                let lines = services.iter().map(|found| line("discovered", found));
                return Ok(json!({"services": lines.collect::<Vec<_>>()}));
            }
            "alive" => return Ok(json!({"alive": true, "malformed": self.0.stats().malformed})),
            other => return Err(format!("no such order: {other}").into()),
        }
        Ok(Json::Null)
    }
}

fn line(event: &str, found: &DiscoveredService) -> Json {
    json!({
        "event": event,
        "host": crate::forms::hex(found.host.as_bytes()),
        "service": found.service as u8,
        "address": found.address.to_string(),
        "port": found.port,
    })
}

fn service(order: &Json) -> Result<ServiceId, Failure> {
    let number = number(order, "service")?;
    let known = [
        ServiceId::Control,
        ServiceId::Heartbeat,
        ServiceId::Monitoring,
        ServiceId::Data,
    ];
    let found = known.into_iter().find(|service| *service as u64 == number);
    found.ok_or_else(|| format!("no such service: {number}").into())
}

fn port(order: &Json) -> Result<u16, Failure> {
    Ok(u16::try_from(number(order, "port")?)?)
}
