//! Answers of any length, page by page.

use std::mem;
use std::sync::Arc;
use std::vec;

use crate::event::{Event, Order, OrderBy, QueryParams, QueryResult, QueryTimeseriesParams};
use crate::eventer::EventerError;

use super::link::Shared;
use super::query;

/// The events of an answer, however many, as [`EventerClient::pages`](super::EventerClient::pages) gives them.
///
/// Taking one blocks while the next page comes, and as long as [`EventerClient::query`](super::EventerClient::query). An error
/// ends it. It does not keep the client open.
#[derive(Debug)]
pub struct Pages {
    shared: Arc<Shared>,
    asker: Asker,
    page: vec::IntoIter<Arc<Event>>,
}

impl Pages {
    pub(super) fn new(shared: Arc<Shared>, params: QueryParams) -> Self {
        Self {
            shared,
            asker: Asker::new(params),
            page: Vec::new().into_iter(),
        }
    }
}

impl Iterator for Pages {
    type Item = Result<Arc<Event>, EventerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.page.next() {
                return Some(Ok(event));
            }
            let question = self.asker.question()?;
            match query(&self.shared, question) {
                Ok(result) => self.page = self.asker.answered(result).into_iter(),
                Err(error) => {
                    self.asker.end();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Which page is asked for next. Pure.
#[derive(Debug)]
struct Asker {
    /// `None` at the end.
    next: Option<QueryParams>,
    /// How many events are wanted yet; all if nothing is said.
    left: Option<i64>,
    /// The last event of the page before, where the question is one for what is behind it.
    last: Option<Arc<Event>>,
    /// The question names no last event, and its answer may begin with what has come.
    is_overlapping: bool,
}

impl Asker {
    fn new(params: QueryParams) -> Self {
        let left = match &params {
            QueryParams::Latest(_) => None,
            QueryParams::Timeseries(params) => params.max_results,
            QueryParams::Server(params) => params.max_results,
        };
        Self {
            next: Some(params),
            left,
            last: None,
            is_overlapping: false,
        }
    }

    fn question(&self) -> Option<&QueryParams> {
        self.next.as_ref()
    }

    fn end(&mut self) {
        self.next = None;
    }

    fn answered(&mut self, result: QueryResult) -> Vec<Arc<Event>> {
        let QueryResult {
            mut events,
            more_follows,
        } = result;
        if events.is_empty() && self.asks_anew() {
            return events;
        }
        if mem::take(&mut self.is_overlapping)
            && let (Some(QueryParams::Timeseries(params)), Some(last)) = (&self.next, &self.last)
        {
            events.retain(|event| is_behind(params, last, event));
        }
        if let Some(left) = &mut self.left {
            let wanted = usize::try_from(*left).unwrap_or(0);
            events.truncate(wanted);
            *left -= i64::try_from(events.len()).unwrap_or(*left);
        }
        let enough = self.left.is_some_and(|left| left <= 0);
        match (self.next.take(), events.last()) {
            (Some(params), Some(last)) if more_follows && !enough => {
                self.next = after(params, last, self.left);
                self.last = Some(Arc::clone(last));
            }
            _ => {}
        }
        events
    }

    /// More was to follow, and nothing did: the last event was removed meanwhile, behind which nothing is found then. Asks for
    /// what is behind its time, once.
    fn asks_anew(&mut self) -> bool {
        let Some(QueryParams::Timeseries(params)) = &mut self.next else {
            return false;
        };
        if self.last.is_none() || params.last_event_id.take().is_none() {
            return false;
        }
        self.is_overlapping = true;
        true
    }
}

/// Whether an event comes behind another one in the answer to a question.
fn is_behind(params: &QueryTimeseriesParams, last: &Event, event: &Event) -> bool {
    let place = |event: &Event| match params.order_by {
        OrderBy::Timestamp => (Some(event.timestamp), event.id),
        OrderBy::SourceTimestamp => (event.source_timestamp, event.id),
    };
    match params.order {
        Order::Ascending => place(event) > place(last),
        Order::Descending => place(event) < place(last),
    }
}

/// The question for what comes behind an event.
fn after(params: QueryParams, last: &Event, left: Option<i64>) -> Option<QueryParams> {
    match params {
        QueryParams::Latest(_) => None,
        QueryParams::Server(mut params) => {
            params.max_results = left;
            params.last_event_id = Some(last.id);
            Some(params.into())
        }
        QueryParams::Timeseries(mut params) => {
            params.max_results = left;
            params.last_event_id = Some(last.id);
            // The server looks for the last event from the nearer bound on, which is far away for a late page.
            let near = match (params.order_by, params.order) {
                (OrderBy::Timestamp, Order::Ascending) => &mut params.t_from,
                (OrderBy::Timestamp, Order::Descending) => &mut params.t_to,
                (OrderBy::SourceTimestamp, Order::Ascending) => &mut params.source_t_from,
                (OrderBy::SourceTimestamp, Order::Descending) => &mut params.source_t_to,
            };
            *near = match params.order_by {
                OrderBy::Timestamp => Some(last.timestamp),
                OrderBy::SourceTimestamp => last.source_timestamp,
            };
            Some(params.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, QueryLatestParams, QueryServerParams, Timestamp};
    use crate::store::{Backend, Callbacks, MemoryBackend};
    use proptest::prelude::*;

    fn event(session: i64, second: i64, source: i64) -> Arc<Event> {
        let id = EventId::new(1, session, 1);
        let event = Event::new(id, EventType::from("a"), Timestamp::new(second, 0));
        Arc::new(event.with_source_timestamp(Timestamp::new(source, 0)))
    }

    /// Asks in pages of three.
    fn paged(store: &MemoryBackend, params: QueryParams) -> Vec<EventId> {
        let mut asker = Asker::new(params);
        let mut events = Vec::new();
        while let Some(question) = asker.question() {
            let mut question = question.clone();
            if let QueryParams::Timeseries(params) = &mut question {
                params.max_results = Some(params.max_results.map_or(3, |most| most.min(3)));
            }
            if let QueryParams::Server(params) = &mut question {
                params.max_results = Some(params.max_results.map_or(3, |most| most.min(3)));
            }
            let answer = store.query(&question).unwrap();
            events.extend(asker.answered(answer));
        }
        events.iter().map(|event| event.id).collect()
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole_answer(
            steps in proptest::collection::vec((0..2i64, 0..5i64), 0..30),
            descending: bool,
            by_source: bool,
            most in proptest::option::of(0..40i64),
        ) {
            let store = MemoryBackend::new(Callbacks::default());
            let mut second = 0;
            for (at, (step, source)) in steps.iter().enumerate() {
                second += step;
                let event = event(at as i64 + 1, second, *source);
                store.register(vec![event].into()).unwrap();
            }
            let order = if descending { Order::Descending } else { Order::Ascending };
            let order_by = if by_source { OrderBy::SourceTimestamp } else { OrderBy::Timestamp };
            let mut params = QueryTimeseriesParams::default().order(order).order_by(order_by);
            params.max_results = most;
            let mut server = QueryServerParams::new(1);
            server.max_results = most;
            for params in [QueryParams::from(params), server.into()] {
                let whole = store.query(&params).unwrap().events;
                let whole: Vec<_> = whole.iter().map(|event| event.id).collect();
                prop_assert_eq!(paged(&store, params), whole);
            }
        }
    }

    #[test]
    fn pages_go_on_where_the_last_event_was_removed_meanwhile() {
        let mut asker = Asker::new(
            QueryTimeseriesParams::default()
                .order(Order::Ascending)
                .into(),
        );
        let all: Vec<_> = (1..=5)
            .map(|session| event(session, session / 2, 0))
            .collect();
        assert_eq!(
            asker
                .answered(QueryResult::new(all[..3].to_vec(), true))
                .len(),
            3
        );
        // It has the third event as its last one, which is not there any more.
        assert!(asker.answered(QueryResult::default()).is_empty());
        let Some(QueryParams::Timeseries(question)) = asker.question() else {
            panic!("it asks no more");
        };
        assert_eq!(question.last_event_id, None);
        assert_eq!(question.t_from, Some(all[2].timestamp));
        // The second has the same time and has come already.
        let rest = asker.answered(QueryResult::new(all[1..].to_vec(), false));
        assert_eq!(rest, all[3..]);
        assert!(asker.question().is_none());
        // An answer that is really empty is the end.
        let mut asker = Asker::new(QueryTimeseriesParams::default().into());
        asker.answered(QueryResult::default());
        assert!(asker.question().is_none());
        let mut asker = Asker::new(QueryTimeseriesParams::default().into());
        asker.answered(QueryResult::new(all[..1].to_vec(), true));
        asker.answered(QueryResult::default());
        asker.answered(QueryResult::default());
        assert!(asker.question().is_none());
    }

    #[test]
    fn latest_events_are_one_page() {
        let mut asker = Asker::new(QueryLatestParams::default().into());
        asker.answered(QueryResult::new(vec![event(1, 1, 1)], true));
        assert!(asker.question().is_none());
    }
}
