//! What a query asks of an event: the part that every backend answers alike.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::event::{
    Event, EventId, EventType, OrderBy, QueryParams, QueryServerParams, QueryTimeseriesParams,
    Subscription, Timestamp,
};
use crate::store::StoreError;

/// The event types of a query.
#[derive(Debug)]
pub(crate) enum TypeFilter {
    /// Every type.
    All,
    /// These and no others; none of them has a wildcard.
    Exact(Vec<EventType>),
    /// What the subscription matches.
    Matching(Subscription),
}

impl TypeFilter {
    /// Source: hat-event 0.9.44; `*` among the types makes the others irrelevant, also wrong ones.
    pub(crate) fn new(types: Option<&[EventType]>) -> Result<Self, StoreError> {
        let Some(types) = types else {
            return Ok(Self::All);
        };
        if types.iter().any(|one| one.segments().eq(["*"])) {
            return Ok(Self::All);
        }
        let is_wild = |one: &EventType| one.segments().any(|segment| matches!(segment, "?" | "*"));
        if types.iter().any(is_wild) {
            let subscription = Subscription::new(types.iter().cloned());
            return Ok(Self::Matching(subscription.map_err(StoreError::Query)?));
        }
        let mut exact = types.to_vec();
        exact.sort();
        exact.dedup();
        Ok(Self::Exact(exact))
    }

    pub(crate) fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => true,
            Self::Exact(types) => types.binary_search(event_type).is_ok(),
            Self::Matching(subscription) => subscription.matches(event_type),
        }
    }
}

/// What a query of a time series asks for, apart from its order.
#[derive(Debug)]
pub(crate) struct TimeseriesFilter<'a> {
    pub(crate) types: TypeFilter,
    params: &'a QueryTimeseriesParams,
}

impl<'a> TimeseriesFilter<'a> {
    /// A wrong query type is an error, also beside `*`. Source: hat-event 0.9.44, LMDB backend.
    pub(crate) fn new(params: &'a QueryTimeseriesParams) -> Result<Self, StoreError> {
        if let Some(types) = &params.event_types {
            Subscription::new(types.iter().cloned()).map_err(StoreError::Query)?;
        }
        Ok(Self {
            types: TypeFilter::new(params.event_types.as_deref())?,
            params,
        })
    }

    /// The bounds of the timestamp that sorts the series, both inclusive.
    pub(crate) fn key_bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        match self.params.order_by {
            OrderBy::Timestamp => (self.params.t_from, self.params.t_to),
            OrderBy::SourceTimestamp => (self.params.source_t_from, self.params.source_t_to),
        }
    }

    /// The timestamp that sorts the event; `None` if the event is in no such series or beyond the bounds of the key.
    pub(crate) fn key(&self, event: &Event) -> Option<Timestamp> {
        let key = key(self.params.order_by, event)?;
        let (from, to) = self.key_bounds();
        is_within(key, from, to).then_some(key)
    }

    /// Whether the event has one of the types and is within all bounds.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        let params = self.params;
        let is_source_bound = params.source_t_from.is_some() || params.source_t_to.is_some();
        let is_in_source = match event.source_timestamp {
            Some(source) => is_within(source, params.source_t_from, params.source_t_to),
            None => !is_source_bound,
        };
        is_in_source
            && is_within(event.timestamp, params.t_from, params.t_to)
            && self.types.matches(&event.event_type)
    }
}

/// The timestamp that sorts an event in a series of this order; `None` if the event is in none.
pub(crate) fn key(order_by: OrderBy, event: &Event) -> Option<Timestamp> {
    match order_by {
        OrderBy::Timestamp => Some(event.timestamp),
        OrderBy::SourceTimestamp => event.source_timestamp,
    }
}

/// The id after which the answer of a server query begins.
pub(crate) fn server_start(params: &QueryServerParams) -> Result<Option<EventId>, StoreError> {
    match params.last_event_id {
        Some(last) if last.server != params.server_id => Err(StoreError::OtherServer {
            server: params.server_id,
            last,
        }),
        last => Ok(last),
    }
}

/// The most events that a query wants.
pub(crate) fn limit(params: &QueryParams) -> Result<usize, StoreError> {
    let max_results = match params {
        QueryParams::Latest(_) => None,
        QueryParams::Timeseries(params) => params.max_results,
        QueryParams::Server(params) => params.max_results,
    };
    let Some(found) = max_results else {
        return Ok(usize::MAX);
    };
    if found < 0 {
        return Err(StoreError::NegativeMaxResults { found });
    }
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

/// Whether a query can be answered at all.
pub(crate) fn check(params: &QueryParams) -> Result<(), StoreError> {
    limit(params)?;
    match params {
        QueryParams::Latest(params) => TypeFilter::new(params.event_types.as_deref()).map(drop),
        QueryParams::Timeseries(params) => TimeseriesFilter::new(params).map(drop),
        QueryParams::Server(params) => server_start(params).map(drop),
    }
}

/// Shows events until the limit or until the visitor has enough; whether there are more.
pub(crate) fn show<'a>(
    events: impl IntoIterator<Item = &'a Arc<Event>>,
    limit: usize,
    visit: &mut dyn FnMut(&Arc<Event>) -> ControlFlow<()>,
) -> bool {
    for (count, event) in events.into_iter().enumerate() {
        if count == limit || visit(event).is_break() {
            return true;
        }
    }
    false
}

fn is_within(time: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to)
}
