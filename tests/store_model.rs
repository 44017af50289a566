//! The durable backend against a model that keeps everything in lists, under random operations.
//!
//! The model knows the rules of hat-event's LMDB backend from the facts alone and has no index: every answer is a filter and a sort.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Json, Order, OrderBy, Payload, QueryLatestParams, QueryParams,
    QueryResult, QueryServerParams, QueryTimeseriesParams, Subscription, Timestamp,
    matches_query_type,
};
use acqbus::store::{
    Backend, Callbacks, Durability, Limit, MemoryStorage, PartitionConfig, RedbBackend, StoreConfig,
};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #[test]
    fn every_answer_is_that_of_the_model(
        steps in prop::collection::vec(step(), 1..60), which in 0..CONFIGS, committed in any::<bool>(),
    ) {
        let durability = if committed { Durability::Committed } else { Durability::Periodic };
        let mut pair = Pair::new(config(which).durability(durability), committed);
        for step in steps {
            pair.step(step);
        }
        pair.check();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Register(Vec<NewEvent>),
    Query(QueryParams),
    Flush,
    Cleanup,
    Reopen,
    Crash,
}

/// An event, told by how it differs from the last one of its server.
#[derive(Debug, Clone)]
struct NewEvent {
    server: i64,
    /// 0 and below is refused.
    instances_on: i64,
    /// Below 0 is refused.
    seconds_on: i64,
    event_type: EventType,
    source: Option<i64>,
}

/// The backend and its model side by side.
struct Pair {
    config: StoreConfig,
    storage: MemoryStorage,
    store: Option<RedbBackend>,
    model: Model,
    committed: bool,
    now: i64,
}

impl Pair {
    fn new(config: StoreConfig, committed: bool) -> Self {
        let mut pair = Self {
            model: Model::new(&config),
            config,
            storage: MemoryStorage::default(),
            store: None,
            committed,
            now: START,
        };
        pair.open();
        pair
    }

    fn open(&mut self) {
        let storage = Arc::new(self.storage.clone());
        let now = Timestamp::new(self.now, 0);
        let store = RedbBackend::open_with_clock(
            storage,
            self.config.clone(),
            Callbacks::default(),
            move || now,
        );
        self.store = Some(store.unwrap());
        self.model.flush();
        self.model.cleanup(now);
    }

    fn store(&self) -> &RedbBackend {
        self.store.as_ref().expect("it is open")
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Register(new) => self.register(new),
            Step::Query(params) => self.compare(&params),
            Step::Flush => {
                self.store().flush().unwrap();
                self.model.flush();
            }
            Step::Cleanup => {
                self.now += 3;
                let now = Timestamp::new(self.now, 0);
                self.store().cleanup(now).unwrap();
                self.model.cleanup(now);
            }
            Step::Reopen => {
                self.store().close().unwrap();
                self.store = None;
                self.open();
            }
            Step::Crash => {
                self.storage = MemoryStorage::with_bytes(self.storage.to_bytes());
                // Dropped, it would flush; its thread sleeps on.
                std::mem::forget(self.store.take());
                if !self.committed {
                    self.model.crash();
                }
                self.open();
            }
        }
    }

    fn register(&mut self, new: Vec<NewEvent>) {
        let mut last: BTreeMap<i64, (EventId, Timestamp)> = BTreeMap::new();
        let mut events = Vec::new();
        for new in new {
            let (id, time) = *last.entry(new.server).or_insert_with(|| {
                let id = self.store().last_event_id(new.server).unwrap();
                let time = self.store().last_timestamp(new.server).unwrap();
                (id, time.unwrap_or(Timestamp::new(self.now, 0)))
            });
            let id = EventId::new(new.server, id.session, id.instance + new.instances_on);
            let time = Timestamp::new(time.s() + new.seconds_on, 0);
            self.now = self.now.max(time.s());
            let payload =
                Payload::Json(Json::new(format!("[{}, {}]", id.server, id.instance)).unwrap());
            let event = Event::new(id, new.event_type, time).with_payload(payload);
            let source = new.source.map(|source| Timestamp::new(START + source, 5));
            let event = Arc::new(event.with_source_timestamp(source));
            if self.model.register(&event) {
                last.insert(new.server, (id, time));
            }
            events.push(event);
        }
        self.store().register(events.into()).unwrap();
        if self.committed {
            self.model.commit();
        }
    }

    fn compare(&mut self, params: &QueryParams) {
        let mut ours = self.store().query(params).unwrap();
        let mut models = self.model.query(params, &self.config);
        if let QueryParams::Latest(_) = params {
            ours.events.sort_by_key(|event| event.id);
            models.events.sort_by_key(|event| event.id);
        }
        let ids = |result: &QueryResult| {
            result
                .events
                .iter()
                .map(|event| event.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&ours), ids(&models), "{params:?}");
        assert_eq!(ours, models, "{params:?}");
    }

    /// Everything, and that the file is in order.
    fn check(&mut self) {
        self.compare(&QueryLatestParams::default().into());
        for order_by in [OrderBy::Timestamp, OrderBy::SourceTimestamp] {
            for order in [Order::Ascending, Order::Descending] {
                self.compare(
                    &QueryTimeseriesParams::default()
                        .order(order)
                        .order_by(order_by)
                        .into(),
                );
            }
        }
        for server in SERVERS {
            self.compare(&QueryServerParams::new(server).into());
            let last = self
                .model
                .last
                .get(&server)
                .map_or(EventId::none(server), |(id, _)| *id);
            assert_eq!(self.store().last_event_id(server).unwrap(), last);
        }
        self.store().flush().unwrap();
        let mut damages = Vec::new();
        let summary = self
            .store()
            .check(&mut |damage| damages.push(damage))
            .unwrap();
        assert_eq!(damages, [], "{summary:?}");
    }
}

/// Lists, and the rules.
#[derive(Clone)]
struct Model {
    latest_types: Subscription,
    partitions: Vec<PartitionConfig>,
    /// The events that each partition has.
    series: Vec<Vec<Arc<Event>>>,
    latest: BTreeMap<EventType, Arc<Event>>,
    last: BTreeMap<i64, (EventId, Timestamp)>,
    /// As of the last flush.
    flushed: Option<Box<Self>>,
    /// As of the last moment at which the events were durable.
    durable: Option<Box<Self>>,
}

impl Model {
    fn new(config: &StoreConfig) -> Self {
        let partitions = config.partitions();
        Self {
            latest_types: config.latest.clone(),
            series: vec![Vec::new(); partitions.len()],
            partitions,
            latest: BTreeMap::new(),
            last: BTreeMap::new(),
            flushed: None,
            durable: None,
        }
    }

    /// Whether the event is stored.
    fn register(&mut self, event: &Arc<Event>) -> bool {
        if let Some((id, time)) = self.last.get(&event.id.server)
            && (event.id <= *id || event.timestamp < *time)
        {
            return false;
        }
        let mut taken = false;
        let is_newer = self.latest.get(&event.event_type).is_none_or(|held| {
            if held.id.server == event.id.server {
                held.id < event.id
            } else {
                held.timestamp <= event.timestamp
            }
        });
        if self.latest_types.matches(&event.event_type) && is_newer {
            self.latest
                .insert(event.event_type.clone(), Arc::clone(event));
            taken = true;
        }
        for (partition, series) in self.partitions.iter().zip(&mut self.series) {
            if partition.subscriptions.matches(&event.event_type)
                && time(partition.order_by, event).is_some()
            {
                series.push(Arc::clone(event));
                taken = true;
            }
        }
        if taken {
            self.last
                .insert(event.id.server, (event.id, event.timestamp));
        }
        taken
    }

    fn bare(&self) -> Self {
        let mut bare = self.clone();
        (bare.flushed, bare.durable) = (None, None);
        bare
    }

    fn flush(&mut self) {
        self.flushed = Some(Box::new(self.bare()));
        self.durable = self.flushed.clone();
    }

    fn commit(&mut self) {
        self.durable = Some(Box::new(self.bare()));
    }

    fn crash(&mut self) {
        if let Some(flushed) = self.flushed.take() {
            *self = *flushed;
        }
    }

    /// Only flushed entries count and go.
    fn cleanup(&mut self, now: Timestamp) {
        for index in 0..self.partitions.len() {
            let partition = &self.partitions[index];
            let Some(limit) = partition.limit else {
                continue;
            };
            let Some(flushed) = &mut self.flushed else {
                continue;
            };
            let order_by = partition.order_by;
            let series = &mut flushed.series[index];
            series.sort_by_key(|event| (time(order_by, event), event.id));
            let horizon = limit.duration.map(|duration| now.add(-duration).unwrap());
            let mut gone = Vec::new();
            while let Some(first) = series.first() {
                let count = series.len() as f64;
                let too_many = limit.max_entries.is_some_and(|max| count > max);
                let too_old = horizon.is_some_and(|horizon| time(order_by, first) < Some(horizon));
                if count <= limit.min_entries.unwrap_or(0.0) || !(too_many || too_old) {
                    break;
                }
                gone.push(series.remove(0).id);
            }
            self.series[index].retain(|event| !gone.contains(&event.id));
            if let Some(durable) = &mut self.durable {
                durable.series[index].retain(|event| !gone.contains(&event.id));
            }
        }
    }

    fn query(&self, params: &QueryParams, config: &StoreConfig) -> QueryResult {
        match params {
            QueryParams::Latest(params) => {
                let types = params.event_types.as_deref();
                let events = self.latest.values().filter(|event| is_wanted(event, types));
                QueryResult::new(events.cloned().collect(), false)
            }
            QueryParams::Timeseries(params) => {
                self.timeseries(params, config.timeseries_max_results)
            }
            QueryParams::Server(params) => self.server(params),
        }
    }

    fn timeseries(&self, params: &QueryTimeseriesParams, limit: usize) -> QueryResult {
        let wanted = params
            .event_types
            .clone()
            .map(|types| Subscription::new(types).unwrap());
        let found = self.partitions.iter().position(|partition| {
            partition.order_by == params.order_by
                && wanted
                    .as_ref()
                    .is_none_or(|wanted| !partition.subscriptions.is_disjoint(wanted))
        });
        let Some(index) = found else {
            return QueryResult::new(Vec::new(), false);
        };
        let key = |event: &Event| time(params.order_by, event);
        let (from, to) = match params.order_by {
            OrderBy::Timestamp => (params.t_from, params.t_to),
            OrderBy::SourceTimestamp => (params.source_t_from, params.source_t_to),
        };
        let mut events = self.series[index].clone();
        events.sort_by_key(|event| (key(event), event.id));
        events.retain(|event| is_within(key(event), from, to));
        if params.order == Order::Descending {
            events.reverse();
        }
        if let Some(last) = params.last_event_id {
            let Some(at) = events.iter().position(|event| event.id == last) else {
                return QueryResult::new(Vec::new(), false);
            };
            events.drain(..=at);
        }
        events.retain(|event| {
            is_wanted(event, params.event_types.as_deref())
                && is_within(Some(event.timestamp), params.t_from, params.t_to)
                && is_within(
                    event.source_timestamp,
                    params.source_t_from,
                    params.source_t_to,
                )
        });
        cut(events, params.max_results, limit)
    }

    fn server(&self, params: &QueryServerParams) -> QueryResult {
        let mut by_id = BTreeMap::new();
        let mut add = |model: &Self, only_flushed_of: Option<&Self>| {
            for event in model.series.iter().flatten().chain(model.latest.values()) {
                let is_new = only_flushed_of.is_none_or(|flushed| {
                    flushed
                        .last
                        .get(&event.id.server)
                        .is_none_or(|(last, _)| event.id > *last)
                });
                if event.id.server == params.server_id && is_new {
                    by_id.insert(event.id, Arc::clone(event));
                }
            }
        };
        // What was superseded since the flush is told from disk all the same.
        if let Some(flushed) = &self.flushed {
            add(flushed, None);
        }
        let visible = if params.persisted {
            self.durable.as_deref()
        } else {
            Some(self)
        };
        if let Some(visible) = visible {
            add(visible, self.flushed.as_deref());
        }
        let after = params.last_event_id;
        let events = by_id
            .into_values()
            .filter(|event| after.is_none_or(|after| event.id > after));
        cut(events.collect(), params.max_results, 4096)
    }
}

fn cut(mut events: Vec<Arc<Event>>, max_results: Option<i64>, limit: usize) -> QueryResult {
    let limit = max_results.map_or(limit, |max| limit.min(max as usize));
    let more = events.len() > limit;
    events.truncate(limit);
    QueryResult::new(events, more)
}

fn is_wanted(event: &Event, types: Option<&[EventType]>) -> bool {
    types.is_none_or(|types| {
        types
            .iter()
            .any(|query| matches_query_type(&event.event_type, query))
    })
}

fn is_within(time: Option<Timestamp>, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    if from.is_none() && to.is_none() {
        return true;
    }
    time.is_some_and(|time| from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to))
}

fn time(order_by: OrderBy, event: &Event) -> Option<Timestamp> {
    match order_by {
        OrderBy::Timestamp => Some(event.timestamp),
        OrderBy::SourceTimestamp => event.source_timestamp,
    }
}

fn config(which: usize) -> StoreConfig {
    // Nothing is flushed or cleaned up but when a step says so.
    let never = Duration::from_secs(1_000_000);
    let config = StoreConfig::default()
        .flush_period(never)
        .cleanup_period(Duration::ZERO);
    let types =
        |types: &[&str]| Subscription::new(types.iter().map(|one| EventType::from(*one))).unwrap();
    let series = |order_by, of: &[&str]| PartitionConfig::new(order_by, types(of));
    match which {
        0 => config,
        1 => config.timeseries_max_results(5).latest(types(&["a/*"])),
        2 => config.latest(types(&["a/*", "b"])).timeseries([
            series(OrderBy::Timestamp, &["a/x", "b"]).limit(limit(Some(4.0), None, None)),
            series(OrderBy::Timestamp, &["?/*"]).limit(limit(None, Some(6.0), Some(1.0))),
            series(OrderBy::SourceTimestamp, &["a/*"]).limit(limit(
                Some(3.5),
                Some(9.5),
                Some(2.0),
            )),
        ]),
        _ => config.timeseries([]).latest(types(&["a/*"])),
    }
}

fn limit(max_entries: Option<f64>, duration: Option<f64>, min_entries: Option<f64>) -> Limit {
    let mut limit = Limit::default();
    (limit.max_entries, limit.duration, limit.min_entries) = (max_entries, duration, min_entries);
    limit
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(new_event(), 0..8).prop_map(Step::Register),
        12 => query().prop_map(Step::Query),
        3 => Just(Step::Flush),
        2 => Just(Step::Cleanup),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

fn new_event() -> impl Strategy<Value = NewEvent> {
    let on = prop_oneof![9 => 1..3_i64, 1 => -1..1_i64];
    let seconds = prop_oneof![9 => 0..3_i64, 1 => Just(-1_i64)];
    let event_type = select(
        ["a/x", "a/y", "a", "b", "b/x", ""]
            .map(EventType::from)
            .to_vec(),
    );
    let source = prop::option::of(0..20_i64);
    (select(&SERVERS[..]), on, seconds, event_type, source).prop_map(
        |(server, instances_on, seconds_on, event_type, source)| NewEvent {
            server,
            instances_on,
            seconds_on,
            event_type,
            source,
        },
    )
}

fn query() -> impl Strategy<Value = QueryParams> {
    let types = || {
        let one = select(
            ["a/x", "a/y", "a/*", "?", "b", "?/x", "*", "c", ""]
                .map(EventType::from)
                .to_vec(),
        );
        prop::option::of(prop::collection::vec(one, 0..3))
    };
    let id = || {
        (select(&SERVERS[..]), 0..30_i64)
            .prop_map(|(server, instance)| EventId::new(server, 0, instance))
    };
    let bound = || {
        prop::option::weighted(
            0.3,
            (START - 1..START + 30).prop_map(|s| Timestamp::new(s, 5)),
        )
    };
    let max = || prop::option::of(0..9_i64);
    let order = select(vec![Order::Ascending, Order::Descending]);
    let order_by = select(vec![OrderBy::Timestamp, OrderBy::SourceTimestamp]);
    let series = (
        types(),
        (bound(), bound(), bound(), bound()),
        order,
        order_by,
        max(),
        prop::option::weighted(0.4, id()),
    )
        .prop_map(
            |(
                event_types,
                (t_from, t_to, source_t_from, source_t_to),
                order,
                order_by,
                max_results,
                last,
            )| {
                let mut params = QueryTimeseriesParams::default()
                    .order(order)
                    .order_by(order_by);
                params.event_types = event_types;
                (params.t_from, params.t_to) = (t_from, t_to);
                (params.source_t_from, params.source_t_to) = (source_t_from, source_t_to);
                params.max_results = max_results;
                params.last_event_id = last;
                QueryParams::from(params)
            },
        );
    let server = (id(), any::<bool>(), max(), any::<bool>()).prop_map(
        |(id, persisted, max_results, after)| {
            let mut params = QueryServerParams::new(id.server).persisted(persisted);
            params.max_results = max_results;
            params.last_event_id = after.then_some(id);
            QueryParams::from(params)
        },
    );
    let latest = types().prop_map(|event_types| {
        let mut params = QueryLatestParams::default();
        params.event_types = event_types;
        QueryParams::from(params)
    });
    prop_oneof![6 => series, 3 => server, 1 => latest]
}

const SERVERS: [i64; 2] = [1, 7];
const START: i64 = 1_700_000_000;
const CONFIGS: usize = 4;
