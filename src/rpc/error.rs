//! The error of the control plane.

use crate::wire::DecodeError;

/// What went wrong on the control plane.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// A value cannot be written as JSON; the text says which part of it.
    #[error("the value cannot be written as JSON: {reason}")]
    Serialize {
        /// What could not be written.
        reason: String,
    },
    /// Data that came is not of the type that the caller wants.
    #[error("the data is not of the wanted type")]
    Data(#[source] serde_json::Error),
    /// Bytes that came cannot be read.
    #[error("the bytes cannot be read")]
    Decode(#[from] DecodeError),
}

impl RpcError {
    /// Whether what came from the other side could not be read.
    pub fn is_bad_data(&self) -> bool {
        matches!(self, Self::Data(_) | Self::Decode(_))
    }
}

impl serde::ser::Error for RpcError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Serialize {
            reason: message.to_string(),
        }
    }
}
