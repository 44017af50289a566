//! Nonces: what ties a reply, and a later result, to its request.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::rpc::json;

/// What ties a reply, and a later command result, to its request.
///
/// Clients of this family send integers; any JSON value is echoed.
#[derive(Clone)]
pub struct Nonce(Value);

impl Nonce {
    /// A nonce of any JSON value.
    pub const fn new(value: Value) -> Self {
        Self(value)
    }

    /// The JSON value.
    pub const fn value(&self) -> &Value {
        &self.0
    }

    /// The number, if it is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    /// The JSON text, by which nonces are compared: `1e5` and `100000.0` are one.
    fn text(&self) -> String {
        let mut text = Vec::new();
        json::write_value(&self.0, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl From<i64> for Nonce {
    fn from(number: i64) -> Self {
        Self(Value::from(number))
    }
}

impl fmt::Display for Nonce {
    /// The JSON text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", self.text())
    }
}

impl PartialEq for Nonce {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.text() == other.text()
    }
}

impl Eq for Nonce {}

impl Hash for Nonce {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}
