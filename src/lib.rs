//! The message bus of an acquisition rig.
//!
//! An acquisition application embeds [`rpc::RpcService`]: it publishes topic-tagged events and dispatches commands to a delegate,
//! without a broker and without ever waiting for whoever listens.

#[cfg(feature = "cli")]
pub mod cli;
pub mod rpc;
pub mod simulator;
pub mod time;
pub mod wire;
pub mod zsocket;
