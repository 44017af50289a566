//! All events of a store, or those of a stretch of time, in the order of time: page by page.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::store::args::{Stretch, Types};
use crate::cli::store::ask::{Ask, Opened};
use crate::cli::store::page::Held;
use crate::event::{
    Event, EventId, EventType, Order, QueryServerParams, QueryTimeseriesParams, Subscription,
    Timestamp,
};

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    types: Option<Vec<EventType>>,
    wanted: Subscription,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// The servers to be read one beside the other; not used with a stretch of time.
    servers: Vec<i64>,
}

/// Called for each event; a break ends the walk.
type Visit<'a> = dyn FnMut(&Arc<Event>) -> Result<ControlFlow<()>, Failure> + 'a;

impl Walk {
    /// What the arguments ask for, of this server or of none yet.
    pub(super) fn new(
        types: &Types,
        stretch: &Stretch,
        server: Option<i64>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            wanted: types.subscription()?,
            types: types.query()?,
            from: stretch.from.map(|moment| moment.0),
            to: stretch.to.map(|moment| moment.0),
            servers: server.into_iter().collect(),
        })
    }

    /// The same of all servers of a store, where none was named.
    pub(super) fn within(mut self, store: &Opened) -> Result<Self, Failure> {
        if self.servers.is_empty() {
            self.servers = store.servers()?.into_iter().collect();
        }
        Ok(self)
    }

    /// Calls for each event.
    ///
    /// Without a stretch of time every event that is kept anywhere is read, by its server; with one, the time series, which
    /// is found at once. No more than a page is held of each server.
    pub(super) fn each(&self, store: &dyn Ask, visit: &mut Visit<'_>) -> Result<(), Failure> {
        if self.from.is_some() || self.to.is_some() {
            self.of_series(store, visit)
        } else {
            self.of_servers(store, visit)
        }
    }

    fn of_series(&self, store: &dyn Ask, visit: &mut Visit<'_>) -> Result<(), Failure> {
        let mut params = QueryTimeseriesParams::default().order(Order::Ascending);
        params.event_types.clone_from(&self.types);
        params.t_from = self.from;
        params.t_to = self.to;
        params.max_results = Some(PAGE);
        let mut before = None;
        loop {
            let page = Held::read(store, &params.clone().into())?;
            // Behind an event that was removed meanwhile nothing is found; what is not before its time is.
            if page.events.is_empty() && params.last_event_id.take().is_some() {
                continue;
            }
            let place = |event: &Event| Some((event.timestamp, event.id));
            for event in page.events.iter().filter(|event| place(event) > before) {
                if visit(event)?.is_break() {
                    return Ok(());
                }
            }
            let Some(last) = page.events.last().filter(|_| page.more_follows) else {
                return Ok(());
            };
            before = before.max(place(last));
            // What came before is not looked through again.
            params.t_from = Some(last.timestamp);
            params.last_event_id = Some(last.id);
        }
    }

    fn of_servers(&self, store: &dyn Ask, visit: &mut Visit<'_>) -> Result<(), Failure> {
        let mut cursors = Vec::new();
        for server in &self.servers {
            let mut cursor = Cursor::new(*server);
            cursor.fill(store)?;
            cursors.push(cursor);
        }
        loop {
            let earliest = cursors
                .iter_mut()
                .filter(|cursor| !cursor.page.is_empty())
                .min_by_key(|cursor| cursor.page.front().map(|event| event.timestamp));
            let Some(cursor) = earliest else {
                return Ok(());
            };
            let Some(event) = cursor.page.pop_front() else {
                return Ok(());
            };
            cursor.fill(store)?;
            if self.wanted.matches(&event.event_type) && visit(&event)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// How far one server was read.
struct Cursor {
    server: i64,
    /// Behind which it goes on; none at first, for a server's sessions need not begin at 1.
    last: Option<EventId>,
    page: VecDeque<Arc<Event>>,
    more_follows: bool,
}

impl Cursor {
    fn new(server: i64) -> Self {
        Self {
            server,
            last: None,
            page: VecDeque::new(),
            more_follows: true,
        }
    }

    /// Reads the next page when the last one is used up.
    fn fill(&mut self, store: &dyn Ask) -> Result<(), Failure> {
        if !self.page.is_empty() || !self.more_follows {
            return Ok(());
        }
        let mut params = QueryServerParams::new(self.server).max_results(PAGE);
        params.last_event_id = self.last;
        let page = Held::read(store, &params.into())?;
        if let Some(event) = page.events.last() {
            self.last = Some(event.id);
        }
        self.more_follows = page.more_follows && !page.events.is_empty();
        self.page = page.events.into();
        Ok(())
    }
}

/// Events that are held of a server at a time.
const PAGE: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::QueryParams;
    use crate::store::{Backend, Callbacks, MemoryBackend};

    fn store() -> MemoryBackend {
        let store = MemoryBackend::new(Callbacks::default());
        for number in 1..=2500 {
            // Two servers in turns, one of them with two events at a time.
            let events = [1_i64, 2].map(|server| {
                let id = EventId::new(server, number, 1);
                let name = if number % 2 == 0 { "even" } else { "odd" };
                let at = Timestamp::new(number * 10 / server, 0);
                Arc::new(Event::new(id, EventType::new([name]), at))
            });
            store.register(events.into()).unwrap();
        }
        store
    }

    fn walk(walk: &Walk) -> Vec<(i64, EventId)> {
        let mut seen = Vec::new();
        walk.each(&store(), &mut |event| {
            seen.push((event.timestamp.s(), event.id));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        seen
    }

    /// A store that removes the last event of each page before it is asked for the next.
    struct Forgetful(MemoryBackend);

    impl Ask for Forgetful {
        fn visit(
            &self,
            params: &QueryParams,
            visit: &mut crate::cli::store::ask::Visit<'_>,
        ) -> Result<bool, Failure> {
            match params {
                QueryParams::Timeseries(params) if params.last_event_id.is_some() => Ok(false),
                params => Ask::visit(&self.0, params, visit),
            }
        }
    }

    #[test]
    fn stretch_goes_on_where_the_last_event_was_removed_meanwhile() {
        let mut ids = Vec::new();
        let long = Walk {
            from: Some(Timestamp::new(1, 0)),
            ..all()
        };
        long.each(&Forgetful(store()), &mut |event| {
            ids.push(event.id);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(ids.len(), 5000);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5000);
    }

    fn all() -> Walk {
        Walk {
            types: None,
            wanted: Subscription::all(),
            from: None,
            to: None,
            servers: vec![1, 2],
        }
    }

    #[test]
    fn every_event_comes_once_and_in_the_order_of_time() {
        let seen = walk(&all());
        assert_eq!(seen.len(), 5000);
        assert!(seen.is_sorted_by_key(|(time, _)| *time));
        let mut ids: Vec<_> = seen.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5000);
    }

    #[test]
    fn types_and_times_choose() {
        let types = vec![EventType::new(["odd"])];
        let odd = Walk {
            wanted: Subscription::new(types.clone()).unwrap(),
            types: Some(types),
            ..all()
        };
        assert_eq!(walk(&odd).len(), 2500);
        let stretch = Walk {
            from: Some(Timestamp::new(20, 0)),
            to: Some(Timestamp::new(40, 0)),
            ..all()
        };
        let times: Vec<_> = walk(&stretch).iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [20, 20, 25, 30, 30, 35, 40, 40]);
        let long = Walk {
            from: Some(Timestamp::new(1, 0)),
            ..all()
        };
        assert_eq!(walk(&long).len(), 5000);
    }
}
