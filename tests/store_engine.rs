//! The engine when all is well, and when modules, callers, clocks and disks are not.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Events, QueryLatestParams, QueryParams, QueryServerParams,
    RegisterEvent, Subscription, Timestamp,
};
use acqbus::store::{
    Backend, Callbacks, Engine, EngineHandle, EngineOptions, MemoryBackend, Module, Source,
    StoreError, Submission, SubmitError,
};

#[test]
fn one_call_is_one_session_between_started_and_stopped() {
    let backend = memory();
    let engine = Engine::start(backend.clone(), EngineOptions::default().server(4)).unwrap();
    let events = engine
        .register(Source::eventer(1), vec![of("a"), of("b")])
        .unwrap();
    assert_eq!(ids(&events), [(2, 1), (2, 2)]);
    assert_eq!(events[0].timestamp, events[1].timestamp);
    engine.close().unwrap();
    let told = history(&*backend, 4);
    let texts: Vec<_> = told.iter().map(|event| shown(event)).collect();
    assert_eq!(
        texts,
        [
            "1.1 event/4/engine \"STARTED\"",
            "2.1 a",
            "2.2 b",
            "3.1 event/4/engine \"STOPPED\""
        ]
    );
}

#[test]
fn no_events_are_no_session() {
    let engine = Engine::start(memory(), EngineOptions::default()).unwrap();
    assert!(engine.register(Source::SERVER, vec![]).unwrap().is_empty());
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(2, 1)]);
}

#[test]
fn closed_engine_says_so_and_leaves_its_backend_open() {
    let backend = memory();
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let handle = engine.handle();
    engine.close().unwrap();
    engine.close().unwrap();
    for events in [vec![], vec![of("a")]] {
        let error = handle.register(Source::SERVER, events).unwrap_err();
        assert!(error.is_closed());
    }
    backend.flush().unwrap();
    // STARTED and STOPPED; the next engine goes on where this one ended.
    let engine = Engine::start(backend, EngineOptions::default()).unwrap();
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(4, 1)]);
}

#[test]
fn module_that_panics_is_closed_and_told_and_the_others_go_on() {
    let backend = memory();
    let options = EngineOptions::default()
        .module(Answering::to("a", |_| panic!("out of oil")))
        .module(Answering::to("a", |_| vec![of("b")]));
    let engine = Engine::start(backend.clone(), options).unwrap();
    engine.register(Source::SERVER, vec![of("a")]).unwrap();
    engine.register(Source::SERVER, vec![of("a")]).unwrap();
    let told: Vec<_> = history(&*backend, 1)
        .iter()
        .map(|event| shown(event))
        .collect();
    assert_eq!(
        told[1..],
        [
            "2.1 a",
            "2.2 b",
            "3.1 event/1/module/0 {\"reason\": \"it panicked: out of oil\"}",
            "4.1 a",
            "4.2 b",
        ]
    );
    assert_eq!(engine.stats().closed_modules, 1);
    engine.close().unwrap();
}

#[test]
fn what_a_module_answered_before_it_panicked_stays() {
    let backend = memory();
    let mut calls = 0;
    let options = EngineOptions::default().module(Answering::to("a", move |_| {
        calls += 1;
        assert!(calls < 2, "once too often");
        vec![of("b")]
    }));
    let engine = Engine::start(backend.clone(), options).unwrap();
    engine
        .register(Source::SERVER, vec![of("a"), of("a")])
        .unwrap();
    let told = history(&*backend, 1);
    assert_eq!(ids(&told[1..4]), [(2, 1), (2, 2), (2, 3)]);
    assert_eq!(told[3].event_type, EventType::from("b"));
}

#[test]
fn module_that_cannot_be_made_ends_the_start() {
    let cannot = EngineOptions::default()
        .module(Answering::to("a", |_| vec![]))
        .module_with(|_, source| Err(format!("no license for {}", source.id).into()));
    let error = Engine::start(memory(), cannot).unwrap_err();
    assert_eq!(error.to_string(), "module 1: no license for 1");
    let panics = EngineOptions::default().module_with(|_, _| panic!("at once"));
    let error = Engine::start(memory(), panics).unwrap_err();
    assert_eq!(error.to_string(), "module 0: it panicked: at once");
}

#[test]
fn modules_that_feed_each_other_are_refused_as_a_whole() {
    let backend = memory();
    let options = EngineOptions::default()
        .max_rounds(10)
        .module(Answering::to("a", |_| vec![of("b")]))
        .module(Answering::to("b", |_| vec![of("a")]));
    let engine = Engine::start(backend.clone(), options).unwrap();
    let error = engine.register(Source::SERVER, vec![of("a")]).unwrap_err();
    assert!(error.is_loop());
    assert_eq!(
        error.to_string(),
        "session 2 has 11 rounds of modules, more than the 10 that are allowed: do modules answer each other?"
    );
    let events = engine.register(Source::SERVER, vec![of("c")]).unwrap();
    assert_eq!(ids(&events), [(4, 1)]);
    let told: Vec<_> = history(&*backend, 1)
        .iter()
        .map(|event| event.event_type.to_string())
        .collect();
    assert_eq!(told, ["event/1/engine", "event/1/loop", "c"]);
    assert_eq!(engine.stats().endless, 1);
}

#[test]
fn as_many_rounds_as_allowed_are_no_loop() {
    let options = EngineOptions::default()
        .max_rounds(2)
        .module(Answering::to("a", |_| vec![of("b")]))
        .module(Answering::to("b", |_| vec![of("c")]));
    let backend = memory();
    let engine = Engine::start(backend.clone(), options).unwrap();
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(2, 1)]);
    assert_eq!(history(&*backend, 1).len(), 4);
}

#[test]
fn modules_that_multiply_events_are_stopped_in_the_round() {
    let options = EngineOptions::default()
        .max_events(1000)
        .max_rounds(usize::MAX)
        .module(Answering::to("a", |_| vec![of("a"), of("a")]));
    let engine = Engine::start(memory(), options).unwrap();
    let error = engine.register(Source::SERVER, vec![of("a")]).unwrap_err();
    let StoreError::Loop { found, limit, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(limit, 1000);
    assert!((1001..=1003).contains(&found), "{found}");
}

#[test]
fn many_events_of_a_caller_are_no_loop() {
    let options = EngineOptions::default().max_events(10);
    let engine = Engine::start(memory(), options).unwrap();
    let events = (0..1000).map(|_| of("a")).collect();
    let registered = engine.register(Source::SERVER, events).unwrap();
    assert_eq!(registered.len(), 1000);
}

#[test]
fn module_that_registers_on_the_engine_thread_is_told_so() {
    let (answers, answer) = mpsc::channel();
    let options = EngineOptions::default().module_with(move |engine, source| {
        let engine = engine.clone();
        Ok(Box::new(Answering::to("a", move |_| {
            let refused = engine.register(source, vec![of("b")]).unwrap_err();
            let seen = engine.query(&QueryLatestParams::default().into()).unwrap();
            answers.send((refused, seen.events.len())).unwrap();
            vec![]
        })))
    });
    let engine = Engine::start(memory(), options).unwrap();
    engine.register(Source::SERVER, vec![of("a")]).unwrap();
    let (refused, seen) = answer.recv().unwrap();
    assert!(matches!(refused, StoreError::OnEngineThread));
    assert_eq!(seen, 1, "STARTED; its own session is not in the store yet");
}

#[test]
fn thread_of_a_module_is_answered_also_when_the_engine_closes() {
    let (results, result) = mpsc::channel();
    let options = EngineOptions::default().module_with(move |engine, source| {
        Ok(Box::new(WithThread::new(engine.clone(), source, results)))
    });
    let engine = Engine::start(memory(), options).unwrap();
    assert!(result.recv_timeout(LIMIT).unwrap().is_ok());
    engine.close().unwrap();
    assert!(result.iter().last().unwrap().unwrap_err().is_closed());
}

#[test]
fn callers_wait_for_a_place_in_a_full_queue() {
    let (module, gate) = gated();
    let options = EngineOptions::default().queue_len(1).module(module);
    let engine = Engine::start(memory(), options).unwrap();
    let mut sessions = thread::scope(|scope| {
        let callers: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| engine.register(Source::SERVER, vec![of("a")]).unwrap()))
            .collect();
        gate.entered.recv_timeout(LIMIT).unwrap();
        drop(gate.open);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap()[0].id.session)
            .collect::<Vec<_>>()
    });
    sessions.sort_unstable();
    assert_eq!(sessions, [2, 3, 4, 5, 6, 7]);
}

#[test]
fn closing_answers_what_is_queued_and_refuses_who_waits_for_a_place() {
    let (module, gate) = gated();
    let options = EngineOptions::default().queue_len(1).module(module);
    let backend = memory();
    let engine = Engine::start(backend.clone(), options).unwrap();
    let (answers, answer) = mpsc::channel();
    let (refused, mut kept) = thread::scope(|scope| {
        for _ in 0..6 {
            let (answers, engine) = (answers.clone(), engine.handle());
            scope.spawn(move || {
                let answer = engine.register(Source::SERVER, vec![of("a")]);
                answers.send(answer).unwrap();
            });
        }
        gate.entered.recv_timeout(LIMIT).unwrap();
        let closing = scope.spawn(|| engine.close());
        // One is in the module and one at most is queued; the others are refused while the module still holds all up.
        let mut refused = Vec::new();
        for _ in 0..4 {
            refused.push(answer.recv_timeout(LIMIT).unwrap().unwrap_err());
        }
        drop(gate.open);
        closing.join().unwrap().unwrap();
        let mut kept = Vec::new();
        for _ in 0..2 {
            match answer.recv_timeout(LIMIT).unwrap() {
                Ok(events) => kept.push(events[0].id),
                Err(error) => refused.push(error),
            }
        }
        (refused, kept)
    });
    assert!(refused.iter().all(StoreError::is_closed));
    assert!(!kept.is_empty());
    kept.sort();
    let told = history(&*backend, 1);
    let stored = told.iter().filter(|event| event.event_type == "a".into());
    assert_eq!(stored.map(|event| event.id).collect::<Vec<_>>(), kept);
}

#[test]
fn submissions_are_sessions_in_the_order_in_which_they_were_put() {
    let engine = Engine::start(memory(), EngineOptions::default()).unwrap();
    let (answer, answers) = mpsc::channel();
    for number in 0..50 {
        let answer = answer.clone();
        let event = of(&number.to_string());
        let submission = Submission::new(Source::SERVER, vec![event], move |result| {
            answer.send(ids(&result.unwrap())).unwrap();
        });
        engine.handle().submit(submission).unwrap();
    }
    let empty = Submission::new(Source::SERVER, vec![], move |result| {
        answer.send(ids(&result.unwrap())).unwrap();
    });
    engine.handle().submit(empty).unwrap();
    let answered: Vec<_> = (0..51)
        .map(|_| answers.recv_timeout(LIMIT).unwrap())
        .collect();
    let expected = (2..52).map(|session| vec![(session, 1)]).chain([vec![]]);
    assert!(answered.into_iter().eq(expected));
}

#[test]
fn full_queue_gives_a_submission_back_and_tells_when_there_is_room() {
    let (module, gate) = gated();
    let options = EngineOptions::default().queue_len(1).module(module);
    let engine = Engine::start(memory(), options).unwrap();
    let handle = engine.handle();
    let submission = || Submission::new(Source::SERVER, vec![of("a")], |_| {});
    handle.submit(submission()).unwrap();
    gate.entered.recv_timeout(LIMIT).unwrap();
    handle.submit(submission()).unwrap();
    let Err(SubmitError::Full(refused)) = handle.submit(submission()) else {
        panic!("the queue has one place, which is taken");
    };
    let (tell, told) = mpsc::channel();
    handle.when_room(move || tell.send(()).unwrap());
    assert!(told.try_recv().is_err());
    drop(gate);
    told.recv_timeout(LIMIT).unwrap();
    handle.submit(refused).unwrap();
    engine.close().unwrap();
    let (tell, told) = mpsc::channel();
    handle.when_room(move || tell.send(()).unwrap());
    told.try_recv().unwrap();
}

#[test]
fn submission_that_goes_unanswered_is_told_that_the_engine_is_closed() {
    let engine = Engine::start(memory(), EngineOptions::default()).unwrap();
    let handle = engine.handle();
    engine.close().unwrap();
    let (answer, answers) = mpsc::channel();
    let submission = Submission::new(Source::SERVER, vec![of("a")], move |result| {
        answer.send(result.unwrap_err().is_closed()).unwrap();
    });
    let Err(SubmitError::Closed(refused)) = handle.submit(submission) else {
        panic!("a closed engine takes nothing");
    };
    drop(refused);
    assert!(answers.recv_timeout(LIMIT).unwrap());
}

#[test]
fn panic_of_a_reply_costs_nobody_anything() {
    let engine = Engine::start(memory(), EngineOptions::default()).unwrap();
    let submission = Submission::new(Source::SERVER, vec![of("a")], |_| panic!("on purpose"));
    engine.handle().submit(submission).unwrap();
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(3, 1)]);
}

#[test]
fn clock_that_goes_back_is_told_and_time_does_not() {
    let backend = memory();
    let readings = [100, 101, 41, 43, 200];
    let mut next = readings.into_iter();
    let options =
        EngineOptions::default().clock(move || Timestamp::new(next.next().unwrap_or(201), 0));
    let engine = Engine::start(backend.clone(), options).unwrap();
    for _ in 0..4 {
        engine.register(Source::SERVER, vec![of("a")]).unwrap();
    }
    engine.close().unwrap();
    let told = history(&*backend, 1);
    let times: Vec<_> = told
        .iter()
        .map(|event| (shown(event), event.timestamp.s()))
        .collect();
    let expected = [
        ("1.1 event/1/engine \"STARTED\"", 100),
        ("2.1 a", 101),
        ("3.1 event/1/clock {\"step\": -60.0}", 101),
        ("4.1 a", 101),
        ("5.1 a", 102),
        ("6.1 a", 200),
        ("7.1 event/1/engine \"STOPPED\"", 201),
    ];
    assert_eq!(times, expected.map(|(text, time)| (text.to_owned(), time)));
}

#[test]
fn clock_that_went_back_between_two_runs_is_told() {
    let backend = memory();
    for now in [100, 40] {
        let options = EngineOptions::default().clock(move || Timestamp::new(now, 0));
        let engine = Engine::start(backend.clone(), options).unwrap();
        engine.close().unwrap();
    }
    let told = history(&*backend, 1);
    assert_eq!(shown(&told[2]), "3.1 event/1/clock {\"step\": -60.0}");
    assert!(told.iter().all(|event| event.timestamp.s() >= 100));
}

#[test]
fn backend_that_fails_costs_its_caller_and_nobody_else() {
    let backend = Arc::new(Frail::default());
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    backend.broken.store(true, Ordering::SeqCst);
    let error = engine.register(Source::SERVER, vec![of("a")]).unwrap_err();
    assert!(error.is_full());
    backend.broken.store(false, Ordering::SeqCst);
    let events = engine.register(Source::SERVER, vec![of("b")]).unwrap();
    assert_eq!(ids(&events), [(3, 1)], "the number is not used again");
    assert_eq!(engine.stats().failed, 1);
    engine.close().unwrap();
}

#[test]
fn no_id_comes_twice_after_a_crash_that_lost_all_events() {
    let backend = Arc::new(Frail::default());
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    let reserved = backend.reserved.load(Ordering::SeqCst);
    assert!(events[0].id.session <= reserved, "reserved ahead");
    // What a crash leaves: the reservation, which was durable, and no event.
    let after = memory();
    after.reserve_sessions(1, reserved).unwrap();
    let second = Engine::start(after, EngineOptions::default()).unwrap();
    let events = second.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(reserved + 2, 1)]);
    drop(engine);
    let given_back = backend.reserved.load(Ordering::SeqCst);
    assert_eq!(given_back, 3, "STARTED, a, STOPPED");
}

#[test]
fn sessions_go_on_while_none_can_be_reserved_until_none_is_left() {
    let backend = Arc::new(Frail::default());
    let engine = Engine::start(backend.clone(), EngineOptions::default()).unwrap();
    let reserved = backend.reserved.load(Ordering::SeqCst);
    backend.cannot_reserve.store(true, Ordering::SeqCst);
    let mut session = 1;
    while session < reserved {
        let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
        session = events[0].id.session;
    }
    let error = engine.register(Source::SERVER, vec![of("a")]).unwrap_err();
    assert!(error.is_full());
    backend.cannot_reserve.store(false, Ordering::SeqCst);
    let events = engine.register(Source::SERVER, vec![of("a")]).unwrap();
    assert_eq!(ids(&events), [(reserved + 1, 1)]);
}

/// Longer than any of these takes on the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers events of one type by a function.
struct Answering<F> {
    event_type: &'static str,
    answer: F,
}

impl<F: FnMut(&Event) -> Vec<RegisterEvent>> Answering<F> {
    fn to(event_type: &'static str, answer: F) -> Self {
        Self { event_type, answer }
    }
}

impl<F: FnMut(&Event) -> Vec<RegisterEvent>> Module for Answering<F> {
    fn subscription(&self) -> Subscription {
        Subscription::new([self.event_type.into()]).unwrap()
    }

    fn process(&mut self, _source: Source, event: &Event) -> Vec<RegisterEvent> {
        (self.answer)(event)
    }
}

/// Registers on a thread of its own until it is refused, and waits for that thread when it goes.
struct WithThread(Option<thread::JoinHandle<()>>);

impl WithThread {
    fn new(
        engine: EngineHandle,
        source: Source,
        results: Sender<Result<Vec<Arc<Event>>, StoreError>>,
    ) -> Self {
        Self(Some(thread::spawn(move || {
            loop {
                let result = engine.register(source, vec![of("a")]);
                let is_over = result.is_err();
                results.send(result).unwrap();
                if is_over {
                    return;
                }
            }
        })))
    }
}

impl Module for WithThread {
    fn subscription(&self) -> Subscription {
        Subscription::none()
    }

    fn process(&mut self, _source: Source, _event: &Event) -> Vec<RegisterEvent> {
        vec![]
    }
}

impl Drop for WithThread {
    fn drop(&mut self) {
        self.0.take().unwrap().join().unwrap();
    }
}

/// Where a module tells that it was entered, and waits until the gate opens for good.
struct Gate {
    entered: Receiver<()>,
    open: Sender<()>,
}

fn gated() -> (impl Module + Send + 'static, Gate) {
    let (entering, entered) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let module = Answering::to("a", move |_: &Event| {
        // The test may have seen enough.
        let _ = entering.send(());
        let _ = opened.recv();
        vec![]
    });
    (module, Gate { entered, open })
}

/// A backend whose disk may be full.
#[derive(Debug)]
struct Frail {
    inner: MemoryBackend,
    broken: AtomicBool,
    cannot_reserve: AtomicBool,
    reserved: AtomicI64,
}

impl Default for Frail {
    fn default() -> Self {
        Self {
            inner: MemoryBackend::new(Callbacks::default()),
            broken: AtomicBool::new(false),
            cannot_reserve: AtomicBool::new(false),
            reserved: AtomicI64::new(0),
        }
    }
}

impl Frail {
    fn full() -> StoreError {
        StoreError::Io {
            action: "writing",
            path: "store".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        }
    }
}

impl Backend for Frail {
    fn last_event_id(&self, server: i64) -> Result<EventId, StoreError> {
        self.inner.last_event_id(server)
    }

    fn last_timestamp(&self, server: i64) -> Result<Option<Timestamp>, StoreError> {
        self.inner.last_timestamp(server)
    }

    fn register(&self, events: Events) -> Result<Events, StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Self::full());
        }
        self.inner.register(events)
    }

    fn visit(
        &self,
        params: &QueryParams,
        visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        self.inner.visit(params, visit)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }

    fn reserve_sessions(&self, server: i64, last: i64) -> Result<(), StoreError> {
        if self.cannot_reserve.load(Ordering::SeqCst) {
            return Err(Self::full());
        }
        self.reserved.store(last, Ordering::SeqCst);
        self.inner.reserve_sessions(server, last)
    }

    fn session_floor(&self, server: i64) -> Result<i64, StoreError> {
        self.inner.session_floor(server)
    }
}

fn memory() -> Arc<MemoryBackend> {
    Arc::new(MemoryBackend::new(Callbacks::default()))
}

fn of(event_type: &str) -> RegisterEvent {
    RegisterEvent::new(event_type.into())
}

/// Everything of a server, by id.
fn history(backend: &dyn Backend, server: i64) -> Vec<Arc<Event>> {
    let params = QueryServerParams::new(server);
    backend.query(&params.into()).unwrap().events
}

/// The session, the instance, the type and the JSON of an event.
fn shown(event: &Event) -> String {
    let json = event.payload.as_ref().and_then(|payload| payload.as_json());
    let json = json.map_or_else(String::new, |json| format!(" {}", json.normalised()));
    let EventId {
        session, instance, ..
    } = event.id;
    format!("{session}.{instance} {}{json}", event.event_type)
}

fn ids(events: &[Arc<Event>]) -> Vec<(i64, i64)> {
    let id = |event: &Arc<Event>| (event.id.session, event.id.instance);
    events.iter().map(id).collect()
}
