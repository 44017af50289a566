//! CDTP2 messages, good and bad.

use acqbus::cdtp::{
    CxxTags, DataRecord, DecodeLimits, Encoding, MessageKind, MessageView, RunMetadata, Tags,
    Value, encode_message,
};
use acqbus::wire::DecodeError;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::common::{items, text, unhex};
use crate::typed::{has_bytes_key, tags};
use crate::{Difference, Report};

pub(crate) fn run_valid(file: &Json, report: &mut Report) {
    for vector in items(file, "vectors") {
        report.ran();
        let case = text(vector, "name");
        let frame = unhex(text(vector, "hex"));
        let records = items(vector, "records");
        let decoded = MessageView::decode(&frame, &DecodeLimits::default());
        if records
            .iter()
            .any(|record| text(record, "seq").starts_with('-'))
        {
            report.check(case, decoded.is_err_and(|error| is_negative(&error)), true);
            report.differs(case, Difference::NegativeSequence);
            continue;
        }
        match decoded {
            Ok(message) => {
                content(case, vector, &message, report);
                compact(case, vector, &message, &frame, report);
                cxx(case, vector, &message, &frame, report);
                metadata(case, &message, report);
            }
            Err(error) => report.wrong(case, &format!("refused: {error}")),
        }
    }
}

pub(crate) fn run_invalid(file: &Json, report: &mut Report) {
    for vector in items(file, "vectors") {
        report.ran();
        let case = text(vector, "name");
        let frames: Vec<_> = items(vector, "frames")
            .iter()
            .map(|frame| unhex(frame.as_str().expect("hexadecimal")))
            .collect();
        let wanted = match text(vector, "stage") {
            "disassemble" => None,
            "disassemble, then as BOR" => Some(MessageKind::Bor),
            "disassemble, then as EOR" => Some(MessageKind::Eor),
            other => panic!("{case}: no stage {other}"),
        };
        let decoded = MessageView::from_frames(&frames, &DecodeLimits::default());
        let error = match decoded {
            Ok(message) if wanted.is_some_and(|kind| kind != message.kind()) => None,
            Ok(_) if vector["error"] == "OverflowError" => {
                report.differs(case, Difference::YearBeyond9999);
                continue;
            }
            Ok(_) => {
                report.check(case, true, vector["error"].is_null());
                continue;
            }
            Err(error) => Some(error),
        };
        if vector["error"].is_null() {
            let negative = error.as_ref().is_some_and(is_negative);
            report.check(case, negative, true);
            report.differs(case, Difference::NegativeSequence);
        }
        // The error says where, and what the rule is.
        if let Some(error) = error.map(|error| error.to_string()) {
            let says_where = error.contains(" at byte ") || error.contains(" frames, not 1");
            report.check(&format!("{case}: {error}"), says_where, true);
        }
    }
}

fn content(case: &str, vector: &Json, message: &MessageView<'_>, report: &mut Report) {
    report.check(case, message.sender(), text(vector, "sender"));
    report.check(
        case,
        message.kind().to_string().as_str(),
        text(vector, "kind"),
    );
    let number = u64::from(message.kind().number());
    report.check(case, Some(number), vector["type"].as_u64());
    let payload = vector["payload_bytes"].as_u64();
    report.check(case, Some(message.payload_bytes()), payload);
    let records = items(vector, "records");
    report.check(case, message.record_count(), records.len());
    report.check(case, message.records().count(), records.len());
    for (ours, peers) in message.records().zip(records) {
        let sequence = text(peers, "seq").parse();
        report.check(case, Ok(ours.sequence()), sequence);
        let (ours_tags, peers_tags) = (ours.tags(), tags(&peers["tags"]));
        // As text, so that NaN is itself and the order of the keys counts.
        report.check(case, format!("{ours_tags:?}"), format!("{peers_tags:?}"));
        report.check(case, ours.has_tags(), !peers_tags.is_empty());
        let blocks = items(peers, "blocks");
        report.check(case, ours.block_count(), blocks.len());
        report.check(case, ours.blocks().count(), blocks.len());
        for (ours, peers) in ours.blocks().zip(blocks) {
            report.check(case, Some(ours.len() as u64), peers["len"].as_u64());
            report.check(
                case,
                hex(&Sha256::digest(ours)),
                text(peers, "sha256").into(),
            );
            if let Some(hexadecimal) = peers["hex"].as_str() {
                report.check(case, ours, &unhex(hexadecimal));
            }
        }
    }
}

/// Python's bytes of what came.
fn compact(
    case: &str,
    vector: &Json,
    message: &MessageView<'_>,
    frame: &[u8],
    report: &mut Report,
) {
    let ours = encode(message, Encoding::Compact, CxxTags::Allow);
    let same = vector["python_reencode_same"] == true;
    let peers = match vector["python_reencode"].as_str() {
        Some(hexadecimal) => unhex(hexadecimal),
        None => frame.to_vec(),
    };
    let records = items(vector, "records");
    if records.iter().any(|record| has_bytes_key(&record["tags"])) {
        report.check(case, ours == peers, false);
        report.differs(case, Difference::BytesKey);
    } else if vector["python_loses"].is_string() {
        report.check(case, ours == peers || same, false);
        report.differs(case, Difference::Nanoseconds);
    } else {
        report.check(case, hex(&ours), hex(&peers));
    }
}

/// C++'s bytes of what came, and which tags it holds.
fn cxx(case: &str, vector: &Json, message: &MessageView<'_>, frame: &[u8], report: &mut Report) {
    let Some(verdict) = vector.get("cxx") else {
        return;
    };
    let holds = message
        .records()
        .all(|record| CxxTags::check(&record.tags()).is_ok());
    report.check(
        &format!("{case}: C++ holds it"),
        Some(holds),
        verdict["accepts"].as_bool(),
    );
    if !holds {
        return;
    }
    let ours = encode(message, Encoding::Cxx, CxxTags::Refuse);
    let same = if verdict["reencode_same"] == true {
        ours == frame
    } else if let Some(hexadecimal) = verdict["reencode"].as_str() {
        hex(&ours) == hexadecimal
    } else {
        hex(&Sha256::digest(&ours)) == text(verdict, "reencode_sha256")
    };
    let has = |odd: fn(&Value) -> bool| {
        let within = |tags: Tags| tags.iter().any(|(_, value)| any(value, odd));
        message.records().any(|record| within(record.tags()))
    };
    if !same && has(is_cxx_float) {
        report.differs(case, Difference::CxxFloats);
    } else if !same && has(is_cxx_time) {
        report.differs(case, Difference::CxxTimes);
    } else {
        let peers = verdict["reencode"].as_str().unwrap_or("as it came");
        report.check(&format!("{case}: {} not {peers}", hex(&ours)), same, true);
    }
}

/// The metadata of a run come back from their type in the order of Python.
fn metadata(case: &str, message: &MessageView<'_>, report: &mut Report) {
    let Some((_, tags)) = message.eor() else {
        return;
    };
    let metadata = RunMetadata::from_tags(&tags);
    report.check(case, &metadata.to_tags(), &tags);
    if case.starts_with("satellite/python") {
        report.check(
            case,
            format!("{:?}", metadata.to_tags()),
            format!("{tags:?}"),
        );
        report.check(case, metadata.other.is_empty(), true);
    }
}

fn encode(message: &MessageView<'_>, encoding: Encoding, cxx: CxxTags) -> Vec<u8> {
    let record = |record: acqbus::cdtp::RecordView<'_>| {
        let tags: Tags = record.tags();
        let tags = cxx.apply(&tags).expect("tags that fit").into_owned();
        let mut copy = DataRecord::new(record.sequence()).with_tags(tags);
        for block in record.blocks() {
            copy.add_block(block.to_vec());
        }
        copy
    };
    let records: Vec<_> = message.records().map(record).collect();
    encode_message(message.sender(), message.kind(), &records, encoding).expect("a short name")
}

fn is_negative(error: &DecodeError) -> bool {
    error.to_string().contains("a sequence number")
        && error.to_string().contains("a negative integer")
}

/// Whether a value is odd, or one within it.
fn any(value: &Value, odd: fn(&Value) -> bool) -> bool {
    odd(value)
        || match value {
            Value::Array(values) => values.iter().any(|value| any(value, odd)),
            Value::Map(tags) => tags.iter().any(|(_, value)| any(value, odd)),
            _ => false,
        }
}

/// Whether C++ writes a float, or the first of floats, as an integer that its receivers fail on.
fn is_cxx_float(value: &Value) -> bool {
    let whole = |value: &Value| value.as_f64().is_some_and(|float| float.trunc() == float);
    match value {
        Value::Float(value) => *value >= 9_223_372_036_854_775_808.0,
        Value::Array(values) => values.first().is_some_and(whole) && !values.iter().all(whole),
        _ => false,
    }
}

/// Whether a time is more than 292 years from 1970.
fn is_cxx_time(value: &Value) -> bool {
    let far = |seconds: i64| seconds.checked_mul(1_000_000_000).is_none();
    value.as_time().is_some_and(|time| far(time.seconds()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
