//! Published messages: the two frames that a subscriber gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rpc::dialect::Dialect;
use crate::rpc::json;
use crate::rpc::response::Response;
use crate::rpc::topic::Topic;
use crate::wire::DecodeError;

/// One published message.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub topic: Topic,
    /// The second frame as it came.
    pub body: Vec<u8>,
    /// The start of the service that it belongs to, if the service is one of ours (*ours*).
    pub epoch: Option<u64>,
    /// Its place among the messages of its topic, if the service is one of ours (*ours*).
    pub sequence: Option<u64>,
}

impl Message {
    /// Takes the two frames of a message.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless the topic frame has exactly 4 bytes.
    pub fn decode(topic: &[u8], body: impl Into<Vec<u8>>) -> Result<Self, DecodeError> {
        Ok(Self {
            topic: Topic::from_frame(topic)?,
            body: body.into(),
            epoch: None,
            sequence: None,
        })
    }

    pub(crate) fn published(topic: Topic, body: &[u8], epoch: u64, sequence: u64) -> Self {
        Self {
            topic,
            body: body.to_vec(),
            epoch: Some(epoch),
            sequence: Some(sequence),
        }
    }

    /// Parses the body, whatever the dialect.
    ///
    /// # Errors
    /// A [`DecodeError`] when it is not JSON; raw bytes may be published, too.
    pub fn json(&self, depth_limit: usize) -> Result<Value, DecodeError> {
        json::parse(&self.body, depth_limit)
    }

    /// The heartbeat, if it is one.
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        None
    }

    /// The outcome of a command, if it is one.
    pub fn command_result(&self) -> Option<Response> {
        None
    }
}

/// The body of a heartbeat; the members from `epoch` on are *ours* and absent from other services.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The name of the service.
    pub identifier: String,
    /// The version of the service.
    pub version: String,
    /// When it was sent, in seconds since 1970.
    pub timestamp: f64,
    /// The start of the service that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Its place among the heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The last sequence of each topic, by the number of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<BTreeMap<u32, u64>>,
    /// Time between regular heartbeats, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// Messages that wait to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u64>,
    /// Messages lost since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// How long the delegate has been at its current command, in seconds; 0 when idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate_busy: Option<f64>,
}

/// Adds `epoch` and `sequence` as last members to a body that is an object.
pub fn append_extras(body: &mut Vec<u8>, epoch: u64, sequence: u64, dialect: Dialect) {
    let _ = (body, epoch, sequence, dialect);
}
