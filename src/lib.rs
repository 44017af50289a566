//! The message bus of an acquisition rig: events out, commands in, without a broker.
//!
//! An acquisition application embeds [`rpc::RpcService`]. It publishes topic-tagged events over ZeroMQ, answers commands through a
//! delegate, and finishes slow ones later under their nonce. The wire is that of the Python package `auto-trainer-api` 0.9.7 to
//! 0.12.0, so programs written for it work unchanged; what is added to it lets a subscriber see what it missed.
//!
//! Run data are a matter of their own: [`cdtp::DataTransmitter`] sends megabytes a second of detector or camera data between a
//! begin and an end of run, [`cdtp::DataReceiver`] takes them and notices every missing record, [`relay::RunRecorder`] writes
//! them to disk, and [`chirp::ChirpManager`] lets the ends find each other. Their wire is that of Constellation.
//!
//! ```
//! use acqbus::rpc::{
//!     ApiCommand, ClientOptions, CommandRequest, CommandResponse, Event, EventKind, RemoteClient, RpcOptions, RpcService,
//! };
//!
//! let service = RpcService::new(RpcOptions::default().identifier("rig-7").any_port());
//! service.set_delegate(|request: &CommandRequest| match request.command() {
//!     ApiCommand::GetStatus => CommandResponse::success().with_data(&"idle"),
//!     _ => CommandResponse::unrecognized(),
//! });
//! service.start()?;
//! service.send_event(&Event::now(EventKind::TunnelEnter))?;
//!
//! let options = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
//! let response = RemoteClient::connect(options)?.request(ApiCommand::GetStatus, &())?;
//! assert_eq!(response.data(), "idle");
//! # Ok::<(), acqbus::rpc::RpcError>(())
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | [`rpc`] | the control plane: service, client, events, commands, and their bytes |
//! | [`cdtp`] | the data plane: runs of data records, sent and received |
//! | [`chirp`] | discovery: who offers which service where |
//! | [`event`] | history: what an event is, and who wants which |
//! | [`store`] | history: events kept durably and queried, modules that react to them |
//! | [`eventer`] | history on the network: a store served to others, and asked from elsewhere |
//! | [`relay`] | run files: what carries runs to disk, and back |
//! | [`transport`] | uplink: events sent to other systems, with a result for each |
//! | [`udm`] | uplink: the event that goes to other systems |
//! | [`simulator`] | the simulated client application: a rig without a rig |
//! | [`zsocket`] | the only door to libzmq: sockets, limits, CURVE keys, who may connect |
//! | [`time`], [`wire`], `wake` | what every room stands on: a clock, the error of a decoder, how a thread is woken |
//! | `cli` | the `acqbus` program (feature `cli`, on by default; a library user turns it off) |
//!
//! A room uses those below it in this order only: `cli`, `simulator` and `relay`, `rpc` and `cdtp`, `chirp` and `zsocket`, beside these `eventer`,
//! `store` and `event`, one below the other, and `transport` and `udm`, likewise, then `time`, `wire` and `wake`.

pub mod cdtp;
pub mod chirp;
#[cfg(feature = "cli")]
pub mod cli;
pub mod event;
pub mod eventer;
pub mod relay;
pub mod rpc;
pub mod simulator;
pub mod store;
pub mod time;
pub mod transport;
pub mod udm;
mod wake;
pub mod wire;
pub mod zsocket;

/// The Rust code of the README, compiled and run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
