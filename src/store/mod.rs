//! Events kept durably, queried, and reacted to.
//!
//! A [`Backend`] keeps events and answers queries; its documentation is the contract of all of them. An [`Engine`] makes
//! events of what is to be registered, and lets [`Module`]s react.
//!
//! | backend | keeps |
//! |---|---|
//! | [`RedbBackend`] | what its configuration says, in a file |
//! | [`MemoryBackend`] | everything, until the process ends |
//! | [`DummyBackend`] | nothing |
//!
//! One process has a durable store open; a [`StoreHandle`] reaches it from any, and tells of events as they come.

mod admission;
mod backend;
mod condition;
mod config;
mod dummy;
mod engine;
mod error;
mod filter;
mod memory;
mod redb;
mod shared;

#[doc(hidden)]
pub use self::redb::fuzz_record;
pub use self::redb::{
    CheckSummary, Damage, FileStorage, MemoryStorage, PartitionStats, RedbBackend, Repair,
    ServerStats, Storage, StorageFile, StoreStats,
};
pub use backend::{Backend, Callbacks, EventsCallback};
pub use condition::{Condition, ConditionRule, Conditions, DataType, PathSegment};
pub use config::{Durability, Limit, PartitionConfig, StoreConfig};
pub use dummy::DummyBackend;
pub use engine::{
    Engine, EngineHandle, EngineOptions, EngineStats, Module, Source, SourceKind, Submission,
    SubmitError,
};
pub use error::StoreError;
pub use memory::MemoryBackend;
pub use shared::{FaultKind, FollowOptions, Followed, Follower, OpenOptions, StoreHandle, open};

/// The Rust code of the page about the store, compiled and run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/store.md")]
struct Page;
