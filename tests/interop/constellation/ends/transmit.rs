//! A transmitter.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use acqbus::cdtp::{CxxTags, DataTransmitter, TransmitterOptions};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::{Args, End, Failure, forms, list, number, with_causes};

pub(crate) fn begin(args: &Args) -> Result<(Box<dyn End>, Json), Failure> {
    let failures = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&failures);
    let timeout = args.number::<i64>("--timeout", 10)?;
    // As in the package: below 0 is no limit.
    let timeout = u64::try_from(timeout).ok().map(Duration::from_secs);
    let options = TransmitterOptions::default()
        .timeouts(timeout)
        .payload_threshold_kib(args.number("--threshold", 128)?)
        .queue_size(args.number("--queue", 32_768)?)
        .flush_interval(Duration::from_secs_f64(args.number("--flush", 0.1)?))
        .transmission_disabled(args.has("--disabled"))
        // The package holds everything.
        .cxx_tags(if args.has("--cxx") {
            CxxTags::Refuse
        } else {
            CxxTags::Allow
        })
        .on_failure(move |error| {
            heard
                .lock()
                .expect("no holder panics")
                .push(with_causes(error));
        });
    let endpoint = format!("tcp://127.0.0.1:{}", args.number::<u16>("--port", 0)?).parse()?;
    let end = DataTransmitter::bind(
        args.text("--name").unwrap_or("Sputnik.One"),
        &endpoint,
        options,
    )?;
    let ready = json!({"port": end.port()});
    Ok((Box::new(Transmitter { end, failures }), ready))
}

struct Transmitter {
    end: DataTransmitter,
    failures: Arc<Mutex<Vec<String>>>,
}

impl End for Transmitter {
    fn order(&mut self, op: &str, order: &Json) -> Result<Json, Failure> {
        let tags = |name: &str| forms::tags(&order[name]);
        match op {
            "bor" => self.end.send_bor(&tags("tags")?, &tags("configuration")?)?,
            "eor" => self.end.send_eor(&tags("tags")?, &tags("metadata")?)?,
            "start" => self.end.start_sending()?,
            "stop" => self.end.stop_sending(),
            "check" => self.end.check_error()?,
            "draw" => return Ok(json!({"sequence": self.end.new_data_record().sequence()})),
            "records" => {
                let lines = list(order, "list")?.iter();
                let sent: Result<Vec<_>, _> = lines.map(|line| self.record(line)).collect();
                return Ok(json!({"records": sent?}));
            }
            "many" => return self.many(order),
            "state" => {
                return Ok(json!({
                    "state": self.end.state() as u8,
                    "sequence": self.end.sequence_number(),
                    "records": self.end.records_transmitted(),
                    "bytes": self.end.bytes_transmitted(),
                    "can_send": self.end.can_send_record(),
                    "failures": *self.failures.lock().expect("no holder panics"),
                }));
            }
            other => return Err(format!("no such order: {other}").into()),
        }
        Ok(Json::Null)
    }
}

impl Transmitter {
    fn record(&self, order: &Json) -> Result<Json, Failure> {
        if let Some(seconds) = order["wait"].as_f64() {
            thread::sleep(Duration::from_secs_f64(seconds));
            return Ok(Json::Null);
        }
        let mut record = self
            .end
            .new_data_record()
            .with_tags(forms::tags(&order["tags"])?);
        for block in forms::blocks(order)? {
            record.add_block(block);
        }
        let sequence = record.sequence();
        match self.end.try_send_data_record(record) {
            Ok(()) => Ok(json!({"sequence": sequence})),
            Err(error) if error.is_full() => Ok(json!({"full": true, "sequence": sequence})),
            Err(error) => Err(error.into()),
        }
    }

    /// Records of blocks that stand in one noise, each elsewhere.
    fn many(&self, order: &Json) -> Result<Json, Failure> {
        let sizes = list(order, "sizes")?.iter();
        let sizes: Vec<usize> = sizes
            .filter_map(Json::as_u64)
            .map(|size| size as usize)
            .collect();
        let records = number(order, "records")?;
        let noise = noise(sizes.iter().copied().max().unwrap_or(0) + 4096);
        let (mut digest, mut total) = (Sha256::new(), 0);
        for number in 0..records as usize {
            let mut record = self.end.new_data_record();
            for (at, size) in sizes.iter().enumerate() {
                let start = (number + at) * 7 % 4096;
                let block = &noise[start..start + size];
                digest.update(block);
                total += size;
                record.add_block(block);
            }
            self.end.send_data_record(record)?;
        }
        let sha256 = forms::hex(&digest.finalize());
        Ok(json!({"records": records, "bytes": total, "sha256": sha256}))
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
