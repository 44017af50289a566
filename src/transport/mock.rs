//! A transport that goes nowhere: for tests and for trying things out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::transport::Transport;
use crate::transport::error::TransportError;
use crate::transport::result::{BatchSendResult, SendResult};
use crate::udm::UdmEvent;

/// Records what it was given, and fails as it is told to; clones are one transport.
///
/// A test keeps a clone, drives the behaviour and reads what arrived, while another thread sends; every method may be called at
/// any time. The behaviours are asked in this order: connection, hold and delay, [`fail_all`](Self::fail_all),
/// [`fail_next`](Self::fail_next), [`fail_when`](Self::fail_when); the first that fails an event counts.
///
/// It keeps the latest 100,000 events, or as many as [`keep`](Self::keep) says, and counts all.
///
/// ```
/// use acqbus::transport::{MockTransport, Transport, TransportError};
/// use acqbus::udm::{EventType, SourceType, UdmEvent};
///
/// let poison = UdmEvent::builder(EventType::Error, "rig-7", SourceType::Custom).event_id("poison").build()?;
/// let good = UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom).event_id("good").build()?;
///
/// let mock = MockTransport::new();
/// mock.fail_when(|event| (event.event_id() == "poison").then(|| TransportError::refused("poison")));
/// let batch = mock.clone().send_batch(&[poison, good.clone()]);
/// assert_eq!((batch.successful_events(), batch.failed_events()), (1, 1));
/// assert_eq!(mock.sent_events(), [good]);
/// # Ok::<(), acqbus::udm::UdmError>(())
/// ```
#[derive(Clone, Default)]
pub struct MockTransport {
    shared: Arc<Shared>,
}

impl MockTransport {
    /// A transport that takes everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails every event with this error from now on; `None` ends it.
    pub fn fail_all(&self, error: impl Into<Option<TransportError>>) {
        self.shared.state.lock().fail_all = error.into();
    }

    /// Fails the next `count` events with this error; replaces what is left of an earlier one.
    pub fn fail_next(&self, count: usize, error: TransportError) {
        self.shared.state.lock().fail_next = Some((count, error));
    }

    /// Fails the events for which `error` gives one; replaces an earlier one. It must not call the transport.
    pub fn fail_when(&self, error: impl Fn(&UdmEvent) -> Option<TransportError> + Send + 'static) {
        self.shared.state.lock().fail_when = Some(Box::new(error));
    }

    /// Lets every request take this long; zero by default.
    pub fn delay(&self, time: Duration) {
        self.shared.state.lock().delay = time;
        self.shared.changed.notify_all();
    }

    /// Holds every request until [`release`](Self::release) or a drop of the connection: a server that hangs.
    pub fn hold(&self) {
        self.shared.state.lock().is_held = true;
    }

    /// Lets requests go on.
    pub fn release(&self) {
        self.shared.state.lock().is_held = false;
        self.shared.changed.notify_all();
    }

    /// Refuses connections with this error from now on, and drops the one there is; `None` ends it.
    pub fn refuse_connections(&self, error: impl Into<Option<TransportError>>) {
        let mut state = self.shared.state.lock();
        state.refuse = error.into();
        if state.refuse.is_some() {
            state.drop_connection();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Drops the connection: a request on its way fails, and the next one connects anew.
    pub fn drop_connection(&self) {
        self.shared.state.lock().drop_connection();
        self.shared.changed.notify_all();
    }

    /// Takes the next `count` events and drops the connection in place of the answer: they arrived, and the sender does not know.
    pub fn lose_answers(&self, count: usize) {
        self.shared.state.lock().lose_answers = count;
    }

    /// Takes everything again, at once and without delay; what arrived and the counters stay.
    pub fn behave(&self) {
        let mut state = self.shared.state.lock();
        let kept = std::mem::take(&mut *state);
        *state = State {
            is_connected: kept.is_connected,
            connection: kept.connection,
            kept: kept.kept,
            keep: kept.keep,
            counts: kept.counts,
            ..State::default()
        };
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Keeps the latest `count` events only.
    pub fn keep(&self, count: usize) {
        let mut state = self.shared.state.lock();
        state.keep = count;
        state.shrink();
    }

    /// The events that arrived, oldest first; one that was sent twice is there twice.
    #[must_use]
    pub fn sent_events(&self) -> Vec<UdmEvent> {
        self.shared.state.lock().kept.iter().cloned().collect()
    }

    /// How many events arrived.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        self.shared.state.lock().counts.sent
    }

    /// How many events were to be sent, those that failed included.
    #[must_use]
    pub fn attempt_count(&self) -> usize {
        self.shared.state.lock().counts.attempts
    }

    /// How many requests there were; a batch is one.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.shared.state.lock().counts.requests
    }

    /// How many connections were made.
    #[must_use]
    pub fn connect_count(&self) -> usize {
        self.shared.state.lock().counts.connects
    }

    /// Blocks until `count` events arrived in all, for `patience` at most; tells whether they did.
    #[must_use]
    pub fn wait_for_sent(&self, count: usize, patience: Duration) -> bool {
        let is_missing = |state: &mut State| state.counts.sent < count;
        self.wait(is_missing, patience)
    }

    /// Blocks until `count` events were tried in all, for `patience` at most; tells whether they were.
    #[must_use]
    pub fn wait_for_attempts(&self, count: usize, patience: Duration) -> bool {
        let is_missing = |state: &mut State| state.counts.attempts < count;
        self.wait(is_missing, patience)
    }

    fn wait(&self, is_missing: impl FnMut(&mut State) -> bool, patience: Duration) -> bool {
        let mut state = self.shared.state.lock();
        let changed = &self.shared.changed;
        !changed
            .wait_while_for(&mut state, is_missing, patience)
            .timed_out()
    }

    /// One request with several events: what became of each.
    fn request(&self, events: &[UdmEvent]) -> Vec<Result<(), TransportError>> {
        let mut state = self.shared.state.lock();
        state.counts.requests += 1;
        state.counts.attempts += events.len();
        self.shared.changed.notify_all();
        if let Err(error) = state.connect() {
            return vec![Err(error); events.len()];
        }
        let connection = state.connection;
        let begin = Instant::now();
        while state.connection == connection {
            // Looked at anew, since a test may change it meanwhile.
            let left = state.delay.saturating_sub(begin.elapsed());
            if state.is_held {
                self.shared.changed.wait(&mut state);
            } else if !left.is_zero() {
                self.shared.changed.wait_for(&mut state, left);
            } else {
                break;
            }
        }
        if state.connection != connection {
            return vec![Err(broken()); events.len()];
        }
        let results = events.iter().map(|event| state.take(event)).collect();
        self.shared.changed.notify_all();
        results
    }
}

impl Transport for MockTransport {
    fn connect(&mut self) -> Result<(), TransportError> {
        self.shared.state.lock().connect()
    }

    fn disconnect(&mut self) {
        self.drop_connection();
    }

    fn is_connected(&self) -> bool {
        self.shared.state.lock().is_connected
    }

    fn send(&mut self, event: &UdmEvent) -> SendResult {
        let begin = Instant::now();
        let result = self.request(std::slice::from_ref(event)).pop();
        // There is a result for every event.
        result_of(event, result.unwrap_or(Ok(())), begin.elapsed())
    }

    fn send_batch(&mut self, events: &[UdmEvent]) -> BatchSendResult {
        let begin = Instant::now();
        let results = self.request(events);
        let time = begin.elapsed();
        let results = events.iter().zip(results);
        BatchSendResult::new(
            results
                .map(|(event, result)| result_of(event, result, time))
                .collect(),
        )
        .with_response_time(time)
    }

    fn health_check(&mut self) -> Result<(), TransportError> {
        let mut state = self.shared.state.lock();
        state.connect()?;
        state.fail_all.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for MockTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("MockTransport")
            .field("is_connected", &state.is_connected)
            .field("counts", &state.counts)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whenever a waiting request or a waiting test has to look again.
    changed: Condvar,
}

struct State {
    is_connected: bool,
    /// Another number after each drop.
    connection: u64,
    refuse: Option<TransportError>,
    is_held: bool,
    delay: Duration,
    fail_all: Option<TransportError>,
    fail_next: Option<(usize, TransportError)>,
    fail_when: Option<Predicate>,
    lose_answers: usize,
    kept: VecDeque<UdmEvent>,
    keep: usize,
    counts: Counts,
}

type Predicate = Box<dyn Fn(&UdmEvent) -> Option<TransportError> + Send>;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sent: usize,
    attempts: usize,
    requests: usize,
    connects: usize,
}

impl State {
    fn connect(&mut self) -> Result<(), TransportError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        if !self.is_connected {
            self.is_connected = true;
            self.counts.connects += 1;
        }
        Ok(())
    }

    const fn drop_connection(&mut self) {
        self.is_connected = false;
        self.connection += 1;
    }

    /// Takes an event, or fails it.
    fn take(&mut self, event: &UdmEvent) -> Result<(), TransportError> {
        if let Some(error) = &self.fail_all {
            return Err(error.clone());
        }
        if let Some((count, error)) = &mut self.fail_next
            && *count > 0
        {
            *count -= 1;
            return Err(error.clone());
        }
        if let Some(error) = self.fail_when.as_ref().and_then(|error| error(event)) {
            return Err(error);
        }
        self.counts.sent += 1;
        self.kept.push_back(event.clone());
        self.shrink();
        if self.lose_answers > 0 {
            self.lose_answers -= 1;
            self.drop_connection();
            return Err(broken());
        }
        Ok(())
    }

    fn shrink(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.keep);
        self.kept.drain(..surplus);
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            is_connected: false,
            connection: 0,
            refuse: None,
            is_held: false,
            delay: Duration::ZERO,
            fail_all: None,
            fail_next: None,
            fail_when: None,
            lose_answers: 0,
            kept: VecDeque::new(),
            keep: 100_000,
            counts: Counts::default(),
        }
    }
}

fn result_of(event: &UdmEvent, result: Result<(), TransportError>, time: Duration) -> SendResult {
    match result {
        Ok(()) => SendResult::ok(event.event_id(), Some(time), None),
        Err(error) => SendResult::fail(event.event_id(), error).with_response_time(time),
    }
}

fn broken() -> TransportError {
    TransportError::connection("mock:")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::transport::error::ErrorKind;
    use crate::udm::{EventType, SourceType};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn events(count: usize) -> Vec<UdmEvent> {
        let event = |index: usize| {
            UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom)
                .event_id(index.to_string())
                .build()
                .expect("it is valid")
        };
        (0..count).map(event).collect()
    }

    fn kinds(batch: &BatchSendResult) -> Vec<Option<ErrorKind>> {
        let results = batch.results().iter();
        results
            .map(|result| result.error().map(TransportError::kind))
            .collect()
    }

    fn ids(events: &[UdmEvent]) -> Vec<&str> {
        events.iter().map(UdmEvent::event_id).collect()
    }

    #[test]
    fn what_is_sent_is_recorded_in_its_order() {
        let mut mock = MockTransport::new();
        assert!(!mock.is_connected());
        let events = events(3);
        assert!(mock.send(&events[0]).is_success());
        assert!(mock.send_batch(&events[1..]).is_success());
        assert!(mock.is_connected());
        assert_eq!(mock.sent_events(), events);
        assert_eq!(
            (
                mock.attempt_count(),
                mock.request_count(),
                mock.connect_count()
            ),
            (3, 2, 1)
        );
        assert!(mock.send_batch(&[]).is_success());
    }

    #[test]
    fn failures_are_as_scripted_and_may_be_those_of_a_part_of_a_batch() {
        let mut mock = MockTransport::new();
        mock.fail_next(2, TransportError::server("500", None));
        let odd = |event: &UdmEvent| event.event_id() == "3";
        mock.fail_when(move |event| odd(event).then(|| TransportError::refused("odd")));
        let batch = mock.send_batch(&events(5));
        let (server, refused) = (Some(ErrorKind::Server), Some(ErrorKind::Refused));
        assert_eq!(kinds(&batch), [server, server, None, refused, None]);
        assert_eq!(ids(&mock.sent_events()), ["2", "4"]);

        mock.fail_all(TransportError::authentication("no"));
        assert_eq!(
            kinds(&mock.send_batch(&events(1))),
            [Some(ErrorKind::Authentication)]
        );
        assert!(mock.health_check().is_err());
        mock.behave();
        assert!(mock.health_check().is_ok());
        assert!(mock.send_batch(&events(5)).is_success());
        assert_eq!((mock.sent_count(), mock.attempt_count()), (7, 11));
    }

    #[test]
    fn a_refused_connection_fails_all_and_ends_when_it_is_told_to() {
        let mut mock = MockTransport::new();
        mock.connect().unwrap();
        mock.refuse_connections(TransportError::connection("mock:"));
        assert!(!mock.is_connected());
        assert!(mock.connect().is_err() && mock.health_check().is_err());
        assert_eq!(
            kinds(&mock.send_batch(&events(2))),
            [Some(ErrorKind::Connection); 2]
        );
        mock.refuse_connections(None);
        assert!(mock.send_batch(&events(2)).is_success());
        assert_eq!(mock.connect_count(), 2);
    }

    #[test]
    fn a_lost_answer_is_that_of_an_event_that_arrived() {
        let mut mock = MockTransport::new();
        mock.lose_answers(1);
        let events = events(1);
        assert!(mock.send(&events[0]).error().unwrap().is_retryable());
        assert!(mock.send(&events[0]).is_success());
        assert_eq!(ids(&mock.sent_events()), ["0", "0"]);
        assert_eq!(mock.connect_count(), 2);
    }

    #[test]
    fn a_held_request_goes_on_when_it_is_released_and_fails_when_the_connection_drops() {
        let mock = MockTransport::new();
        mock.hold();
        for is_dropped in [false, true] {
            let tried = mock.attempt_count();
            let mut other = mock.clone();
            let sender = thread::spawn(move || other.send(&events(1)[0]));
            assert!(mock.wait_for_attempts(tried + 1, PATIENCE));
            if is_dropped {
                mock.drop_connection();
            } else {
                mock.release();
            }
            assert_eq!(sender.join().unwrap().is_success(), !is_dropped);
            mock.hold();
        }
        assert_eq!(mock.sent_count(), 1);
    }

    #[test]
    fn a_delay_lasts_and_is_cut_when_it_is_changed() {
        let mut mock = MockTransport::new();
        let time = Duration::from_millis(20);
        mock.delay(time);
        let result = mock.send(&events(1)[0]);
        assert!(result.response_time().unwrap() >= time);

        mock.delay(Duration::from_secs(3_600));
        let mut other = mock.clone();
        let sender = thread::spawn(move || other.send(&events(1)[0]));
        assert!(mock.wait_for_attempts(2, PATIENCE));
        mock.delay(Duration::ZERO);
        assert!(sender.join().unwrap().is_success());
    }

    #[test]
    fn the_latest_events_are_kept_and_all_are_counted() {
        let mut mock = MockTransport::new();
        mock.keep(2);
        assert!(mock.send_batch(&events(5)).is_success());
        assert_eq!(ids(&mock.sent_events()), ["3", "4"]);
        assert_eq!(mock.sent_count(), 5);
        assert!(mock.wait_for_sent(5, Duration::ZERO));
        assert!(!mock.wait_for_sent(6, Duration::ZERO));
    }
}
