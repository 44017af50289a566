use super::*;
use crate::event::QueryServerParams;
use proptest::prelude::*;

/// What a server has, in the order in which it was registered; answers in pages of three.
#[derive(Default)]
struct History(Vec<Arc<Event>>);

impl History {
    fn add(&mut self, server: i64, session: i64, instance: i64, second: i64) -> Arc<Event> {
        let id = EventId::new(server, session, instance);
        let server = server.to_string();
        let event_type = if session == 1 {
            EventType::new(["event", server.as_str(), "engine"])
        } else {
            EventType::new(["a", server.as_str()])
        };
        let event = Arc::new(Event::new(id, event_type, Timestamp::new(second, 0)));
        self.0.push(Arc::clone(&event));
        event
    }

    fn answer(&self, question: &QueryParams) -> QueryResult {
        match question {
            QueryParams::Latest(_) => {
                let engine = |event: &&Arc<Event>| event.event_type.segments().len() == 3;
                QueryResult::new(self.0.iter().filter(engine).cloned().collect(), false)
            }
            QueryParams::Timeseries(_) => {
                let newest = self
                    .0
                    .iter()
                    .max_by_key(|event| (event.timestamp, event.id));
                QueryResult::new(newest.cloned().into_iter().collect(), self.0.len() > 1)
            }
            QueryParams::Server(params) => self.page(params),
        }
    }

    fn page(&self, params: &QueryServerParams) -> QueryResult {
        let after = params.last_event_id.expect("it is always given");
        assert_eq!(after.server, params.server_id);
        let mut events: Vec<_> = self
            .0
            .iter()
            .filter(|event| event.id.server == params.server_id && event.id > after)
            .cloned()
            .collect();
        events.sort_by_key(|event| event.id);
        let limit = params.max_results.map_or(3, |most| most.min(3) as usize);
        let more_follows = events.len() > limit;
        events.truncate(limit);
        QueryResult::new(events, more_follows)
    }
}

fn options() -> ClientOptions {
    ClientOptions::default().subscription(Subscription::all())
}

/// Runs the questions of a new connection; gives what was told and how often it asked.
fn connect(resume: &mut Resume, history: &History) -> (Vec<Notice>, usize) {
    let (mut told, mut asked) = (Vec::new(), 0);
    let mut question = resume.connected(&mut told);
    while let Some(params) = question {
        asked += 1;
        assert!(asked < 1000, "it asks for ever");
        question = resume.answered(history.answer(&params), &mut told);
    }
    assert!(resume.is_live());
    (told, asked)
}

fn events(notices: &[Notice]) -> Vec<Arc<Event>> {
    let events = notices.iter().filter_map(|notice| match notice {
        Notice::Events(events) => Some(events),
        _ => None,
    });
    events.flatten().cloned().collect()
}

fn ids(notices: &[Notice]) -> Vec<EventId> {
    events(notices).iter().map(|event| event.id).collect()
}

fn live(resume: &mut Resume, event: Arc<Event>) -> Vec<Notice> {
    resume.live(vec![event], 100).into_iter().collect()
}

#[test]
fn end_of_a_long_history_is_found_with_few_questions() {
    for sessions in [1, 2, 3, 100, 1023, 20_000] {
        let mut history = History::default();
        for session in 1..=sessions {
            history.add(1, session, 1, session);
            history.add(1, session, 2, session);
        }
        let mut resume = Resume::new(&options().persisted(true));
        let (told, asked) = connect(&mut resume, &history);
        assert!(told.is_empty());
        assert!(asked < 40, "{asked} questions for {sessions} sessions");
        let end = EventId::new(1, sessions, 2);
        assert_eq!(resume.positions[&1].id, end);
    }
}

#[test]
fn missed_events_come_before_what_was_held_and_none_twice() {
    let mut history = History::default();
    for session in 1..=5 {
        history.add(1, session, 1, session);
    }
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    let seen = history.add(1, 6, 1, 6);
    assert_eq!(live(&mut resume, seen).len(), 1);

    for session in 7..=15 {
        history.add(1, session, 1, session);
    }
    let mut told = Vec::new();
    let mut question = resume.connected(&mut told);
    // One that the history has as well when it is asked, and one that it has not yet.
    let double = Arc::clone(history.0.last().unwrap());
    assert!(live(&mut resume, double).is_empty());
    let event = EventId::new(1, 16, 1);
    let event = Event::new(event, EventType::from("a"), Timestamp::new(16, 0));
    assert!(live(&mut resume, Arc::new(event)).is_empty());
    while let Some(params) = question {
        question = resume.answered(history.answer(&params), &mut told);
    }
    let sessions: Vec<_> = ids(&told).iter().map(|id| id.session).collect();
    assert_eq!(sessions, (7..=16).collect::<Vec<_>>());
    let at = told.len() - 2;
    assert_eq!(told[at], Notice::Resumed { missed: 9 });
    // The notification of what the history had may be later than its answer.
    let late = Arc::clone(history.0.last().unwrap());
    assert!(live(&mut resume, late).is_empty());
}

#[test]
fn what_is_not_subscribed_is_not_told_from_history() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let wanted = Subscription::new([EventType::from("a/2")]).unwrap();
    let mut resume = Resume::new(&ClientOptions::default().subscription(wanted));
    connect(&mut resume, &history);
    history.add(1, 2, 1, 2);
    history.add(2, 2, 1, 3);
    let (told, _) = connect(&mut resume, &history);
    assert_eq!(ids(&told), [EventId::new(2, 2, 1)]);
}

/// Runs a look-up of the ends; gives how often it asked.
fn look_up(resume: &mut Resume, history: &History) -> usize {
    let (mut told, mut asked) = (Vec::new(), 0);
    let mut question = resume.look_up_ends();
    while let Some(params) = question {
        asked += 1;
        assert!(asked < 1000, "it asks for ever");
        question = resume.answered(history.answer(&params), &mut told);
    }
    assert!(told.is_empty() && resume.is_live());
    asked
}

#[test]
fn subscriber_of_few_events_need_not_read_on_from_long_ago() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let wanted = Subscription::new([EventType::from("a/2")]).unwrap();
    let mut resume = Resume::new(&ClientOptions::default().subscription(wanted));
    connect(&mut resume, &history);
    for session in 2..=2000 {
        history.add(1, session, 1, session);
    }
    assert!(look_up(&mut resume, &history) < 40);
    // What was before the end that was found may be on its way yet.
    assert!(connect(&mut resume, &history).1 > 600);

    for session in 2001..=4000 {
        history.add(1, session, 1, session);
    }
    look_up(&mut resume, &history);
    history.add(1, 4001, 1, 4001);
    look_up(&mut resume, &history);
    let missed = history.add(2, 7, 1, 4002);
    let (told, asked) = connect(&mut resume, &history);
    assert!(asked < 20, "{asked} questions");
    assert_eq!(ids(&told), [missed.id]);
}

#[test]
fn subscriber_of_all_events_looks_nothing_up() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    assert!(resume.look_up_ends().is_none());
}

#[test]
fn one_server_is_asked_about_where_only_that_is_wanted() {
    let mut history = History::default();
    let mut resume = Resume::new(&options().server_id(2));
    connect(&mut resume, &history);
    history.add(1, 1, 1, 1);
    history.add(2, 1, 1, 2);
    let (told, _) = connect(&mut resume, &history);
    assert_eq!(ids(&told), [EventId::new(2, 1, 1)]);
}

#[test]
fn server_that_came_meanwhile_is_told_and_an_old_one_is_not() {
    let mut history = History::default();
    // Not found at first: it has no engine, and is not the newest.
    for session in 2..=9 {
        history.add(7, session, 1, session);
    }
    history.add(1, 1, 1, 10);
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    history.add(2, 1, 1, 11);
    history.add(7, 10, 1, 12);
    let (told, _) = connect(&mut resume, &history);
    assert_eq!(ids(&told), [EventId::new(2, 1, 1), EventId::new(7, 10, 1)]);
    assert!(ids(&connect(&mut resume, &history).0).is_empty());
}

#[test]
fn history_that_begins_later_is_said_to_be_cut() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    history.0.clear();
    history.add(1, 5, 1, 5);
    let (told, _) = connect(&mut resume, &history);
    let (after, first) = (EventId::new(1, 1, 1), EventId::new(1, 5, 1));
    assert_eq!(
        told[0],
        Notice::CutShort {
            after,
            first: Some(first)
        }
    );
    assert_eq!(ids(&told), [first]);
    history.0.clear();
    let (told, _) = connect(&mut resume, &history);
    let cut = Notice::CutShort {
        after: first,
        first: None,
    };
    assert_eq!(told, [cut, Notice::Resumed { missed: 0 }]);
}

#[test]
fn event_that_the_server_does_not_keep_is_no_fault() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    let event = history.add(1, 4, 1, 4);
    history.0.pop();
    live(&mut resume, event);
    history.add(1, 5, 1, 5);
    let (told, _) = connect(&mut resume, &history);
    assert_eq!(ids(&told), [EventId::new(1, 5, 1)]);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn identities_that_are_given_again_are_told_and_their_events_come() {
    let mut history = History::default();
    for session in 1..=40 {
        history.add(1, session, 1, session);
    }
    let mut resume = Resume::new(&options());
    connect(&mut resume, &history);
    let after = EventId::new(1, 40, 1);
    // The last ones are lost, and given again later.
    history.0.truncate(30);
    for session in 31..=45 {
        history.add(1, session, 1, 100 + session);
    }
    let (told, _) = connect(&mut resume, &history);
    let first = EventId::new(1, 31, 1);
    assert_eq!(told[0], Notice::WentBack { after, first });
    let sessions: Vec<_> = ids(&told).iter().map(|id| id.session).collect();
    assert_eq!(sessions, (31..=45).collect::<Vec<_>>());
    assert!(ids(&connect(&mut resume, &history).0).is_empty());

    // Shorter than before, and nothing new yet: what comes live is told all the same.
    history.0.truncate(20);
    assert!(ids(&connect(&mut resume, &history).0).is_empty());
    let again = history.add(1, 21, 1, 300);
    assert_eq!(ids(&live(&mut resume, again)), [EventId::new(1, 21, 1)]);
}

#[test]
fn what_finds_no_room_while_history_is_read_comes_from_history() {
    let mut history = History::default();
    history.add(1, 1, 1, 1);
    let mut resume = Resume::new(&options().hold_bytes(350));
    connect(&mut resume, &history);
    history.add(1, 2, 1, 2);
    let mut told = Vec::new();
    let mut question = resume.connected(&mut told);
    for session in 3..=12 {
        let event = history.add(1, session, 1, session);
        assert!(live(&mut resume, event).is_empty());
        if session % 3 == 0
            && let Some(params) = question.take()
        {
            question = resume.answered(history.answer(&params), &mut told);
        }
    }
    while let Some(params) = question {
        question = resume.answered(history.answer(&params), &mut told);
    }
    let sessions: Vec<_> = ids(&told).iter().map(|id| id.session).collect();
    assert_eq!(sessions, (2..=12).collect::<Vec<_>>());
}

#[test]
fn without_resuming_nothing_is_asked_or_left_out() {
    let mut resume = Resume::new(&options().resume(false));
    assert!(resume.connected(&mut Vec::new()).is_none());
    let mut history = History::default();
    let event = history.add(1, 1, 1, 1);
    assert_eq!(live(&mut resume, Arc::clone(&event)).len(), 1);
    assert_eq!(live(&mut resume, event).len(), 1);
}

/// What happens to a subscriber of two servers.
#[derive(Debug, Clone)]
enum Step {
    Register(i64),
    /// The server restarts without its last events, and gives their identities again.
    Forget(usize),
    /// The connection is cut after so many answers of the next one.
    Cut(usize),
    Connect,
    /// The ends of the histories are looked up, while so many events are registered in between.
    LookUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..=2i64).prop_map(Step::Register),
        1 => (0..4usize).prop_map(Step::Forget),
        2 => (0..6usize).prop_map(Step::Cut),
        2 => Just(Step::Connect),
        2 => (0..3usize).prop_map(Step::LookUp),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn every_event_comes_once_and_in_order_however_the_connection_breaks(steps in steps()) {
        let mut history = History::default();
        history.add(1, 1, 1, 0);
        history.add(2, 1, 1, 1);
        // Not all, so that ends are looked up.
        let wanted = ["a/*", "event/?/engine"].map(EventType::from);
        let wanted = Subscription::new(wanted).unwrap();
        let mut resume = Resume::new(&ClientOptions::default().subscription(wanted));
        connect(&mut resume, &history);
        let mut expected: Vec<Arc<Event>> = Vec::new();
        let mut told = Vec::new();
        let mut connected = true;
        for (at, step) in steps.into_iter().chain([Step::Connect]).enumerate() {
            let second = at as i64 + 10;
            match step {
                Step::Register(server) => {
                    let of_server = history.0.iter().filter(|event| event.id.server == server);
                    let last = of_server.map(|event| event.id.session).max().unwrap_or(0);
                    let event = history.add(server, last + 1, 1, second);
                    expected.push(Arc::clone(&event));
                    if connected {
                        told.extend(resume.live(vec![event], 100));
                    }
                }
                Step::Forget(count) => {
                    connected = false;
                    let lost = history.0.split_off(history.0.len().saturating_sub(count).max(2));
                    // What is lost unseen is nobody's to tell.
                    let seen = events(&told);
                    expected.retain(|event| !lost.contains(event) || seen.contains(event));
                }
                Step::Cut(answers) => {
                    connected = false;
                    let mut question = resume.connected(&mut told);
                    for _ in 0..answers {
                        let Some(params) = question.take() else {
                            break;
                        };
                        question = resume.answered(history.answer(&params), &mut told);
                    }
                }
                Step::LookUp(registered) => {
                    if !connected {
                        continue;
                    }
                    let mut question = resume.look_up_ends();
                    // Each is seen by the question before it is told.
                    let mut late = Vec::new();
                    for _ in 0..registered {
                        let last = history.0.iter().filter(|event| event.id.server == 1);
                        let last = last.map(|event| event.id.session).max().unwrap_or(0);
                        let event = history.add(1, last + 1, 1, second);
                        expected.push(Arc::clone(&event));
                        late.push(event);
                        if let Some(params) = question.take() {
                            question = resume.answered(history.answer(&params), &mut told);
                        }
                    }
                    while let Some(params) = question {
                        question = resume.answered(history.answer(&params), &mut told);
                    }
                    if at % 2 == 0 {
                        late.into_iter().for_each(|event| told.extend(live(&mut resume, event)));
                    } else {
                        // The connection breaks before they are told.
                        connected = false;
                    }
                }
                Step::Connect => {
                    told.extend(connect(&mut resume, &history).0);
                    connected = true;
                }
            }
        }
        let told = events(&told);
        for server in [1, 2] {
            let of_server = |events: &[Arc<Event>]| -> Vec<_> {
                let events = events.iter().filter(|event| event.id.server == server);
                events.map(|event| (event.id, event.timestamp)).collect()
            };
            prop_assert_eq!(of_server(&told), of_server(&expected));
        }
    }
}
