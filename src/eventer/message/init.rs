//! How a client begins.

use std::fmt;

use zeroize::Zeroize;

use crate::event::EventType;
use crate::eventer::message::{event, read_optional, write_optional};
use crate::eventer::sbs::{Reader, Writer};
use crate::wire::DecodeError;

/// Who a client is, and which events it wants.
///
/// The token is not shown, and erased from memory when this is dropped; what was encoded is for the caller to keep safe.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct InitReq {
    /// Its name, by custom `type/name`.
    pub client_name: String,
    /// What shows that it may; `None` by default.
    pub client_token: Option<String>,
    /// Query types of the events it wants; none by default.
    pub subscriptions: Vec<EventType>,
    /// The only server whose events it wants; `None`, the default, for all.
    pub server_id: Option<i64>,
    /// Whether it wants events when they are on disk, rather than when they are registered; `false` by default.
    pub persisted: bool,
}

impl InitReq {
    /// A client of a name, which wants nothing.
    #[must_use]
    pub fn new(client_name: impl Into<String>) -> Self {
        Self {
            client_name: client_name.into(),
            client_token: None,
            subscriptions: Vec::new(),
            server_id: None,
            persisted: false,
        }
    }
}

impl Drop for InitReq {
    fn drop(&mut self) {
        self.client_token.zeroize();
    }
}

impl fmt::Debug for InitReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.client_token.as_ref().map(|_| format_args!("hidden"));
        f.debug_struct("InitReq")
            .field("client_name", &self.client_name)
            .field("client_token", &shown)
            .field("subscriptions", &self.subscriptions)
            .field("server_id", &self.server_id)
            .field("persisted", &self.persisted)
            .finish()
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<InitReq, DecodeError> {
    let mut request = InitReq::new(reader.string("the name of the client")?);
    let what = "the token of the client";
    request.client_token =
        read_optional(what, reader, |reader| reader.string(what).map(String::from))?;
    request.subscriptions = event::read_event_types("the subscriptions", reader)?;
    let what = "the id of the server";
    request.server_id = read_optional(what, reader, |reader| reader.integer(what))?;
    request.persisted = reader.boolean("the persisted flag")?;
    Ok(request)
}

pub(super) fn write(request: &InitReq, writer: &mut Writer<'_>) {
    writer.string(&request.client_name);
    write_optional(request.client_token.as_deref(), writer, |token, writer| {
        writer.string(token);
    });
    event::write_event_types(&request.subscriptions, writer);
    write_optional(request.server_id, writer, |id, writer| writer.integer(id));
    writer.boolean(request.persisted);
}
