//! The only door to the `zmq` crate.
