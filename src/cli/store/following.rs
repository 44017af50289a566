//! Events as they come, from a store here or from a server.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};
use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::print::harmless;
use crate::cli::store::args::{Place, Site, open};
use crate::cli::store::remote::Remote;
use crate::cli::store::show;
use crate::event::{Event, EventId, Order, QueryTimeseriesParams};
use crate::eventer::{EventerError, Notice};
use crate::store::{FollowOptions, Followed, Follower, StoreHandle};

/// A store that is followed. One of [`here`](Self::here) and [`there`](Self::there) has news, the other never.
pub(super) struct Following {
    source: Source,
    options: FollowOptions,
    /// The last event of each server that was shown.
    last: HashMap<i64, EventId>,
    nothing_here: Receiver<Followed>,
    nothing_there: Receiver<Notice>,
}

enum Source {
    Here {
        store: StoreHandle,
        follower: Follower,
    },
    There(There),
}

struct There {
    remote: Remote,
    /// What was read from history: what comes live and is not behind it has come already.
    read: HashMap<i64, EventId>,
    is_connected: bool,
}

/// What is to be shown.
pub(super) enum News {
    Events(Vec<Arc<Event>>),
    /// So many could not be kept until they were read.
    Lost(u64),
    /// What became of the connection: as an object, and in words.
    Told(Value, String),
    Nothing,
}

impl Following {
    /// Follows what is named; gives the events that come first.
    pub(super) fn start(
        place: &Place,
        options: FollowOptions,
    ) -> Result<(Self, Vec<Arc<Event>>), Failure> {
        let mut first = Vec::new();
        let source = match place.site()? {
            Site::Here(dir) => {
                let store = open(dir)?;
                let follower = store.follow(&options)?;
                Source::Here { store, follower }
            }
            Site::There(server) => {
                let client = place
                    .client(server)?
                    .subscription(options.event_types.clone())
                    .persisted(options.persisted);
                // Live events are kept from here on, so that none is missed in between.
                let remote = Remote::connect(client)?;
                first = newest(&remote, &options)?;
                let mut read = HashMap::new();
                first.iter().for_each(|event| note(&mut read, event.id));
                Source::There(There {
                    remote,
                    read,
                    is_connected: false,
                })
            }
        };
        let following = Self {
            source,
            options,
            last: HashMap::new(),
            nothing_here: never(),
            nothing_there: never(),
        };
        Ok((following, first))
    }

    /// News of a store here; ends when its owner does.
    pub(super) const fn here(&self) -> &Receiver<Followed> {
        match &self.source {
            Source::Here { follower, .. } => follower.news(),
            Source::There(_) => &self.nothing_here,
        }
    }

    /// News of a server.
    pub(super) fn there(&self) -> &Receiver<Notice> {
        match &self.source {
            Source::Here { .. } => &self.nothing_there,
            Source::There(there) => there.remote.client().notices(),
        }
    }

    /// An event was shown: behind it goes on what must begin anew.
    pub(super) fn shown(&mut self, id: EventId) {
        note(&mut self.last, id);
    }

    /// What to show of what has come from a store here; an end is that of its owner, behind which it goes on.
    pub(super) fn take_here(&mut self, news: Option<Followed>) -> Result<News, Failure> {
        match news {
            Some(Followed::Events(events)) => Ok(News::Events(events)),
            Some(Followed::Lost(count)) => Ok(News::Lost(count)),
            None => self.go_on(),
        }
    }

    /// What to show of what has come from a server; `None` is the end of the client.
    pub(super) fn take_there(&mut self, notice: Option<Notice>) -> Result<News, Failure> {
        let Source::There(there) = &mut self.source else {
            return Ok(News::Nothing);
        };
        let address = there.remote.address();
        match notice {
            Some(Notice::Events(mut events)) => {
                events.retain(|event| {
                    let read = there.read.get(&event.id.server);
                    read.is_none_or(|read| event.id > *read)
                });
                Ok(News::Events(events))
            }
            Some(Notice::WentBack { after, first }) => {
                there.read.remove(&after.server);
                Ok(News::Told(
                    json!({"notice": "wentBack", "after": after.to_string(), "first": first.to_string()}),
                    format!(
                        "the server gives ids again, from {first} on: it lost its latest events"
                    ),
                ))
            }
            Some(notice) => there.tell(&notice),
            None => Err(EventerError::Disconnected {
                address: address.to_owned(),
                reason: "the client has ended".to_owned(),
            }
            .into()),
        }
    }

    /// The program that had the store open has ended: goes on behind what was shown, with the next one or alone.
    fn go_on(&mut self) -> Result<News, Failure> {
        let Source::Here { store, follower } = &mut self.source else {
            return Ok(News::Nothing);
        };
        if let Some(error) = follower.failure() {
            return Err(error.into());
        }
        let behind = self.options.clone().after(self.last.values().copied());
        *follower = store.follow(&behind.last(0))?;
        Ok(News::Told(
            Value::Null,
            "the program that had the store open has ended; still following".to_owned(),
        ))
    }
}

impl There {
    fn tell(&mut self, notice: &Notice) -> Result<News, Failure> {
        let address = harmless(self.remote.address());
        let (object, text) = match notice {
            Notice::Connected { status } => {
                // The first connection goes without saying.
                if !std::mem::replace(&mut self.is_connected, true) {
                    return Ok(News::Nothing);
                }
                (
                    json!({"notice": "connected", "status": show::status(*status)}),
                    format!("connected to {address} again"),
                )
            }
            Notice::Disconnected { reason } => (
                json!({"notice": "disconnected", "reason": reason}),
                format!(
                    "the connection has ended ({}); trying again",
                    harmless(reason)
                ),
            ),
            Notice::Resumed { missed } => (
                json!({"notice": "resumed", "missed": missed}),
                format!("{} meanwhile, which stand above", show::events(*missed)),
            ),
            Notice::CutShort { after, first } => (
                json!({
                    "notice": "cutShort",
                    "after": after.to_string(),
                    "first": first.map(|first| first.to_string()),
                }),
                format!("behind {after} the server does not keep all: some may be missing"),
            ),
            Notice::Status(status) => (
                json!({"notice": "status", "status": show::status(*status)}),
                format!("the server is {} now", show::status(*status)),
            ),
            Notice::Refused { text } => {
                return Err(EventerError::Refused {
                    address,
                    text: harmless(text),
                }
                .into());
            }
            _ => return Ok(News::Nothing),
        };
        Ok(News::Told(object, text))
    }
}

/// The last events that are wanted, the oldest of them first.
fn newest(remote: &Remote, options: &FollowOptions) -> Result<Vec<Arc<Event>>, Failure> {
    if options.last == 0 {
        return Ok(Vec::new());
    }
    let most = i64::try_from(options.last).unwrap_or(i64::MAX);
    let mut params = QueryTimeseriesParams::default()
        .order(Order::Descending)
        .max_results(most);
    params.event_types = Some(options.event_types.query_types());
    let events = remote.client().pages(params);
    let mut events = events.collect::<Result<Vec<_>, _>>()?;
    events.reverse();
    Ok(events)
}

fn note(last: &mut HashMap<i64, EventId>, id: EventId) {
    let last = last.entry(id.server).or_insert(id);
    *last = id.max(*last);
}
