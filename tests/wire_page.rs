//! `docs/wire.md` says what the code does: its tables, its examples and its bytes are held against it.

use acqbus::rpc::{
    ApiCommand, CommandResult, Dialect, Message, RpcOptions, Topic, append_extras, case,
    decode_request, encode_unusable_reply, json,
};
use serde_json::Value;

#[test]
fn topics_have_the_numbers_and_bytes_of_the_page() {
    for topic in Topic::NAMED {
        let bytes: Vec<String> = topic.to_bytes().map(|byte| format!("{byte:02x}")).into();
        let (name, number) = (topic.name().expect("a name"), topic.number());
        has(&format!("| {name} | {number} | `{}` |", bytes.join(" ")));
    }
}

#[test]
fn commands_and_results_have_the_numbers_of_the_page() {
    for command in ApiCommand::all(Dialect::Plain) {
        let old = command.number_in(Dialect::JsonString);
        let number = match command.number() {
            number if number == old => number.to_string(),
            number => format!("{number}, in `JsonString` {old}"),
        };
        has(&format!("| {number} | {} |", command.name()));
    }
    for number in [0, 100, 200, 201, 400, 500, 9999] {
        let result = CommandResult::from_number(number);
        has(&format!("| {number} | {result} |"));
    }
}

#[test]
fn keys_are_rewritten_as_the_page_says() {
    let mut pairs = 0;
    for row in section("## 3. Keys").lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for pair in cells.windows(2) {
            if let [Some(key), Some(sent)] = [pair[0], pair[1]].map(code) {
                assert_eq!(case::camelize(key), sent, "{key}");
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 8);
}

#[test]
fn every_example_of_json_has_the_form_that_the_page_describes() {
    let examples: Vec<&str> = PAGE.lines().filter(|line| line.starts_with('{')).collect();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let value: Value = serde_json::from_str(example).expect(example);
        let mut text = Vec::new();
        json::to_camel_json(&value, &mut text).expect("JSON");
        assert_eq!(String::from_utf8_lossy(&text), example);
    }
}

#[test]
fn request_and_heartbeat_of_the_page_are_read() {
    let request = example("## 4. Commands");
    let request = decode_request(request.as_bytes(), 8, Dialect::Plain).expect("a request");
    assert_eq!(request.client_id(), Some("5b0f21"));

    let body = example("## 5. Heartbeat");
    let message = Message::decode(&Topic::HEARTBEAT.to_bytes(), body).expect("a message");
    let heartbeat = message.heartbeat().expect("a heartbeat");
    assert_eq!(
        heartbeat.sequences.expect("sequences").get(&4001),
        Some(&1207)
    );
    assert_eq!(heartbeat.interval, Some(5.0));
    assert_eq!(message.sequence, Some(14));
}

#[test]
fn unusable_request_gets_the_reply_of_the_page() {
    let error = decode_request(b"{}", 8, Dialect::Plain).expect_err("no command");
    let mut reply = Vec::new();
    encode_unusable_reply(&error.to_string(), Dialect::Plain, &mut reply);
    has(&String::from_utf8(reply).expect("ASCII"));
}

#[test]
fn extras_stand_at_the_end_as_in_the_page() {
    let mut body = b"{\"a\": 1}".to_vec();
    append_extras(&mut body, 1_795_175_952_134_186, 5, Dialect::Plain);
    let tail = &body[b"{\"a\": 1".len()..];
    has(&String::from_utf8_lossy(tail));
    let hex: Vec<_> = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    has(&hex.join(" "));

    let mut body = br#""{\"a\":1}""#.to_vec();
    append_extras(&mut body, 1_795_175_952_134_186, 5, Dialect::JsonString);
    has(&String::from_utf8_lossy(&body[br#""{\"a\":1"#.len()..]));
}

#[test]
fn both_dialects_write_the_event_of_the_page() {
    let section = section("## 2. JSON");
    let of = |dialect: &str| {
        let line = section.lines().find(|line| line.starts_with(dialect));
        line.expect(dialect)[dialect.len()..].trim()
    };
    let [plain, string] = [of("Plain "), of("JsonString ")].map(|body| {
        let message = Message::decode(&Topic::EVENT.to_bytes(), body).expect("a message");
        message.json(8).expect("JSON")
    });
    assert_eq!(plain, string);
}

#[test]
fn limits_of_the_page_are_the_defaults() {
    let options = RpcOptions::default();
    assert_eq!(options.max_command_bytes, 1 << 20);
    has("| size of a request | 1 MiB |");
    has(&format!(
        "| nesting of a request | {} arrays and objects |",
        options.max_depth
    ));
    has(&format!(
        "| requests of one client that wait | {} |",
        options.command_hwm
    ));
    has(&format!(
        "| handshake of a connection | {} s |",
        options.handshake_timeout.as_secs()
    ));
    assert_eq!(
        (options.queue_messages, options.queue_bytes),
        (100_000, 64 << 20)
    );
    assert_eq!(options.max_pending, 10_000);
    has("| commands that are pending at a time | 10,000 |");
    has("| messages that wait to be published | 100,000 or 64 MiB |");
    assert_eq!(options.send_hwm, 10_000);
    has("| messages that wait for one slow subscriber | 10,000 |");
    assert_eq!(
        (options.once_entries, options.once_window.as_secs()),
        (1024, 60)
    );
    has("An answer is remembered for 60 s, among at most 1,024 others");
}

#[track_caller]
fn has(text: &str) {
    assert!(PAGE.contains(text), "docs/wire.md does not have: {text}");
}

fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .expect("the heading");
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// The first example of JSON in a section.
fn example(heading: &str) -> &'static str {
    let mut lines = section(heading).lines();
    lines
        .find(|line| line.starts_with('{'))
        .expect("an example")
}

fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

const PAGE: &str = include_str!("../docs/wire.md");
