//! The two ways in which a service of this family writes its JSON.

/// How the bodies of a service are written.
///
/// Clients read both without being told; a service writes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Plain JSON objects, as auto-trainer-api 0.9.14 and later.
    #[default]
    Plain,
    /// Published bodies are JSON strings that hold JSON text, replies are compact, as 0.9.7.
    ///
    /// The reference damages values on the way (white space, dashes and minus signs vanish); we do not.
    JsonString,
}
