//! The simulated rig over real sockets: test commands, emergencies, the stream of a seed, faults of a script.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResult, Dialect, EventKind, Message, Notice,
    RemoteClient, Response, RpcOptions, Subscription, Topic,
};
use acqbus::simulator::{
    Happening, Observation, Occurrence, Rig, Script, SimulatedVersion, Simulator, SimulatorError,
    SimulatorOptions, Timeline,
};

/// Far beyond what anything here takes; a test that hits it has failed.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_pending_command_gets_its_result_after_its_seconds() {
    let rig = rig(options());
    let began = Instant::now();
    let request = test_command(1).with_data(&json!({"seconds": 0.2})).unwrap();
    let outcome = client(&rig).send_and_wait(&request, LIMIT, |_| {}).unwrap();
    assert_eq!(
        outcome.reply.result(),
        CommandResult::PendingWithNotification
    );
    let result = outcome.result.unwrap();
    assert_eq!(result.result(), CommandResult::Success);
    assert_eq!(result.nonce(), outcome.reply.nonce());
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_pending_command_can_fail() {
    let rig = rig(options());
    let request = test_command(10).with_data(&json!({"seconds": 0})).unwrap();
    let outcome = client(&rig).send_and_wait(&request, LIMIT, |_| {}).unwrap();
    let result = outcome.result.unwrap();
    assert_eq!(
        (result.result(), result.error_code()),
        (CommandResult::Failed, 17)
    );
}

#[test]
fn a_command_beyond_1_000_promised_results_fails_and_is_counted() {
    let rig = rig(options());
    let client = client(&rig);
    let request = test_command(1).with_data(&json!({"seconds": 600})).unwrap();
    for _ in 0..1_000 {
        let reply = client.send(&request).unwrap();
        assert_eq!(reply.result(), CommandResult::PendingWithNotification);
    }
    let beyond = client.send(&request).unwrap();
    assert_eq!(beyond.result(), CommandResult::Failed);
    let why = beyond.error_message().unwrap();
    assert!(why.contains("1000 commands are pending"), "{why}");
    assert_eq!(rig.stats().turned_away, 1);
}

#[test]
fn test_commands_that_answer_at_once_answer_as_they_say() {
    let rig = rig(options());
    let client = client(&rig);
    let ask = |custom| client.send(&test_command(custom)).unwrap();

    let raised = ask(2);
    assert_eq!(raised.result(), CommandResult::Exception);
    assert_eq!(raised.error_message(), Some("delegate raised on purpose"));
    let failed = ask(4);
    assert_eq!(
        (failed.result(), failed.error_code()),
        (CommandResult::Failed, 42)
    );
    assert_eq!(failed.error_message(), Some("it is broken"));
    let data = json!({"a": [1, -2.5, "x y"]});
    let echo = client
        .send(&test_command(7).with_data(&data).unwrap())
        .unwrap();
    assert_eq!(
        (echo.result(), echo.data()),
        (CommandResult::Success, &data)
    );
    assert_eq!(ask(9).result(), CommandResult::Pending);
    assert_eq!(ask(5).result(), CommandResult::Unrecognized);
}

#[test]
fn a_blocking_command_answers_late_and_stops_no_event() {
    let (rig, commands) = Simulator::start_watched(options(), 16).unwrap();
    let client = client(&rig);
    let events = subscribe(&client);
    let blocked = std::thread::spawn({
        let client = client.clone();
        move || client.send(&test_command(3).with_data(&json!({"seconds": 1.5})).unwrap())
    });
    let seen = commands.recv_timeout(LIMIT);
    assert!(matches!(seen, Ok(Observation::Command { .. })), "{seen:?}");
    rig.publish(Occurrence::new(EventKind::TunnelEnter))
        .unwrap();
    assert_eq!(next_event(&events)["kind"], json!(1101));
    assert!(!blocked.is_finished());
    assert_eq!(
        blocked.join().unwrap().unwrap().result(),
        CommandResult::Success
    );
}

#[test]
fn a_stop_ends_a_blocking_command() {
    let rig = rig(options());
    let commands = rig.watch(16);
    let client = client(&rig);
    let blocked = std::thread::spawn(move || {
        let request = test_command(3).with_data(&json!({"seconds": 600})).unwrap();
        // Answered, or cut off by the stop: either way it comes back.
        let _ = client.send(&request);
    });
    commands.recv_timeout(LIMIT).unwrap();
    let began = Instant::now();
    rig.stop();
    assert!(began.elapsed() < LIMIT);
    blocked.join().unwrap();
}

#[test]
fn an_emergency_is_copied_to_its_own_topic_every_time() {
    for version in VERSIONS {
        let rig = rig(options().version(version));
        let client = client(&rig);
        let all = subscribe(&client);
        let expect = |command, result, kind: Option<i64>| {
            let reply = client.request(command, &Value::Null).unwrap();
            assert_eq!(reply.result(), result, "{version} {command:?}");
            let topics = if kind.is_some() {
                &[Topic::EMERGENCY, Topic::EVENT][..]
            } else {
                &[]
            };
            for topic in topics {
                let message = next_message(&all);
                assert_eq!(message.topic, *topic, "{version}");
                assert_eq!(
                    message.json(64).unwrap()["kind"].as_i64(),
                    kind,
                    "{version}"
                );
            }
        };
        expect(ApiCommand::EmergencyResume, CommandResult::Failed, None);
        expect(ApiCommand::EmergencyStop, CommandResult::Success, Some(101));
        expect(ApiCommand::EmergencyStop, CommandResult::Success, Some(101));
        expect(
            ApiCommand::EmergencyResume,
            CommandResult::Success,
            Some(102),
        );
        expect(ApiCommand::EmergencyResume, CommandResult::Failed, None);
    }
}

#[test]
fn a_setting_is_read_back_in_the_status() {
    let rig = rig(options());
    let client = client(&rig);
    let ask = |command, data: Value| client.request(command, &data).unwrap();
    let off = ask(
        ApiCommand::SetLiveAnalysisEnabled,
        json!({"enabled": false}),
    );
    assert_eq!(off.data(), &json!({"enabled": false}));
    let gated = ask(
        ApiCommand::SetPelletDeliveryEnabled,
        json!({"enabled": false}),
    );
    assert_eq!(gated.result(), CommandResult::Unavailable);
    let status = ask(ApiCommand::GetStatus, Value::Null);
    assert_eq!(
        status.data()["behavior"]["isLiveAnalysisEnabled"],
        json!(false)
    );
    assert_eq!(
        status.data()["behavior"]["isPelletDeliveryEnabled"],
        json!(true)
    );
    let animals = ask(ApiCommand::GetAnimals, Value::Null);
    assert_eq!(animals.data().as_array().map(Vec::len), Some(3));
    let configuration = ask(ApiCommand::GetConfiguration, Value::Null);
    assert_eq!(
        configuration.data().as_object().map(serde_json::Map::len),
        Some(7)
    );
}

#[test]
fn a_rig_of_0_9_7_speaks_its_dialect_and_has_its_shapes() {
    let rig = rig(options().version(SimulatedVersion::V0_9_7));
    let client = client(&rig);
    let events = client.subscribe(&[]).unwrap();
    let heard = std::iter::from_fn(|| events.recv_timeout(LIMIT)).find_map(|notice| match notice {
        Notice::Connected { version, .. } => Some(version),
        _ => None,
    });
    assert_eq!(heard.as_deref(), Some("0.9.7"));
    let start = ApiCommand::StartAcquisition;
    let request = CommandRequest::new(start).with_number(start.number_in(Dialect::JsonString));
    assert_eq!(
        client.send(&request).unwrap().result(),
        CommandResult::Success
    );
    let message = next_message(&events);
    assert_eq!(message.body[0], b'"', "the body is a JSON string");
    assert_eq!(message.json(64).unwrap()["kind"], json!(301));
    assert!(message.json(64).unwrap().get("repeat").is_none());
    let status = client.request(ApiCommand::GetStatus, &Value::Null).unwrap();
    let expected = json!({"appStatus": 100, "trainingMode": 100, "animalId": "animal-001"});
    assert_eq!(status.data(), &expected);
    let later = client
        .request(ApiCommand::GetAnimals, &Value::Null)
        .unwrap();
    assert_eq!(later.result(), CommandResult::Unrecognized);
}

#[test]
fn what_is_published_is_the_stream_of_the_seed() {
    for version in VERSIONS {
        let mut state = Rig::new(version);
        let expected: Vec<_> = Timeline::new(version, 500.0, 11)
            .filter_map(|item| match item.happening {
                Happening::Event(occurrence) => state.admit(occurrence),
                Happening::Property(_) => None,
            })
            .take(300)
            .collect();
        let options = options().version(version).rate(500.0).seed(11);
        let (_rig, seen) = Simulator::start_watched(options, 4096).unwrap();
        let told: Vec<_> = std::iter::from_fn(|| seen.recv_timeout(LIMIT).ok())
            .filter_map(|observation| match observation {
                Observation::Event(occurrence) => Some(occurrence),
                _ => None,
            })
            .take(expected.len())
            .collect();
        assert_eq!(told, expected, "{version}");
    }
}

#[test]
fn events_reach_a_subscriber_in_the_form_of_the_wire() {
    let rig = rig(options().rate(200.0));
    let events = subscribe(&client(&rig));
    for _ in 0..50 {
        let message = next_message(&events);
        let body = message.json(64).unwrap();
        if message.topic == Topic::EVENT {
            let keys: Vec<_> = body
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(keys[..5], ["kind", "when", "index", "context", "repeat"]);
        }
    }
}

#[test]
fn results_are_late_lost_and_doubled_by_script() {
    let script = r#"
        {"at": 0, "fault": "late", "seconds": 1}
        {"at": 0, "fault": "lost"}
        {"at": 0, "fault": "doubled"}
        {"at": 0, "event": "algorithmPause"}
    "#;
    let (rig, seen) = Simulator::start_watched(options().script(parse(script)), 16).unwrap();
    let client = client(&rig);
    let results = subscribe_to(&client, Topic::COMMAND_RESULT);
    while !matches!(seen.recv_timeout(LIMIT).unwrap(), Observation::Event(_)) {}
    let ask = |nonce: i64| {
        let data = json!({"seconds": 0});
        let request = test_command(1).with_nonce(nonce).with_data(&data).unwrap();
        let reply = client.send(&request).unwrap();
        assert_eq!(reply.result(), CommandResult::PendingWithNotification);
    };
    let next = || next_message(&results).command_result().unwrap();
    let nonce = |result: &Response| result.nonce().as_i64();

    let began = Instant::now();
    ask(1001);
    assert_eq!(nonce(&next()), Some(1001));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "the first is late"
    );
    ask(1002);
    ask(1003);
    ask(1004);
    let came: Vec<_> = (0..3).map(|_| nonce(&next())).collect();
    assert_eq!(
        came,
        [Some(1003), Some(1003), Some(1004)],
        "the second is lost, the third doubled"
    );
}

#[test]
fn a_restart_keeps_the_ports_and_changes_the_epoch() {
    let script = parse(r#"{"at": 0.2, "fault": "restart", "seconds": 0.1}"#);
    let rig = rig(options().script(script));
    let client = client(&rig);
    let first = rig.service().unwrap().epoch();
    let all = client.subscribe(&[]).unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        match all
            .recv_deadline(deadline)
            .expect("the client is told of the restart")
        {
            Notice::Restarted { epoch, .. } => {
                assert_ne!(Some(epoch), first);
                break;
            }
            Notice::Connected {
                epoch: Some(epoch), ..
            } if Some(epoch) != first => break,
            _ => {}
        }
    }
    let service = rig.service().unwrap();
    assert_eq!(service.command_port(), rig.command_port());
    assert_eq!(service.subscriber_port(), rig.subscriber_port());
    let status = client.request(ApiCommand::GetStatus, &Value::Null).unwrap();
    assert_eq!(status.result(), CommandResult::Success);
}

#[test]
fn a_silence_publishes_nothing_and_answers_commands() {
    let script = parse(r#"{"at": 0.3, "fault": "silence", "seconds": 1}"#);
    let rpc = RpcOptions::default()
        .any_port()
        .heartbeat_interval(Duration::from_millis(20));
    let rig = rig(SimulatorOptions::default()
        .rpc(rpc)
        .rate(100.0)
        .script(script));
    let client = client(&rig);
    let tap = rig.service().unwrap().tap(100_000);
    let seen = rig.watch(100_000);
    while !matches!(seen.recv_timeout(LIMIT).unwrap(), Observation::Fault(_)) {}
    let status = client.request(ApiCommand::GetStatus, &Value::Null).unwrap();
    assert_eq!(status.result(), CommandResult::Success);
    let deadline = Instant::now() + LIMIT;
    let mut last = f64::MAX;
    loop {
        let message = tap
            .recv_deadline(deadline)
            .expect("there is a gap, and it ends");
        let body = message.json(64).unwrap();
        let stamp = body
            .get("when")
            .or(body.get("timestamp"))
            .and_then(Value::as_f64);
        let Some(stamp) = stamp else { continue };
        if stamp - last >= 0.9 {
            break;
        }
        last = stamp;
    }
    assert!(rig.stats().withheld > 0);
}

#[test]
fn a_script_publishes_at_its_times() {
    let script = r#"
        {"at": 0.6, "topic": 7000, "body": "not JSON"}
        {"at": 0.4, "event": "sessionStarted", "context": {"session_id": "s"}}
        {"at": 0.5, "property": {"new_value": 5}}
    "#;
    let rig = rig(options().script(parse(script)));
    let all = subscribe(&client(&rig));
    let event = next_message(&all);
    assert_eq!(
        event.json(64).unwrap()["context"],
        json!({"sessionId": "s"})
    );
    let property = next_message(&all);
    assert_eq!(property.topic, Topic::PROPERTY_CHANGE);
    assert_eq!(property.json(64).unwrap()["newValue"], json!(5));
    let raw = next_message(&all);
    assert_eq!(
        (raw.topic, raw.body.as_slice()),
        (Topic::new(7000), b"not JSON".as_slice())
    );
}

#[test]
fn an_event_by_hand_goes_out_and_the_status_follows_it() {
    let rig = rig(options());
    let client = client(&rig);
    let events = subscribe(&client);
    let closed = Occurrence::new(EventKind::TunnelGateCloseEnd);
    rig.publish(closed).unwrap();
    assert_eq!(next_event(&events)["kind"], json!(1233));
    assert!(!rig.status().tunnel_device.is_gate_open);
    let status = client.request(ApiCommand::GetStatus, &Value::Null).unwrap();
    assert_eq!(status.data()["tunnelDevice"]["isGateOpen"], json!(false));

    rig.publish_property(json!({"new_value": 1})).unwrap();
    assert_eq!(next_message(&events).topic, Topic::PROPERTY_CHANGE);
    rig.publish_raw(Topic::new(77), "raw").unwrap();
    assert_eq!(next_message(&events).body, b"raw");
}

#[test]
fn a_slow_watcher_misses_what_is_counted() {
    let (rig, seen) = Simulator::start_watched(options(), 2).unwrap();
    for _ in 0..5 {
        rig.publish(Occurrence::new(EventKind::TunnelEnter))
            .unwrap();
    }
    let stats = rig.stats();
    assert_eq!((stats.events, stats.unobserved), (5, 3));
    rig.stop();
    assert_eq!(seen.iter().count(), 2, "the channel ends with the rig");
}

#[test]
fn a_pending_command_fails_when_the_rig_stops() {
    let (rig, seen) = Simulator::start_watched(options(), 16).unwrap();
    let client = client(&rig);
    let results = subscribe_to(&client, Topic::COMMAND_RESULT);
    let data = json!({"seconds": 600});
    client
        .send(&test_command(1).with_data(&data).unwrap())
        .unwrap();
    seen.recv_timeout(LIMIT).unwrap();
    rig.stop();
    let result = next_message(&results).command_result().unwrap();
    assert_eq!(result.result(), CommandResult::Failed);
}

#[test]
fn a_rig_ends_by_its_duration() {
    let rig = rig(options().duration(Duration::from_millis(100)));
    assert!(rig.wait_timeout(LIMIT).unwrap());
    assert!(rig.service().is_none());
    let refused = rig.publish(Occurrence::new(EventKind::TunnelEnter));
    assert!(matches!(refused, Err(SimulatorError::NotRunning)));
    rig.stop();
}

#[test]
fn a_port_in_use_is_an_error_of_the_start() {
    let first = rig(options());
    let rpc = RpcOptions::default().ports(first.subscriber_port(), first.command_port());
    let refused = Simulator::start(SimulatorOptions::default().rpc(rpc));
    assert!(matches!(refused, Err(SimulatorError::Rpc(_))));
}

const VERSIONS: [SimulatedVersion; 2] = [SimulatedVersion::V0_9_7, SimulatedVersion::V0_12_0];

fn options() -> SimulatorOptions {
    SimulatorOptions::default()
        .rpc(RpcOptions::default().any_port())
        .rate(0.0)
}

fn rig(options: SimulatorOptions) -> Simulator {
    Simulator::start(options).unwrap()
}

fn parse(script: &str) -> Script {
    Script::parse(script, SimulatedVersion::V0_12_0).unwrap()
}

fn client(rig: &Simulator) -> RemoteClient {
    let options = ClientOptions::default()
        .ports(rig.subscriber_port(), rig.command_port())
        .timeout(LIMIT);
    RemoteClient::connect(options).unwrap()
}

fn test_command(custom: i64) -> CommandRequest {
    CommandRequest::new(ApiCommand::UserDefined).with_custom_command(custom)
}

fn subscribe(client: &RemoteClient) -> Subscription {
    connected(client.subscribe(&[]).unwrap())
}

fn subscribe_to(client: &RemoteClient, topic: Topic) -> Subscription {
    connected(client.subscribe(&[topic]).unwrap())
}

/// Waits until the first heartbeat says that nothing is missed from now on.
fn connected(subscription: Subscription) -> Subscription {
    let deadline = Instant::now() + LIMIT;
    while !matches!(
        subscription.recv_deadline(deadline),
        Some(Notice::Connected { .. })
    ) {
        assert!(
            Instant::now() < deadline,
            "the subscription is not connected"
        );
    }
    subscription
}

/// The next message that is no heartbeat.
fn next_message(subscription: &Subscription) -> Message {
    let deadline = Instant::now() + LIMIT;
    loop {
        match subscription
            .recv_deadline(deadline)
            .expect("a message comes")
        {
            Notice::Message(message) if message.topic != Topic::HEARTBEAT => return message,
            _ => {}
        }
    }
}

fn next_event(subscription: &Subscription) -> Value {
    next_message(subscription).json(64).unwrap()
}
