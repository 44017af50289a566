//! A receiver.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acqbus::cdtp::{Arrival, DataReceiver, Eor, ReceiverOptions, RunEvent};
use acqbus::chirp::{ChirpId, DiscoveredService, ServiceId};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::{Args, End, Failure, forms, merged, number, say, text};

pub(crate) fn begin(args: &Args) -> Result<(Box<dyn End>, Json), Failure> {
    let mut options = ReceiverOptions::default()
        .eor_timeout(Duration::from_secs(args.number("--eor-timeout", 10)?));
    if let Some(senders) = args.text("--senders") {
        options = options.senders(senders.split(',').filter(|name| !name.is_empty()));
    }
    let quiet = args.has("--quiet");
    Ok((
        Box::new(Receiver {
            options,
            quiet,
            end: None,
            totals: Arc::default(),
        }),
        Json::Null,
    ))
}

struct Receiver {
    options: ReceiverOptions,
    quiet: bool,
    end: Option<DataReceiver>,
    totals: Arc<Mutex<Totals>>,
}

#[derive(Default)]
struct Totals {
    records: u64,
    bytes: u64,
    digest: Sha256,
}

impl End for Receiver {
    fn order(&mut self, op: &str, order: &Json) -> Result<Json, Failure> {
        if op == "start" {
            return self.start();
        }
        let end = self.end.as_mut().ok_or("not started")?;
        match op {
            "add" => return Ok(json!({"added": end.add_sender(&service(order)?)?})),
            "remove" => return Ok(json!({"removed": end.remove_sender(&service(order)?)})),
            "check" => end.check_error()?,
            "stop" => end.stop_receiving()?,
            "states" => {
                let states = end.states().into_iter().map(|(name, state)| {
                    (
                        name,
                        json!([state.state as u8, state.sequence, state.missed]),
                    )
                });
                return Ok(json!({"states": states.collect::<Map<_, _>>()}));
            }
            "totals" => {
                let totals = self.totals.lock().expect("no holder panics");
                return Ok(json!({
                    "records": totals.records,
                    "bytes": totals.bytes,
                    "sha256": forms::hex(&totals.digest.clone().finalize()),
                    "bytes_received": end.bytes_received(),
                }));
            }
            other => return Err(format!("no such order: {other}").into()),
        }
        Ok(Json::Null)
    }
}

impl Receiver {
    fn start(&mut self) -> Result<Json, Failure> {
        self.totals = Arc::default();
        let (totals, quiet) = (Arc::clone(&self.totals), self.quiet);
        let tell = move |event: RunEvent| {
            if let RunEvent::Record(record) = &event {
                let mut totals = totals.lock().expect("no holder panics");
                totals.records += 1;
                for block in record.view().blocks() {
                    totals.bytes += block.len() as u64;
                    totals.digest.update(block);
                }
                if quiet {
                    return;
                }
            }
            if let Err(error) = say(&line(&event)) {
                eprintln!("interop_ends: {error}");
            }
        };
        self.end = Some(DataReceiver::start(self.options.clone(), tell)?);
        Ok(Json::Null)
    }
}

fn service(order: &Json) -> Result<DiscoveredService, Failure> {
    let host = ChirpId::of(text(order, "host")?);
    let port = u16::try_from(number(order, "port")?)?;
    Ok(DiscoveredService::new(
        host,
        ServiceId::Data,
        Ipv4Addr::LOCALHOST,
        port,
    ))
}

fn line(event: &RunEvent) -> Json {
    match event {
        RunEvent::Bor(bor) => json!({
            "event": "bor",
            "sender": bor.sender.as_str(),
            "user_tags": forms::pairs(&bor.user_tags),
            "configuration": forms::pairs(&bor.configuration),
            "restarted": bor.restarted,
        }),
        RunEvent::Record(record) => {
            let arrival = match record.arrival() {
                Arrival::InOrder => "in order",
                Arrival::Late => "late",
                Arrival::Duplicate => "duplicate",
                _ => "unknown",
            };
            let head = json!({"event": "data", "sender": record.sender(), "arrival": arrival});
            merged(head, forms::record(&record.view()))
        }
        RunEvent::Eor(eor) => end_line("eor", eor),
        RunEvent::Substitute(eor) => end_line("substitute", eor),
        RunEvent::Lost(lost) => json!({
            "event": "lost",
            "sender": lost.sender.as_str(),
            "first": lost.first,
            "count": lost.count,
        }),
        RunEvent::Fault(fault) => json!({
            "event": "fault",
            "sender": event.sender(),
            "why": fault.kind.to_string(),
            "marked": fault.marked,
        }),
        other => json!({"event": "unknown", "what": format!("{other:?}")}),
    }
}

fn end_line(kind: &str, eor: &Eor) -> Json {
    json!({
        "event": kind,
        "sender": eor.sender.as_str(),
        "user_tags": forms::pairs(&eor.user_tags),
        "run_metadata": forms::pairs(&eor.metadata),
        "condition": eor.condition.to_string(),
        "counts": {
            "records": eor.counts.records,
            "missed": eor.counts.missed,
            "late": eor.counts.late,
            "duplicates": eor.counts.duplicates,
            "faults": eor.counts.faults,
        },
    })
}
