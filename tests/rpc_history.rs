//! History over real sockets: a service that remembers, clients that come late, and stores that fail.

mod common;

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use acqbus::event::{
    Event as Stored, EventId, EventType, Events, QueryParams, QueryTimeseriesParams, Timestamp,
};
use acqbus::relay::recorder::message_of;
use acqbus::relay::{BusMemory, BusRecorder, BusRecorderOptions};
use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandResponse, CommandResult, History, HistoryPage,
    HistoryRequest, HistoryStart, Notice, Position, RemoteClient, RpcOptions, RpcService,
    Subscription, Topic, Verdict,
};
use acqbus::store::{
    Backend, Callbacks, Engine, EngineOptions, MemoryBackend, RedbBackend, StoreConfig, StoreError,
};
use serde_json::json;

use common::bus::{
    LIMIT, bound, client, client_options, echo, eventually, in_time, launch, options, publish,
    recv_frames, until,
};

fn memory() -> Arc<MemoryBackend> {
    Arc::new(MemoryBackend::new(Callbacks::default()))
}

/// A service that remembers in a store.
fn remembering(backend: Arc<dyn Backend>) -> (RpcService, BusMemory) {
    remembering_with(backend, options())
}

fn remembering_with(backend: Arc<dyn Backend>, options: RpcOptions) -> (RpcService, BusMemory) {
    let memory = BusMemory::open(backend).unwrap();
    let service = RpcService::new(memory.options(options));
    memory.record(&service).unwrap();
    service.start().unwrap();
    (service, memory)
}

fn send(service: &RpcService, number: u64) {
    // Every third has no place for members.
    if number.is_multiple_of(3) {
        service
            .send_string(Topic::EVENT, &number.to_string())
            .unwrap();
    } else {
        service
            .send_dict(Topic::EVENT, &json!({"kind": 1101, "index": number}))
            .unwrap();
    }
}

/// The number that [`send`] put into a message.
fn number(body: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap();
    value.as_u64().or_else(|| value["index"].as_u64()).unwrap()
}

/// Reads events until their number `last`; gives their numbers and all other notices.
fn events_until(subscription: &Subscription, last: u64) -> (Vec<u64>, Vec<Notice>) {
    let deadline = Instant::now() + LIMIT;
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    while numbers.last() != Some(&last) {
        match subscription.recv_deadline(deadline) {
            Some(Notice::Message(message)) => numbers.push(number(&message.body)),
            Some(other) => others.push(other),
            None => panic!("{last} did not come: {} came, {others:?}", numbers.len()),
        }
    }
    (numbers, others)
}

/// What a history says of itself.
fn verdicts(notices: &[Notice]) -> Vec<&Notice> {
    let of_connection =
        |notice: &&Notice| !matches!(notice, Notice::Linked | Notice::Connected { .. });
    notices.iter().filter(of_connection).collect()
}

#[test]
fn client_that_joins_in_traffic_sees_every_message_once_and_in_order() {
    let (service, _memory) = remembering(memory());
    let total = 3_000;
    let subscription = thread::scope(|scope| {
        let service = &service;
        let traffic = scope.spawn(move || {
            // 1,000 in a second.
            let begun = Instant::now();
            for at in 1..=total {
                send(service, at);
                let due = begun + Duration::from_millis(at);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        eventually("some traffic", || service.stats().published > 500);
        let subscription = client(service)
            .subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)
            .unwrap();
        traffic.join().unwrap();
        subscription
    });
    let (numbers, others) = events_until(&subscription, total);
    assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
    assert_eq!(verdicts(&others), [&Notice::Resumed]);
}

#[test]
fn position_resumes_behind_it_and_goes_on_live() {
    let (service, _memory) = remembering(memory());
    (1..=10).for_each(|at| send(&service, at));
    let position = Position::new(service.epoch().unwrap()).with(Topic::EVENT, 6);
    let subscription = client(&service)
        .subscribe_from(&[Topic::EVENT], HistoryStart::Position(position))
        .unwrap();
    let (numbers, others) = events_until(&subscription, 10);
    assert_eq!(numbers, [7, 8, 9, 10]);
    assert_eq!(verdicts(&others), [&Notice::Resumed]);
    send(&service, 11);
    assert_eq!(events_until(&subscription, 11).0, [11]);
}

#[test]
fn everything_of_all_topics_comes_byte_for_byte() {
    let (service, _memory) = remembering(memory());
    service
        .send_event(&acqbus::rpc::Event::new(101.into(), 5.5, 1))
        .unwrap();
    service.send(Topic::new(77), b"\xff\x00").unwrap();
    service
        .send_dict(Topic::PROPERTY_CHANGE, &json!({"name": "gain"}))
        .unwrap();
    let epoch = service.epoch().unwrap();
    let late = client(&service)
        .subscribe_from(&[], HistoryStart::Sequence(1))
        .unwrap();
    service.send_string(Topic::ANY, "the end").unwrap();
    let mut got = Vec::new();
    until(&late, |notice| {
        if let Notice::Message(message) = notice
            && message.topic != Topic::HEARTBEAT
        {
            let end = message.topic == Topic::ANY;
            got.push((message.topic, message.body.clone()));
            return end.then_some(());
        }
        None
    });
    let event = |topic| {
        let body = format!(
            r#"{{"kind": 101, "when": 5.5, "index": 1, "context": null, "repeat": 0, "epoch": {epoch}, "sequence": 1}}"#
        );
        (topic, body.into_bytes())
    };
    let change = format!(r#"{{"name": "gain", "epoch": {epoch}, "sequence": 1}}"#);
    assert_eq!(
        got,
        [
            event(Topic::EMERGENCY),
            event(Topic::EVENT),
            (Topic::new(77), b"\xff\x00".to_vec()),
            (Topic::PROPERTY_CHANGE, change.into_bytes()),
            (Topic::ANY, b"the end".to_vec()),
        ]
    );
}

#[test]
fn service_that_was_started_anew_is_another_epoch() {
    let backend = memory();
    let (before, memory) = remembering(backend.clone());
    (1..=5).for_each(|at| send(&before, at));
    let position = Position::new(before.epoch().unwrap()).with(Topic::EVENT, 3);
    before.stop();
    memory.close().unwrap();
    let (service, _memory) = remembering(backend);
    (1..=4).for_each(|at| send(&service, at));
    let client = client(&service);
    let subscription = client
        .subscribe_from(&[Topic::EVENT], HistoryStart::Position(position))
        .unwrap();
    let (numbers, others) = events_until(&subscription, 4);
    assert_eq!(numbers, [1, 2, 3, 4]);
    let epoch = service.epoch().unwrap();
    assert_eq!(verdicts(&others), [&Notice::OtherEpoch { epoch }]);
    // Time knows no starts.
    let since = SystemTime::now() - Duration::from_secs(600);
    let subscription = client
        .subscribe_from(&[Topic::EVENT], HistoryStart::Since(since))
        .unwrap();
    let mut numbers = Vec::new();
    until(&subscription, |notice| {
        if let Notice::Message(message) = notice {
            numbers.push(number(&message.body));
        }
        (numbers.len() == 9).then_some(())
    });
    assert_eq!(numbers, [1, 2, 3, 4, 5, 1, 2, 3, 4]);
}

#[test]
fn client_that_stays_over_a_restart_gets_what_came_before_it_was_back() {
    let backend = memory();
    let (before, memory) = remembering(backend.clone());
    let ports = (before.subscriber_port(), before.command_port());
    let subscription = client(&before)
        .subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)
        .unwrap();
    send(&before, 1);
    assert_eq!(events_until(&subscription, 1).0, [1]);
    before.stop();
    memory.close().unwrap();
    let memory = BusMemory::open(backend).unwrap();
    let service = RpcService::new(memory.options(options()).ports(ports.0, ports.1));
    memory.record(&service).unwrap();
    eventually("the ports", || service.start().is_ok());
    (1..=20).for_each(|at| send(&service, at));
    let (numbers, others) = events_until(&subscription, 20);
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    let epoch = service.epoch().unwrap();
    assert!(others.contains(&Notice::Restarted { epoch }), "{others:?}");
    assert!(
        !others
            .iter()
            .any(|notice| matches!(notice, Notice::Gap { .. }))
    );
}

/// A store that has lost what it was told to lose, and refuses what it is told to refuse.
#[derive(Debug)]
struct Faulty {
    store: MemoryBackend,
    /// Events of sessions up to this are gone.
    gone: AtomicI64,
    full: AtomicBool,
    /// A call with more events is refused, whatever happens. 0 is no limit.
    most: AtomicI64,
}

impl Faulty {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryBackend::new(Callbacks::default()),
            gone: AtomicI64::new(0),
            full: AtomicBool::new(false),
            most: AtomicI64::new(0),
        })
    }
}

impl Backend for Faulty {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.store.last_event_id(server)
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.store.last_timestamp(server)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Io {
                action: "writing",
                path: "store".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        let most = self.most.load(Ordering::SeqCst);
        if most > 0 && events.len() as i64 > most {
            return Err(StoreError::Full {
                bytes: events.len(),
                held: 0,
                limit: most as usize,
                source: None,
            });
        }
        self.store.register(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Stored>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        let gone = self.gone.load(Ordering::SeqCst);
        self.store.visit(params, &mut |event| {
            if event.id.session <= gone {
                return ControlFlow::Continue(());
            }
            visit(event)
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        self.store.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.store.session_floor(server)
    }
}

#[test]
fn cleaned_store_cuts_the_history_short() {
    let backend = Faulty::new();
    let (service, memory) = remembering(backend.clone());
    (1..=5).for_each(|at| send(&service, at));
    eventually("five recorded", || recorded(&*backend, "event") == 5);
    backend
        .gone
        .store(backend.last_event_id(1).unwrap().session, Ordering::SeqCst);
    (6..=8).for_each(|at| send(&service, at));
    let cut = Notice::CutShort {
        topic: Topic::EVENT,
        at: 6,
    };
    for start in [HistoryStart::Sequence(3), HistoryStart::Beginning] {
        let subscription = client(&service)
            .subscribe_from(&[Topic::EVENT], start)
            .unwrap();
        let (numbers, others) = events_until(&subscription, 8);
        assert_eq!(numbers, [6, 7, 8]);
        assert_eq!(verdicts(&others), [&cut]);
    }
    drop(memory);
}

/// Messages of a topic in a store.
fn recorded(backend: &dyn Backend, topic: &str) -> usize {
    let types = [EventType::new(["rig", topic, "?"])];
    let params = QueryTimeseriesParams::default().event_types(types);
    backend.query(&params.into()).unwrap().events.len()
}

#[test]
fn store_that_is_full_disturbs_nobody_and_goes_on_when_there_is_room() {
    let backend = Faulty::new();
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let service = RpcService::new(options());
    let told = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&told);
    let recorder = BusRecorder::attach(
        &service,
        engine.handle(),
        BusRecorderOptions::default()
            .queue(16, 1 << 20)
            .on_error(move |error| {
                assert!(error.is_disk_full());
                counted.fetch_add(1, Ordering::SeqCst);
            }),
    )
    .unwrap();
    service.start().unwrap();
    send(&service, 1);
    eventually("one recorded", || recorded(&*backend, "event") == 1);
    backend.full.store(true, Ordering::SeqCst);
    for at in 2..=2_000 {
        send(&service, at);
    }
    eventually("all published", || service.stats().published >= 2_000);
    eventually("a loss that is counted", || recorder.stats().failures > 1);
    let stats = recorder.stats();
    assert!(stats.error.is_some_and(|error| error.is_disk_full()));
    backend.full.store(false, Ordering::SeqCst);
    eventually("room again", || recorder.stats().error.is_none());
    send(&service, 2_001);
    service.stop();
    recorder.stop();
    let stats = recorder.stats();
    assert_eq!(told.load(Ordering::SeqCst), 1, "once for the row");
    assert!(stats.lost > 0 && stats.gaps > 0, "{stats:?}");
    assert_eq!(stats.given_up, 0);
    // Every number is there as a message or within a gap.
    let params = QueryTimeseriesParams::default().event_types([EventType::new(["rig", "*"])]);
    let mut accounted = 0;
    for event in backend.query(&params.into()).unwrap().events {
        match message_of(&event) {
            Some(message) if message.topic == Topic::EVENT => accounted += 1,
            Some(_) => {}
            None => {
                let payload = event.payload.as_ref().and_then(|of| of.as_json()).unwrap();
                let gap = payload.to_value();
                if gap["topic"] == 4001 {
                    accounted += gap["count"].as_u64().unwrap();
                }
            }
        }
    }
    assert_eq!(accounted, 2_001);
}

#[test]
fn batch_that_can_never_fit_is_written_one_by_one() {
    let backend = Faulty::new();
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let service = RpcService::new(options());
    let recorder =
        BusRecorder::attach(&service, engine.handle(), BusRecorderOptions::default()).unwrap();
    // Nothing is written meanwhile, so that they come as one batch.
    backend.full.store(true, Ordering::SeqCst);
    service.start().unwrap();
    (1..=50).for_each(|at| send(&service, at));
    eventually("all wait", || recorder.stats().failures > 1);
    backend.most.store(1, Ordering::SeqCst);
    backend.full.store(false, Ordering::SeqCst);
    eventually("all recorded", || recorded(&*backend, "event") == 50);
    service.stop();
    recorder.stop();
    let stats = recorder.stats();
    assert_eq!((stats.lost, stats.given_up), (0, 0), "{stats:?}");
}

#[test]
fn service_without_history_says_so_and_its_delegate_gets_the_request() {
    let service = echo();
    let client = client(&service);
    let error = client
        .history(&HistoryRequest::new(HistoryStart::Beginning))
        .unwrap_err();
    assert!(error.is_no_history(), "{error}");
    let reply = client
        .send(
            &CommandRequest::new(ApiCommand::UserDefined)
                .with_custom_command("acqbus.history")
                .with_data(&7)
                .unwrap(),
        )
        .unwrap();
    assert_eq!(reply.data(), 7, "the delegate's echo");
    let subscription = client
        .subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)
        .unwrap();
    until(&subscription, |notice| {
        matches!(notice, Notice::NoHistory { .. }).then_some(())
    });
    send(&service, 1);
    assert_eq!(events_until(&subscription, 1).0, [1]);
}

/// A history that answers when it is let.
#[derive(Debug)]
struct Slow(crossbeam_channel::Receiver<()>);

impl History for Slow {
    fn page(&self, request: &HistoryRequest) -> Result<HistoryPage, Box<dyn Error + Send + Sync>> {
        self.0.recv()?;
        Ok(HistoryPage::new(Verdict::Resumed, request.epoch))
    }
}

#[test]
fn slow_history_delays_no_command() {
    let (go, gate) = crossbeam_channel::bounded(1);
    let service = launch(options().history(Arc::new(Slow(gate))));
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    let client = client(&service);
    let epoch = service.epoch().unwrap();
    let page = thread::scope(|scope| {
        let asker = scope.spawn(|| client.history(&HistoryRequest::new(HistoryStart::Beginning)));
        eventually("the request", || service.stats().commands == 1);
        for _ in 0..50 {
            let reply = client.request(ApiCommand::GetStatus, &()).unwrap();
            assert_eq!(reply.result(), CommandResult::Success);
        }
        assert!(!asker.is_finished());
        go.send(()).unwrap();
        asker.join().unwrap().unwrap()
    });
    assert_eq!(page, HistoryPage::new(Verdict::Resumed, epoch));
}

#[test]
fn unusable_requests_and_panics_are_answered() {
    #[derive(Debug)]
    struct Broken;
    impl History for Broken {
        fn page(&self, _: &HistoryRequest) -> Result<HistoryPage, Box<dyn Error + Send + Sync>> {
            panic!("no pages here")
        }
    }
    let service = launch(options().history(Arc::new(Broken)));
    let client = client(&service);
    let ask = |data| {
        let request = CommandRequest::new(ApiCommand::UserDefined)
            .with_custom_command("acqbus.history")
            .with_data(&data)
            .unwrap();
        client.send(&request).unwrap()
    };
    let reply = ask(json!({"epoch": "x"}));
    assert_eq!(
        (reply.result(), reply.error_code(), reply.error_message()),
        (CommandResult::Failed, 400, Some("`epoch` is not a number"))
    );
    for _ in 0..2 {
        let reply = ask(json!(null));
        assert_eq!(reply.result(), CommandResult::Exception);
        assert_eq!(reply.error_message(), Some("no pages here"));
    }
}

#[test]
fn service_stops_and_a_subscription_ends_while_history_is_read() {
    let (service, memory) = remembering(memory());
    (1..=2_000).for_each(|at| send(&service, at));
    let options = client_options(&service).buffers(10, 1);
    let client = RemoteClient::connect(options.timeout(Duration::from_millis(500))).unwrap();
    let subscription = client
        .subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)
        .unwrap();
    until(&subscription, |notice| {
        matches!(notice, Notice::Message(_)).then_some(())
    });
    in_time("the end of all", move || {
        drop(subscription);
        service.stop();
        drop(memory);
    });
}

#[test]
fn recorder_over_the_wire_records_a_gap_as_an_event() {
    let (publisher, number) = bound(acqbus::zsocket::SocketKind::Xpub);
    let options = acqbus::rpc::ClientOptions::default().ports(number, common::bus::free_port());
    let client = RemoteClient::connect(options).unwrap();
    let backend = memory();
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let recorder =
        BusRecorder::follow(&client, engine.handle(), BusRecorderOptions::default()).unwrap();
    assert_eq!(recv_frames(&publisher)[0][0], 1);
    let beat = |sequence: u64, events: u64| {
        let body = format!(
            r#"{{"identifier": "rig", "version": "1", "timestamp": 1, "sequences": {{"4001": {events}}}, "epoch": 9, "sequence": {sequence}}}"#
        );
        publish(&publisher, Topic::HEARTBEAT, &body);
    };
    beat(1, 4);
    let body = |sequence| format!(r#"{{"kind": 1331, "epoch": 9, "sequence": {sequence}}}"#);
    publish(&publisher, Topic::EVENT, &body(5));
    publish(&publisher, Topic::EVENT, &body(9));
    eventually("two recorded", || recorded(&*backend, "event") == 2);
    recorder.stop();
    let gaps = QueryTimeseriesParams::default().event_types([EventType::new(["rig", "gap"])]);
    let gaps = backend.query(&gaps.into()).unwrap().events;
    assert_eq!(gaps.len(), 1);
    let payload = gaps[0]
        .payload
        .as_ref()
        .and_then(|of| of.as_json())
        .unwrap();
    assert_eq!(
        payload.to_value(),
        json!({"topic": 4001, "name": "event", "epoch": 9, "first": 6, "count": 3})
    );
    assert_eq!(recorder.stats().gaps, 1);
}

#[test]
fn durable_store_remembers_over_an_end_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store = RedbBackend::open(folder.path(), StoreConfig::default(), Callbacks::default());
        Arc::new(store.unwrap())
    };
    {
        let backend = open();
        let (service, memory) = remembering(backend.clone());
        (1..=5_000).for_each(|at| send(&service, at));
        service.stop();
        memory.close().unwrap();
        backend.close().unwrap();
    }
    let (service, _memory) = remembering(open());
    (5_001..=5_010).for_each(|at| send(&service, at));
    let subscription = client(&service)
        .subscribe_from(&[Topic::EVENT], HistoryStart::Beginning)
        .unwrap();
    let (numbers, others) = events_until(&subscription, 5_010);
    assert_eq!(numbers, (1..=5_010).collect::<Vec<_>>());
    assert_eq!(verdicts(&others), [&Notice::Resumed]);
    let position = Position::new(service.epoch().unwrap()).with(Topic::EVENT, 4);
    let subscription = client(&service)
        .subscribe_from(&[Topic::EVENT], HistoryStart::Position(position))
        .unwrap();
    assert_eq!(
        events_until(&subscription, 5_010).0,
        [5_005, 5_006, 5_007, 5_008, 5_009, 5_010]
    );
}
