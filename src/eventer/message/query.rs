//! Questions to the history, and their answers.

use std::borrow::Borrow;

use crate::event::{
    Event, Order, OrderBy, QueryLatestParams, QueryParams, QueryResult, QueryServerParams,
    QueryTimeseriesParams,
};
use crate::eventer::message::{event, read_optional, write_optional};
use crate::eventer::sbs::{Reader, Writer};
use crate::wire::DecodeError;

/// Writes the content of the answer to a query.
pub(crate) fn encode_query_res<E: Borrow<Event>>(events: &[E], more: bool, out: &mut Vec<u8>) {
    event::write_events(events, out);
    Writer::new(out).boolean(more);
}

pub(super) fn read_result(reader: &mut Reader<'_>) -> Result<QueryResult, DecodeError> {
    let events = event::read_events(reader)?;
    let more_follows = reader.boolean("the flag of more events")?;
    Ok(QueryResult::new(events, more_follows))
}

pub(super) fn read_params(reader: &mut Reader<'_>) -> Result<QueryParams, DecodeError> {
    Ok(match reader.choice(3, "the kind of the query")? {
        0 => QueryParams::Latest(QueryLatestParams {
            event_types: read_optional(TYPES, reader, |reader| {
                event::read_event_types(TYPES, reader)
            })?,
        }),
        1 => QueryParams::Timeseries(read_timeseries(reader)?),
        _ => QueryParams::Server(QueryServerParams {
            server_id: reader.integer("the id of the server")?,
            persisted: reader.boolean("the persisted flag")?,
            max_results: read_optional(MAX, reader, |reader| reader.integer(MAX))?,
            last_event_id: read_optional(LAST, reader, event::read_id)?,
        }),
    })
}

pub(super) fn write_params(params: &QueryParams, writer: &mut Writer<'_>) {
    match params {
        QueryParams::Latest(params) => {
            writer.choice(0);
            write_optional(
                params.event_types.as_deref(),
                writer,
                event::write_event_types,
            );
        }
        QueryParams::Timeseries(params) => {
            writer.choice(1);
            write_timeseries(params, writer);
        }
        QueryParams::Server(params) => {
            writer.choice(2);
            writer.integer(params.server_id);
            writer.boolean(params.persisted);
            write_optional(params.max_results, writer, |max, writer| {
                writer.integer(max);
            });
            write_optional(params.last_event_id, writer, event::write_id);
        }
    }
}

fn read_timeseries(reader: &mut Reader<'_>) -> Result<QueryTimeseriesParams, DecodeError> {
    Ok(QueryTimeseriesParams {
        event_types: read_optional(TYPES, reader, |reader| {
            event::read_event_types(TYPES, reader)
        })?,
        t_from: read_optional("the first timestamp", reader, event::read_timestamp)?,
        t_to: read_optional("the last timestamp", reader, event::read_timestamp)?,
        source_t_from: read_optional("the first source timestamp", reader, event::read_timestamp)?,
        source_t_to: read_optional("the last source timestamp", reader, event::read_timestamp)?,
        order: match reader.choice(2, "the order")? {
            0 => Order::Descending,
            _ => Order::Ascending,
        },
        order_by: match reader.choice(2, "the time to order by")? {
            0 => OrderBy::Timestamp,
            _ => OrderBy::SourceTimestamp,
        },
        max_results: read_optional(MAX, reader, |reader| reader.integer(MAX))?,
        last_event_id: read_optional(LAST, reader, event::read_id)?,
    })
}

fn write_timeseries(params: &QueryTimeseriesParams, writer: &mut Writer<'_>) {
    write_optional(
        params.event_types.as_deref(),
        writer,
        event::write_event_types,
    );
    for bound in [
        params.t_from,
        params.t_to,
        params.source_t_from,
        params.source_t_to,
    ] {
        write_optional(bound, writer, event::write_timestamp);
    }
    writer.choice(match params.order {
        Order::Descending => 0,
        Order::Ascending => 1,
    });
    writer.choice(match params.order_by {
        OrderBy::Timestamp => 0,
        OrderBy::SourceTimestamp => 1,
    });
    write_optional(params.max_results, writer, |max, writer| {
        writer.integer(max);
    });
    write_optional(params.last_event_id, writer, event::write_id);
}

const TYPES: &str = "the event types";
const MAX: &str = "the most events to answer";
const LAST: &str = "the last event";
