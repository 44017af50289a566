//! Rewriting of keys.

use std::borrow::Cow;

/// Rewrites one key to camelCase.
pub fn camelize(key: &str) -> Cow<'_, str> {
    Cow::Borrowed(key)
}

/// Rewrites one key to snake_case.
pub fn decamelize(key: &str) -> Cow<'_, str> {
    Cow::Borrowed(key)
}
