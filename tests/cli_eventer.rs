//! `acqbus store serve`, and the verbs of the store over the network, as users run them.
#![cfg(feature = "cli")]

mod cli_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use acqbus::event::{
    Event, EventId, EventType, Events, Json, Payload, RegisterEvent, Subscription, Timestamp,
};
use acqbus::eventer::{ClientOptions, EventerClient, Notice};
use acqbus::store::{Backend, OpenOptions, StoreHandle};
use cli_support::{Done, PATIENCE, Program, Running, Service};
use serde_json::Value;

/// Events of a server, a second apart, of two types.
fn events(server: i64, numbers: impl IntoIterator<Item = i64>) -> Events {
    let event = |number: i64| {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        let payload = Json::new(format!("{{\"n\": {number}.50}}")).unwrap();
        let id = EventId::new(server, number, 1);
        let event_type = EventType::new(["rig-1", "event", name]);
        let event = Event::new(id, event_type, Timestamp::new(1_700_000_000 + number, 0));
        Arc::new(event.with_payload(Payload::Json(payload)))
    };
    numbers.into_iter().map(event).collect()
}

/// A store `history` in the program's home, with so many events of server 7; closed.
fn filled(program: &Program, count: i64) -> PathBuf {
    let dir = program.home().join("history");
    let store = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    store.register(events(7, 1..=count)).unwrap();
    store.close().unwrap();
    dir
}

/// `acqbus store serve` of `history`, at a free port or at one that it had before.
struct Served {
    running: Running,
    address: String,
}

impl Served {
    fn start(program: &Program, more: &[&str]) -> Self {
        Self::at(program, "127.0.0.1:0", more)
    }

    fn at(program: &Program, bind: &str, more: &[&str]) -> Self {
        let mut command = program.command(&["store", "serve", "--store", "history", "--json"]);
        command.args(["--bind", bind]).args(more);
        let mut running = Running::start(command);
        let started: Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(started["notice"], "started");
        let address = started["address"].as_str().unwrap().to_owned();
        Self { running, address }
    }

    #[track_caller]
    fn end(self) -> Done {
        self.running.interrupt();
        self.running.end().code(130)
    }

    fn client(&self) -> EventerClient {
        let all = Subscription::all();
        EventerClient::connect(ClientOptions::new(&self.address).subscription(all)).unwrap()
    }
}

/// A verb of `acqbus store`, with a server.
fn there(program: &Program, served: &Served, args: &[&str]) -> Done {
    Done::of(command(program, &served.address, args))
}

fn command(program: &Program, address: &str, args: &[&str]) -> Command {
    let mut command = program.command(&["store"]);
    command.args(args).args(["--server", address]);
    command
}

/// A verb of `acqbus store`, with the directory.
fn here(program: &Program, args: &[&str]) -> Done {
    let mut command = program.command(&["store"]);
    Done::of({
        command.args(args).args(["--store", "history"]);
        command
    })
}

fn sessions(done: &Done) -> Vec<i64> {
    let lines = done.json();
    let ids = lines.iter().filter_map(|line| line["id"][1].as_i64());
    ids.collect()
}

fn notice<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    lines
        .iter()
        .find(|line| line["notice"] == name)
        .unwrap_or_else(|| panic!("no notice {name} in {lines:?}"))
}

/// The next events that are told, until one is of this type.
#[track_caller]
fn told_until(client: &EventerClient, event_type: &str) -> Vec<Arc<Event>> {
    let deadline = Instant::now() + PATIENCE;
    let last = EventType::from(event_type);
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|event: &Arc<Event>| event.event_type != last)
    {
        let notice = client.notices().recv_deadline(deadline);
        if let Notice::Events(events) = notice.expect("events in time") {
            told.extend(events);
        }
    }
    told
}

#[test]
fn answers_are_those_of_the_directory() {
    let program = Program::new();
    filled(&program, 2500);
    let served = Served::start(&program, &[]);
    for args in [
        &["query", "latest", "rig-1/*"][..],
        &[
            "query",
            "timeseries",
            "rig-1/event/odd",
            "--max-results",
            "3",
        ],
        &[
            "query",
            "timeseries",
            "rig-1/*",
            "--order",
            "asc",
            "--from",
            "2023-11-14T22:13:25Z",
            "--json",
        ],
        &[
            "query",
            "server",
            "--server-id",
            "7",
            "--after",
            "7.2400.1",
            "--json",
        ],
        &["export", "rig-1/*"],
        &[
            "export",
            "rig-1/*",
            "--from",
            "2023-11-14T22:13:25Z",
            "--format",
            "csv",
        ],
    ] {
        let far = there(&program, &served, args).code(0);
        let near = here(&program, args).code(0);
        assert_eq!(far.out, near.out, "{args:?}");
        assert_eq!(far.err, near.err, "{args:?}");
        assert!(!far.out.is_empty(), "{args:?}");
    }
    let export = there(&program, &served, &["export", "rig-1/*"]).code(0);
    assert_eq!(sessions(&export), (1..=2500).collect::<Vec<_>>());
    served.end();
}

#[test]
fn server_tells_what_the_protocol_can_tell() {
    let program = Program::new();
    filled(&program, 4);
    let served = Served::start(&program, &[]);
    let stats = there(&program, &served, &["stats", "--json"])
        .code(0)
        .json();
    assert_eq!(stats[0]["status"], "operational");
    let servers = stats[0]["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2, "{servers:?}");
    assert_eq!(servers[1]["lastEventId"], serde_json::json!([7, 4, 1]));
    let text = there(&program, &served, &["stats"]).code(0).out;
    assert!(text.contains("operational"), "{text}");
    assert!(
        text.contains("server 7: the last 7.4.1 at 2023-11-14"),
        "{text}"
    );
    for args in [&["check"][..], &["export", "--salvage"]] {
        let done = there(&program, &served, args).code(2);
        assert!(
            done.err
                .contains("--store DIR, on the machine of the server"),
            "{args:?}: {}",
            done.err
        );
    }
    served.end();
}

#[test]
fn imported_events_are_new_ones_each_time() {
    let program = Program::new();
    filled(&program, 1500);
    let export = here(&program, &["export", "--server-id", "7"]).code(0).out;
    fs::write(
        program.home().join("events.jsonl"),
        format!("{export}nonsense\n"),
    )
    .unwrap();
    let served = Served::start(&program, &[]);
    let import = ["import", "events.jsonl"];
    for _ in 0..2 {
        let done = there(&program, &served, &import).code(6);
        assert!(
            done.err.contains("-- 1500 events imported as new events"),
            "{}",
            done.err
        );
        assert!(done.err.contains("1 line that is no event"), "{}", done.err);
    }
    let all = ["export", "rig-1/*", "--server-id", "1"];
    let new = there(&program, &served, &all).code(0).json();
    assert_eq!(new.len(), 3000);
    assert_eq!(
        new[0]["source_timestamp"],
        serde_json::json!([1_700_000_001, 0])
    );
    let named = ["import", "events.jsonl", "--server-id", "3"];
    let done = there(&program, &served, &named).code(2);
    assert!(done.err.contains("again without"), "{}", done.err);
    served.end();
}

#[test]
fn tail_goes_on_when_the_server_was_started_anew() {
    let program = Program::new();
    filled(&program, 5);
    let served = Served::start(&program, &[]);
    let address = served.address.clone();
    let args = ["tail", "rig-1/*", "-n", "2", "--count", "5", "--json"];
    let mut tail = Running::start(command(&program, &address, &args));
    for number in [4, 5] {
        let line: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!(line["id"], serde_json::json!([7, number, 1]));
    }
    let register = |served: &Served| {
        let event = RegisterEvent::new(EventType::from("rig-1/event/new"));
        served.client().register(vec![event]).unwrap()[0].id
    };
    let mut ids = vec![register(&served)];
    tail.line_with("\"new\"");
    served.end();
    tail.line_with("disconnected");
    let served = Served::at(&program, &address, &[]);
    ids.push(register(&served));
    ids.push(register(&served));
    let done = tail.read_to_end().code(0);
    let expected: Vec<_> = ids[1..].iter().map(|id| id.session).collect();
    assert_eq!(sessions(&done), expected, "{}", done.out);
    assert_eq!(notice(&done.json(), "end")["events"], 5);
    served.end();
}

#[test]
fn bus_is_recorded_into_a_server_also_while_that_is_started_anew() {
    let program = Program::new();
    let service = Service::start();
    let served = Served::start(&program, &[]);
    let address = served.address.clone();
    let mut record = command(&program, &address, &["record", "--json"]);
    record.args(service.flags());
    let mut record = Running::start(record);
    let started: Value = serde_json::from_str(&record.line()).unwrap();
    assert_eq!(started["server"], address.as_str());
    service.await_subscriptions(1);
    let mut sent = 0;
    let mut send = |count: i64| {
        for _ in 0..count {
            sent += 1;
            service
                .rpc()
                .send_string(acqbus::rpc::Topic::new(5000), &format!("{sent}"))
                .unwrap();
        }
    };
    let recorded = |served: &Served, count: usize| {
        let client = served.client();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wanted = acqbus::event::QueryTimeseriesParams::default()
                .event_types([EventType::from("?/5000/*")]);
            let events: Vec<_> = client.pages(wanted).map(Result::unwrap).collect();
            if events.len() >= count {
                return events;
            }
            assert!(Instant::now() < deadline, "{} of {count}", events.len());
        }
    };
    send(100);
    recorded(&served, 100);
    served.end();
    send(100);
    let served = Served::at(&program, &address, &[]);
    send(100);
    recorded(&served, 300);
    record.interrupt();
    let done = record.end().code(130);
    let end = notice(&done.json(), "end").clone();
    assert_eq!(
        (&end["lost"], &end["givenUp"]),
        (&0.into(), &0.into()),
        "{end}"
    );
    let events = recorded(&served, 300);
    let mut bodies: Vec<_> = events.iter().map(|event| event.payload.clone()).collect();
    assert_eq!(bodies.len(), 300, "none twice");
    bodies.dedup();
    assert_eq!(bodies.len(), 300, "none twice");
    served.end();
}

#[test]
fn clients_that_come_and_go_are_told() {
    let program = Program::new();
    let mut served = Served::start(&program, &[]);
    let options = ClientOptions::new(&served.address).name("display/hall");
    let client = EventerClient::connect(options).unwrap();
    let come: Value = serde_json::from_str(&served.running.line_with("connected")).unwrap();
    assert_eq!(come["client"], "display/hall");
    assert_eq!(come["clients"], 1);
    client.close();
    let gone: Value = serde_json::from_str(&served.running.line_with("disconnected")).unwrap();
    assert_eq!(gone["clients"], 0);
    let done = served.end();
    assert_eq!(notice(&done.json(), "end")["connections"], 1);
    let serve = "store serve --store history --bind 127.0.0.1:0 --duration 0.2";
    let done = program.run(&serve.split(' ').collect::<Vec<_>>()).code(0);
    assert!(
        done.out.starts_with("serving history at 127.0.0.1:"),
        "{}",
        done.out
    );
}

#[test]
fn token_is_wanted_where_the_server_has_one() {
    let program = Program::new();
    let token = |name: &str, text: &str, mode: u32| {
        let path = program.home().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    token("token", "let me in\n", 0o600);
    token("wrong", "let me out\n", 0o600);
    token("wide", "let me in\n", 0o644);
    token("empty", "\n", 0o600);
    let served = Served::start(&program, &["--token-file", "token"]);
    for (file, code, text) in [
        (Some("token"), 0, ""),
        (Some("wrong"), 5, "invalid client token"),
        (Some("wide"), 5, "chmod 600 wide"),
        (Some("empty"), 2, "one line of text"),
        (Some("absent"), 2, "another file for --token-file"),
        (None, 5, "--token-file FILE"),
    ] {
        let mut args = vec!["query", "latest"];
        args.extend(file.iter().flat_map(|file| ["--token-file", file]));
        let done = there(&program, &served, &args).code(code);
        assert!(done.err.contains(text), "{file:?}: {}", done.err);
        assert!(!done.err.contains("let me"), "{file:?}: {}", done.err);
    }
    served.end();
}

#[test]
fn address_that_others_reach_wants_a_token() {
    let program = Program::new();
    let serve = |more: &[&str]| {
        let mut args = vec![
            "store",
            "serve",
            "--store",
            "history",
            "--bind",
            "0.0.0.0:0",
        ];
        args.extend(["--duration", "0.1"]);
        args.extend(more);
        program.run(&args)
    };
    let done = serve(&[]).code(2);
    assert!(
        done.err.contains("--token-file FILE, or --insecure"),
        "{}",
        done.err
    );
    serve(&["--insecure"]).code(0);
    let path = program.home().join("token");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    serve(&["--token-file", "token"]).code(0);
}

#[test]
fn tls_is_spoken_with_whom_the_client_trusts() {
    let program = Program::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = program.home().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    write("cert.pem", &made.cert.pem(), 0o644);
    write("key.pem", &made.signing_key.serialize_pem(), 0o600);
    write("wide.pem", &made.signing_key.serialize_pem(), 0o644);
    let served = Served::start(
        &program,
        &["--tls-cert", "cert.pem", "--tls-key", "key.pem"],
    );
    there(
        &program,
        &served,
        &["query", "latest", "--tls-ca", "cert.pem"],
    )
    .code(0);
    let strange = there(&program, &served, &["query", "latest", "--tls"]);
    assert!([Some(2), Some(3)].contains(&strange.code), "{strange:?}");
    served.end();
    let wide =
        "store serve --store history --bind 127.0.0.1:0 --tls-cert cert.pem --tls-key wide.pem";
    program.run(&wide.split(' ').collect::<Vec<_>>()).code(5);
    let half = "store serve --store history --tls-cert cert.pem";
    program.run(&half.split(' ').collect::<Vec<_>>()).code(2);
}

#[test]
fn store_is_in_one_place() {
    let program = Program::new();
    filled(&program, 1);
    let served = Served::start(&program, &[]);
    let done = program.run(&["store", "tail"]).code(2);
    assert!(
        done.err.contains("--store <DIR>, or --server"),
        "{}",
        done.err
    );
    let both = ["query", "latest", "--store", "history"];
    let done = there(&program, &served, &both).code(2);
    assert!(done.err.contains("both given"), "{}", done.err);
    // What is typed is nearer than a variable, and that than a file.
    let stats = |args: &[&str], variable: (&str, &str)| {
        let mut command = program.command(&["store", "stats", "--json"]);
        command.args(args).env(variable.0, variable.1);
        Done::of(command).code(0).json()[0].clone()
    };
    let typed = stats(&["--server", &served.address], ("ACQBUS_STORE", "nowhere"));
    assert_eq!(typed["status"], "operational");
    let typed = stats(&["--store", "history"], ("ACQBUS_SERVER", "nowhere"));
    assert_eq!(typed["inUse"], true);
    fs::write(
        program.home().join("acqbus.toml"),
        "[store]\nstore = \"nowhere\"",
    )
    .unwrap();
    let variable = stats(&[], ("ACQBUS_SERVER", &served.address));
    assert_eq!(variable["status"], "operational");
    served.end();
    let gone = program
        .run(&["store", "stats", "--server", "127.0.0.1:1"])
        .code(3);
    assert!(gone.err.contains("acqbus store serve"), "{}", gone.err);
    let odd = program
        .run(&["store", "stats", "--server", "rig:x"])
        .code(2);
    assert!(!odd.err.is_empty());
}

#[test]
fn store_that_another_program_has_open_is_served_too() {
    let program = Program::new();
    let dir = filled(&program, 3);
    let owner = StoreHandle::open(&dir, OpenOptions::default()).unwrap();
    let served = Served::start(&program, &[]);
    let client = served.client();
    owner.register(events(7, 4..=6)).unwrap();
    let own = RegisterEvent::new(EventType::from("own"));
    client.register(vec![own.clone()]).unwrap();
    // What others register comes by another way than what this client does.
    let of_owner = |events: &[Arc<Event>]| -> Vec<i64> {
        let of_owner = events.iter().filter(|event| event.id.server == 7);
        of_owner.map(|event| event.id.session).collect()
    };
    let mut told = told_until(&client, "own");
    let deadline = Instant::now() + PATIENCE;
    while of_owner(&told).len() < 3 {
        let notice = client.notices().recv_deadline(deadline).expect("in time");
        if let Notice::Events(events) = notice {
            told.extend(events);
        }
    }
    assert_eq!(of_owner(&told), [4, 5, 6]);
    // The owner ends; the server owns the store then.
    owner.register(events(7, 7..=9)).unwrap();
    drop(owner);
    let other = StoreHandle::open(&dir, OpenOptions::default().patience(PATIENCE)).unwrap();
    other.register(events(7, 10..=12)).unwrap();
    let mut told = Vec::new();
    while of_owner(&told).len() < 6 {
        let notice = client.notices().recv_deadline(deadline).expect("in time");
        if let Notice::Events(events) = notice {
            told.extend(events);
        }
    }
    assert_eq!(of_owner(&told), [7, 8, 9, 10, 11, 12]);
    client.register(vec![own]).unwrap();
    told_until(&client, "own");
    drop(other);
    served.end();
}

#[test]
fn number_of_a_server_is_taken_once() {
    let program = Program::new();
    let served = Served::start(&program, &[]);
    let second = "store serve --store history --bind 127.0.0.1:0";
    let done = program.run(&second.split(' ').collect::<Vec<_>>()).code(1);
    assert!(done.err.contains("--server-id 2"), "{}", done.err);
    let port = format!("store serve --store other --bind {}", served.address);
    let done = program.run(&port.split(' ').collect::<Vec<_>>()).code(3);
    assert!(done.err.contains("--bind 127.0.0.1:0"), "{}", done.err);
    assert!(Path::new(&program.home().join("other")).exists());
    served.end();
}

#[test]
fn durable_events_are_told_when_they_are() {
    let program = Program::new();
    let served = Served::start(&program, &[]);
    let options = ClientOptions::new(&served.address)
        .subscription(Subscription::new([EventType::from("own/*")]).unwrap())
        .persisted(true);
    let client = EventerClient::connect(options).unwrap();
    let own = |name: &str| vec![RegisterEvent::new(EventType::new(["own", name]))];
    let first = client.register(own("a")).unwrap();
    let second = client.register(own("b")).unwrap();
    let told = told_until(&client, "own/b");
    assert_eq!(told, [first, second].concat());
    served.end();
}

#[test]
fn second_server_keeps_a_copy_and_takes_over() {
    let program = Program::new();
    filled(&program, 3);
    let first = Served::start(&program, &[]);
    let registered = {
        let event = RegisterEvent::new(EventType::from("rig-1/event/new"));
        first.client().register(vec![event]).unwrap()
    };
    let mut standby = program.command(&["store", "serve", "--store", "copy", "--json"]);
    standby.args(["--bind", "127.0.0.1:0", "--server-id", "2"]);
    standby.args(["--standby-of", &first.address, "--take-over-after", "0.2"]);
    let mut standby = Running::start(standby);
    let started: Value = serde_json::from_str(&standby.line()).unwrap();
    assert_eq!(started["status"], "standby");
    let address = started["address"].as_str().unwrap().to_owned();
    standby.line_with("\"synced\"");
    // It answers, and registers nothing yet.
    // What the first makes durable later comes then.
    let tail = "tail rig-1/event/new -n 1 --count 1 --duration 20 --json";
    let tail: Vec<_> = tail.split(' ').collect();
    let copied = Done::of(command(&program, &address, &tail)).code(0);
    assert_eq!(sessions(&copied), [registered[0].id.session]);
    let export = here(&program, &["export", "--server-id", "7"]).code(0);
    fs::write(program.home().join("events.jsonl"), &export.out).unwrap();
    let import = ["import", "events.jsonl"];
    let refused = Done::of(command(&program, &address, &import)).code(1);
    assert!(
        refused.err.contains("when the server is operational"),
        "{}",
        refused.err
    );
    first.end();
    standby.line_with("\"operational\"");
    Done::of(command(&program, &address, &import)).code(0);
    let of_second = ["query", "server", "--server-id", "2", "--json"];
    let done = Done::of(command(&program, &address, &of_second)).code(0);
    assert!(done.out.contains("rig-1"), "{}", done.out);
    standby.interrupt();
    standby.end().code(130);
    let itself = "store serve --store copy --server-id 2 --standby-of rig --remote-id 2";
    let done = program.run(&itself.split(' ').collect::<Vec<_>>()).code(2);
    assert!(done.err.contains("cannot follow itself"), "{}", done.err);
}
