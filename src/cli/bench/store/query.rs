//! Answers a second, of a store on disk with so many events.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::cli::bench::measure::{Plan, median};
use crate::cli::bench::report::{Row, Target};
use crate::cli::exit::{Exit, Failure};
use crate::event::{
    EventType, QueryLatestParams, QueryParams, QueryServerParams, QueryTimeseriesParams,
};
use crate::store::{Backend, RedbBackend};

use super::reference::{self, Figures};
use super::shape::{Scratch, config, event_types, fill, id, open};

/// All queries at 1,000,000 events, and at more where more are wanted.
pub(super) fn rates(plan: &Plan) -> Result<Vec<Row>, Failure> {
    let events = plan.events.unwrap_or(plan.choose(100_000, USUAL));
    let dir = Scratch::new(plan)?;
    let store = open(dir.path(), config())?;
    let first = events.min(USUAL);
    fill(&store, 0..first)?;
    let figures = reference::figures(plan)?;
    let mut rows = Vec::new();
    let mut usual = Vec::new();
    for query in QUERIES {
        let rate = query.rate(&store, first, plan)?;
        usual.push(rate);
        rows.push(Row {
            case: query.case,
            unit: "1/s",
            ours: rate,
            limit: None,
            peer: figures.as_ref().map(query.of_reference),
            runs: plan.runs,
            target: Target::AtLeast(query.least),
        });
    }
    if events > first {
        fill(&store, first..events)?;
        for (query, usual) in QUERIES.iter().zip(usual) {
            rows.push(Row {
                case: query.case_of_many,
                unit: "1/s",
                ours: query.rate(&store, events, plan)?,
                limit: Some(usual),
                peer: None,
                runs: plan.runs,
                target: Target::RatioAtLeast(0.5),
            });
        }
    }
    store.close()?;
    Ok(rows)
}

/// One kind of query.
struct Query {
    case: &'static str,
    case_of_many: &'static str,
    least: f64,
    /// Queries that differ, and the events of each answer.
    params: fn(events: u64) -> (Vec<QueryParams>, usize),
    of_reference: fn(&Figures) -> f64,
}

impl Query {
    fn rate(&self, store: &RedbBackend, events: u64, plan: &Plan) -> Result<f64, Failure> {
        let (params, expected) = (self.params)(events);
        for params in &params {
            // A figure of wrong answers is none; and what is to be cached is, then.
            let found = store.query(params)?.events.len();
            if found != expected {
                let text = format!("{}: {found} events, not {expected}", self.case);
                return Err(Failure::new(Exit::Failed, text));
            }
        }
        let span = Duration::from_millis(plan.choose(200, 1_000));
        let mut rates = Vec::new();
        for _ in 0..plan.runs {
            let (start, mut count) = (Instant::now(), 0_u64);
            // The clock is asked once for all of them.
            while start.elapsed() < span {
                for params in &params {
                    black_box(store.query(params)?);
                }
                count += params.len() as u64;
            }
            rates.push(count as f64 / start.elapsed().as_secs_f64());
        }
        Ok(median(rates))
    }
}

const QUERIES: [Query; 5] = [
    Query {
        case: "latest-one-type",
        case_of_many: "latest-one-type-many",
        least: 1_000_000.0,
        params: |_| (each_type(latest), 1),
        of_reference: |figures| figures.latest_one,
    },
    Query {
        case: "latest-100-types",
        case_of_many: "latest-100-types-many",
        least: 200_000.0,
        params: |_| (vec![latest(EventType::new(["rig-1", "event", "*"]))], 100),
        of_reference: |figures| figures.latest_all,
    },
    Query {
        case: "series-last-100",
        case_of_many: "series-last-100-many",
        least: 20_000.0,
        params: |_| {
            let params = QueryTimeseriesParams::default().max_results(100);
            (vec![params.into()], 100)
        },
        of_reference: |figures| figures.series_all,
    },
    Query {
        case: "series-one-type-100",
        case_of_many: "series-one-type-100-many",
        least: 10_000.0,
        params: |events| (each_type(series), 100.min(events as usize / 100)),
        of_reference: |figures| figures.series_one,
    },
    Query {
        case: "server-page-100",
        case_of_many: "server-page-100-many",
        least: 20_000.0,
        params: |events| {
            // Pages from all over the history.
            let page = |number: u64| {
                let begin = number * 7_919 % (events - 100);
                let params = QueryServerParams::new(1).after(id(begin)).max_results(100);
                params.into()
            };
            let step = (events / 100).max(1);
            // The last one of them may be short of a page.
            (
                (0..100)
                    .map(|number| page(number * step))
                    .filter(|params: &QueryParams| is_whole(params, events))
                    .collect(),
                100,
            )
        },
        of_reference: |figures| figures.server,
    },
];

/// Whether 100 events are behind the one that the page begins after.
fn is_whole(params: &QueryParams, events: u64) -> bool {
    match params {
        QueryParams::Server(params) => params
            .last_event_id
            .is_some_and(|last| last <= id(events - 101)),
        _ => true,
    }
}

fn each_type(params: fn(EventType) -> QueryParams) -> Vec<QueryParams> {
    event_types().into_iter().map(params).collect()
}

fn latest(event_type: EventType) -> QueryParams {
    QueryLatestParams::default()
        .event_types([event_type])
        .into()
}

fn series(event_type: EventType) -> QueryParams {
    QueryTimeseriesParams::default()
        .event_types([event_type])
        .max_results(100)
        .into()
}

/// The events at which figures have targets.
const USUAL: u64 = 1_000_000;
