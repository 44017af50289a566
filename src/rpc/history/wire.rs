//! Requests and pages of history as JSON.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{
    HistoryMessage, HistoryPage, HistoryRequest, HistoryStart, MAX_BODY_BYTES, MAX_PAGE_BYTES,
    MAX_PAGE_MESSAGES, Position, Verdict,
};
use crate::rpc::{Topic, json};

/// The data of a request.
pub(crate) fn request_data(request: &HistoryRequest) -> Value {
    let mut data = Map::new();
    match &request.start {
        HistoryStart::Position(position) => {
            data.insert("epoch".to_owned(), position.epoch.into());
            data.insert("after".to_owned(), by_topic(&position.sequences));
        }
        HistoryStart::Sequence(number) => {
            data.insert("sequence".to_owned(), (*number).into());
        }
        HistoryStart::Since(moment) => {
            let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
            data.insert("since".to_owned(), since.as_secs_f64().into());
        }
        HistoryStart::Beginning => {}
    }
    if !request.topics.is_empty() {
        let topics = request.topics.iter().map(|topic| topic.number().into());
        data.insert("topics".to_owned(), Value::Array(topics.collect()));
    }
    if !request.until.is_empty() {
        data.insert("until".to_owned(), by_topic(&request.until));
    }
    data.insert("limit".to_owned(), request.limit.into());
    if let Some(cursor) = &request.cursor {
        data.insert("cursor".to_owned(), cursor.as_str().into());
    }
    Value::Object(data)
}

/// Reads the data of a request; the text of an error names the member.
///
/// Members that are unknown are ignored, as everywhere in this protocol.
pub(crate) fn decode_request_data(data: &Value, epoch: u64) -> Result<HistoryRequest, String> {
    let members = match data {
        Value::Null => &Map::new(),
        Value::Object(members) => members,
        other => {
            return Err(format!(
                "the data is {}, not an object",
                json::type_name(other)
            ));
        }
    };
    let mut request = HistoryRequest::new(start(members)?).epoch(epoch);
    match members.get("topics") {
        None | Some(Value::Null) => {}
        Some(Value::Array(topics)) if topics.len() <= MAX_TOPICS => {
            for topic in topics {
                let number = topic.as_u64().and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or("`topics` has what is no number of a topic")?;
                request.topics.push(Topic::new(number));
            }
        }
        Some(_) => {
            return Err(format!(
                "`topics` is not an array of at most {MAX_TOPICS} numbers"
            ));
        }
    }
    if let Some(until) = members.get("until") {
        request.until = topics_of("until", until)?;
    }
    if let Some(limit) = members.get("limit") {
        let limit = limit.as_u64().ok_or("`limit` is not a number")?;
        let limit = usize::try_from(limit).unwrap_or(MAX_PAGE_MESSAGES);
        request.limit = limit.clamp(1, MAX_PAGE_MESSAGES);
    }
    match members.get("cursor") {
        None | Some(Value::Null) => {}
        Some(Value::String(cursor)) if cursor.len() <= MAX_CURSOR => {
            request.cursor = Some(cursor.clone());
        }
        Some(_) => return Err("`cursor` is not what a page gave".to_owned()),
    }
    request.max_bytes = MAX_PAGE_BYTES;
    Ok(request)
}

fn start(members: &Map<String, Value>) -> Result<HistoryStart, String> {
    if let Some(epoch) = members.get("epoch") {
        let epoch = epoch.as_u64().ok_or("`epoch` is not a number")?;
        let sequences = match members.get("after") {
            Some(after) => topics_of("after", after)?,
            None => BTreeMap::new(),
        };
        return Ok(HistoryStart::Position(Position { epoch, sequences }));
    }
    if let Some(number) = members.get("sequence") {
        let number = number.as_u64().ok_or("`sequence` is not a number")?;
        return Ok(HistoryStart::Sequence(number));
    }
    let Some(since) = members.get("since") else {
        return Ok(HistoryStart::Beginning);
    };
    let seconds = since.as_f64().ok_or("`since` is not a number")?;
    let since = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    let moment = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    moment
        .map(HistoryStart::Since)
        .ok_or_else(|| "`since` is beyond all time".to_owned())
}

/// The data of a reply, as JSON text.
pub(crate) fn encode_page(page: &HistoryPage) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"history\": ");
    json::write_string(verdict_name(&page.verdict), &mut out);
    out.extend_from_slice(b", \"epoch\": ");
    write_number(page.epoch, &mut out);
    if let Verdict::CutShort(at) = &page.verdict {
        out.extend_from_slice(b", \"cutShort\": ");
        json::write_value(&by_topic(at), &mut out);
    }
    out.extend_from_slice(b", \"messages\": [");
    let sendable = |message: &&HistoryMessage| message.body.len() <= MAX_BODY_BYTES;
    for (at, message) in page.messages.iter().filter(sendable).enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        write_message(message, &mut out);
    }
    out.extend_from_slice(b"], \"more\": ");
    out.extend_from_slice(if page.more { b"true" } else { b"false" });
    out.extend_from_slice(b", \"cursor\": ");
    match &page.cursor {
        Some(cursor) => json::write_string(cursor, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

/// Reads the data of a reply; `None` for what no history has written.
pub(crate) fn decode_page(data: &Value) -> Option<HistoryPage> {
    let epoch = data.get("epoch")?.as_u64()?;
    let verdict = match data.get("history")?.as_str()? {
        RESUMED => Verdict::Resumed,
        OTHER_EPOCH => Verdict::OtherEpoch,
        CUT_SHORT => Verdict::CutShort(topics_of("cutShort", data.get("cutShort")?).ok()?),
        _ => return None,
    };
    let messages = data.get("messages")?.as_array()?;
    let cursor = data.get("cursor").and_then(Value::as_str);
    Some(HistoryPage {
        verdict,
        epoch,
        messages: messages.iter().map(read_message).collect::<Option<_>>()?,
        more: data.get("more")?.as_bool()?,
        cursor: cursor.map(str::to_owned),
    })
}

fn write_message(message: &HistoryMessage, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\": ");
    write_number(u64::from(message.topic.number()), out);
    out.extend_from_slice(b", \"epoch\": ");
    write_number(message.epoch, out);
    out.extend_from_slice(b", \"sequence\": ");
    write_number(message.sequence, out);
    match std::str::from_utf8(&message.body) {
        Ok(text) => {
            out.extend_from_slice(b", \"text\": ");
            json::write_string(text, out);
        }
        Err(_) => {
            out.extend_from_slice(b", \"hex\": \"");
            for byte in &message.body {
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            out.push(b'"');
        }
    }
    out.push(b'}');
}

fn read_message(value: &Value) -> Option<HistoryMessage> {
    let topic = u32::try_from(value.get("topic")?.as_u64()?).ok()?;
    let body = match value.get("text") {
        Some(text) => text.as_str()?.as_bytes().to_vec(),
        None => unhex(value.get("hex")?.as_str()?)?,
    };
    Some(HistoryMessage {
        topic: Topic::new(topic),
        epoch: value.get("epoch")?.as_u64()?,
        sequence: value.get("sequence")?.as_u64()?,
        body,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok())
        .collect()
}

fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Resumed => RESUMED,
        Verdict::CutShort(_) => CUT_SHORT,
        Verdict::OtherEpoch => OTHER_EPOCH,
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn by_topic(numbers: &BTreeMap<Topic, u64>) -> Value {
    let members = numbers
        .iter()
        .map(|(topic, number)| (topic.number().to_string(), (*number).into()));
    Value::Object(members.collect())
}

fn topics_of(name: &str, value: &Value) -> Result<BTreeMap<Topic, u64>, String> {
    let wrong = || format!("`{name}` is not an object of numbers by the numbers of topics");
    let members = value.as_object().ok_or_else(wrong)?;
    let numbers = members.iter().map(|(topic, number)| {
        let topic = topic.parse().map_err(|_| wrong())?;
        Ok((Topic::new(topic), number.as_u64().ok_or_else(wrong)?))
    });
    numbers.collect()
}

const RESUMED: &str = "resumed";
const CUT_SHORT: &str = "cutShort";
const OTHER_EPOCH: &str = "otherEpoch";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Topics that one request may name.
const MAX_TOPICS: usize = 1_024;

/// A cursor of ours is far shorter.
const MAX_CURSOR: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn page() -> HistoryPage {
        HistoryPage {
            verdict: Verdict::CutShort(BTreeMap::from([(Topic::EVENT, 7)])),
            epoch: 9,
            messages: vec![
                HistoryMessage::new(Topic::EVENT, 9, 7, br#"{"a": "\u00e9"}"#.to_vec()),
                HistoryMessage::new(Topic::new(7), 9, 1, vec![0xff, 0x00, 0x1f]),
            ],
            more: true,
            cursor: Some("12.7:1.2.3".to_owned()),
        }
    }

    #[test]
    fn page_is_written_as_the_wire_says() {
        assert_eq!(
            String::from_utf8(encode_page(&page())).unwrap(),
            r#"{"history": "cutShort", "epoch": 9, "cutShort": {"4001": 7}, "messages": [{"topic": 4001, "epoch": 9, "sequence": 7, "text": "{\"a\": \"\\u00e9\"}"}, {"topic": 7, "epoch": 9, "sequence": 1, "hex": "ff001f"}], "more": true, "cursor": "12.7:1.2.3"}"#
        );
    }

    #[test]
    fn request_is_written_as_the_wire_says_and_reads_back() {
        let position = Position::new(9).with(Topic::EVENT, 12);
        let until = BTreeMap::from([(Topic::EVENT, 90)]);
        let second = UNIX_EPOCH + Duration::from_millis(1500);
        for (request, text) in [
            (
                HistoryRequest::new(HistoryStart::Position(position))
                    .topics([Topic::EVENT])
                    .until(until)
                    .cursor(Some("x".to_owned())),
                json!({"epoch": 9, "after": {"4001": 12}, "topics": [4001], "until": {"4001": 90}, "limit": 1000, "cursor": "x"}),
            ),
            (
                HistoryRequest::new(HistoryStart::Since(second)).limit(5),
                json!({"since": 1.5, "limit": 5}),
            ),
            (
                HistoryRequest::new(HistoryStart::Sequence(3)),
                json!({"sequence": 3, "limit": 1000}),
            ),
            (
                HistoryRequest::new(HistoryStart::Beginning),
                json!({"limit": 1000}),
            ),
        ] {
            assert_eq!(request_data(&request), text);
            assert_eq!(decode_request_data(&text, 0), Ok(request));
        }
    }

    #[test]
    fn unusable_requests_say_what_is_wrong() {
        for (data, said) in [
            (json!([]), "the data is an array, not an object"),
            (json!({"epoch": -1}), "`epoch` is not a number"),
            (
                json!({"epoch": 1, "after": {"x": 1}}),
                "`after` is not an object of numbers by the numbers of topics",
            ),
            (json!({"since": "now"}), "`since` is not a number"),
            (json!({"since": 1e300}), "`since` is beyond all time"),
            (
                json!({"topics": [-1]}),
                "`topics` has what is no number of a topic",
            ),
            (
                json!({"topics": 4001}),
                "`topics` is not an array of at most 1024 numbers",
            ),
            (json!({"limit": "x"}), "`limit` is not a number"),
            (json!({"cursor": 1}), "`cursor` is not what a page gave"),
        ] {
            assert_eq!(decode_request_data(&data, 1).unwrap_err(), said, "{data}");
        }
    }

    #[test]
    fn limits_are_taken_as_the_nearest_allowed() {
        for (asked, taken) in [(0_u64, 1), (7, 7), (u64::MAX, MAX_PAGE_MESSAGES)] {
            let request = decode_request_data(&json!({"limit": asked}), 1).unwrap();
            assert_eq!(request.limit, taken);
        }
    }

    #[test]
    fn what_no_history_has_written_is_no_page() {
        for data in [
            json!(null),
            json!({"history": "resumed"}),
            json!({"history": "else", "epoch": 1, "messages": [], "more": false}),
            json!({"history": "cutShort", "epoch": 1, "messages": [], "more": false}),
            json!({"history": "resumed", "epoch": 1, "messages": [{"topic": 1}], "more": false}),
            json!({"history": "resumed", "epoch": 1, "messages": [
                {"topic": 1, "epoch": 1, "sequence": 1, "hex": "f"}], "more": false}),
        ] {
            assert_eq!(decode_page(&data), None, "{data}");
        }
    }

    #[test]
    fn body_that_no_reply_can_carry_is_left_out() {
        let mut page = page();
        page.messages[0].body = vec![b'x'; MAX_BODY_BYTES + 1];
        let text = encode_page(&page);
        let read = decode_page(&json::parse(&text, 64).unwrap()).unwrap();
        assert_eq!(read.messages, page.messages[1..]);
    }

    proptest! {
        #[test]
        fn every_body_comes_back_byte_for_byte(
            bodies in prop::collection::vec(
                prop_oneof![prop::collection::vec(any::<u8>(), 0..40), ".{0,20}".prop_map(String::into_bytes)], 0..8),
            more: bool,
        ) {
            let mut page = HistoryPage::new(Verdict::Resumed, 3);
            page.more = more;
            for (body, sequence) in bodies.into_iter().zip(1..) {
                page.messages.push(HistoryMessage::new(Topic::new(5), 2, sequence, body));
            }
            let text = encode_page(&page);
            let value = json::parse(&text, 64).expect("JSON");
            prop_assert_eq!(decode_page(&value), Some(page));
        }
    }
}
