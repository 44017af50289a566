//! Messages as bytes, without sockets.

use acqbus::cdtp::{DataRecord, DecodeLimits, Encoding, MessageKind, MessageView, encode_message};
use serde_json::{Value as Json, json};

use crate::{Args, End, Failure, forms, list, text};

pub(crate) fn begin(args: &Args) -> Result<(Box<dyn End>, Json), Failure> {
    let sender = args.text("--name").unwrap_or("Sputnik.One").into();
    Ok((Box::new(Codec { sender }), Json::Null))
}

struct Codec {
    sender: String,
}

impl End for Codec {
    fn order(&mut self, op: &str, order: &Json) -> Result<Json, Failure> {
        match op {
            "decode" => {
                let frame = forms::bytes(text(order, "frame")?)?;
                let message = MessageView::decode(&frame, &DecodeLimits::default())?;
                let records = message.records().map(|record| forms::record(&record));
                Ok(json!({
                    "sender": message.sender(),
                    "kind": kind_name(message.kind()),
                    "records": records.collect::<Vec<_>>(),
                }))
            }
            "encode" => {
                let kind = match text(order, "kind")? {
                    "BOR" => MessageKind::Bor,
                    "EOR" => MessageKind::Eor,
                    _ => MessageKind::Data,
                };
                let records: Result<Vec<_>, Failure> =
                    list(order, "records")?.iter().map(record).collect();
                let frame = encode_message(&self.sender, kind, &records?, Encoding::Compact)?;
                Ok(json!({"frame": forms::hex(&frame)}))
            }
            other => Err(format!("no such order: {other}").into()),
        }
    }
}

fn record(line: &Json) -> Result<DataRecord<'static>, Failure> {
    let mut record =
        DataRecord::new(text(line, "seq")?.parse()?).with_tags(forms::tags(&line["tags"])?);
    for block in forms::blocks(line)? {
        record.add_block(block);
    }
    Ok(record)
}

fn kind_name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Data => "DATA",
        MessageKind::Bor => "BOR",
        MessageKind::Eor => "EOR",
        _ => "unknown",
    }
}
