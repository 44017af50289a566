//! Events, subscriptions and histories against what hat-event 0.9.44 answered.
//!
//! The vectors are in `tests/vectors/hat`, or in `$ACQBUS_VECTORS/hat` where that variable is set; a file may be absent there.
//! Every case of every file found is run. The files of the eventer protocol (`sbs_*`, `chatter_frames`, `exchanges`,
//! `server_behaviour`, `notify`) are no matter of the event model and the store.

#[path = "vectors_hat/engine.rs"]
mod engine;
#[path = "vectors_hat/event.rs"]
mod event;
#[path = "vectors_hat/redb.rs"]
mod redb;
#[path = "vectors_hat/scenario.rs"]
mod scenario;
#[path = "vectors_hat/store.rs"]
mod store;

mod common;

use common::report;

/// What we answer otherwise on purpose. Each is a rule of its own in these files, and applies to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// H01: a type that ends where the other side has `*` is in an intersection; the reference loses it, or has it by another
    /// query type only.
    ExactIntersection,
    /// H02: two subscriptions that share no type are disjoint; the reference says no for some, which our option keeps.
    ExactDisjoint,
    /// H03: all query types of an add count; the reference's tree in Python skips the rest behind one that it has.
    WholeAdd,
    /// H04: a date is the same second whatever the float nearest to it is.
    ExactDate,
    /// H05: JSON that cannot be written again is refused at once; the reference takes it and fails later.
    UnwritableJson,
    /// H20: the memory backend answers every query; as published it raises on most.
    MemoryAnswers,
    /// H21: events of equal timestamps come in the order of their ids; the memory backend leaves those of several servers as
    /// its sort happens to, the durable one in the order of registration until they are flushed.
    TiesOfServers,
    /// H22: what follows an event follows it also where its type or another bound leaves it out, as in the durable backend;
    /// the memory backend says that nothing does.
    AfterAnyEvent,
    /// H24: a server query that goes on after the last event is empty; the memory backend gives that event again for ever.
    PastTheEnd,
    /// H25: a server query that goes on after an event of another server is an error, as in the durable backend; the memory
    /// backend looks past it.
    OtherServer,
    /// H23: a query by source timestamp sees what is not flushed; the reference flushes first.
    SourceQueryFlushes,
    /// H26: what is not flushed stands where its timestamp belongs; the reference puts it before or behind the rest.
    MergedUnflushed,
}

/// The files and what runs them; a file gives its cases to the report.
const FILES: &[report::File<Difference>] = &[
    ("matches.json", event::run_matches),
    ("subscription.json", event::run_subscription),
    ("subscription_pairs.json", event::run_subscription_pairs),
    ("collections.json", event::run_collections),
    ("timestamp.json", event::run_timestamp),
    ("event_order.json", event::run_event_order),
    ("json_payload.json", event::run_json_payload),
    ("conditions.json", store::run_conditions),
    ("memory_repaired.json", store::run_memory_repaired),
    ("memory_shipped.json", store::run_memory_shipped),
    ("lmdb_basic.json", redb::run_lmdb),
    ("lmdb_config.json", redb::run_lmdb),
    ("lmdb_behaviour.json", redb::run_lmdb),
    ("engine.json", engine::run_engine),
];

pub(crate) type Report = report::Report<Difference>;

#[test]
fn every_vector_is_answered_as_the_reference_does() {
    report::replay("hat", FILES);
}
