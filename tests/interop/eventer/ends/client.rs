//! A client; each order gets one line as its answer.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acqbus::event::{
    Event, EventType, QueryParams, QueryResult, RegisterEvent, Status, Subscription,
};
use acqbus::eventer::{ClientOptions, EventerClient, EventerError, Notice, Token};
use crossbeam_channel::RecvTimeoutError;
use serde::{Deserialize, Serialize};

use crate::{Failure, say, with_causes};

pub(crate) fn run() -> Result<(), Failure> {
    let mut lines = io::stdin().lock().lines();
    let first = lines.next().ok_or("nothing says what is wanted")??;
    let wanted: Wanted = serde_json::from_str(&first)?;
    let mut options = ClientOptions::new(wanted.address)
        .name(wanted.name)
        .token(wanted.token.map(Token::new))
        .server_id(wanted.server_id)
        .persisted(wanted.persisted)
        .reconnect(wanted.reconnect);
    if let Some(silence) = wanted.ping {
        let silence = Duration::from_secs_f64(silence);
        options = options.keep_alive(silence, silence);
    }
    let connected = Subscription::new(wanted.subscriptions)
        .map_err(EventerError::from)
        .and_then(|subscription| EventerClient::connect(options.subscription(subscription)));
    let client = match connected {
        Ok(client) => client,
        Err(error) => return say(&Answer::Failed(failed(&error))),
    };
    say(&Answer::Status {
        status: client.status(),
    })?;
    for line in lines {
        let order: Order = serde_json::from_str(&line?)?;
        say(&answer(&client, order)?)?;
    }
    client.close();
    Ok(())
}

fn answer(client: &EventerClient, order: Order) -> Result<Answer, Failure> {
    let answer = match order.op.as_str() {
        "register" if order.response => {
            client
                .register(order.events)
                .map(|events| Answer::Registered {
                    events: Some(events),
                })
        }
        "register" => client
            .register_unanswered(order.events)
            .map(|()| Answer::Registered { events: None }),
        "query" => client
            .query(&order.params.ok_or("a query without params")?)
            .map(Answer::Found),
        "status" => Ok(Answer::Status {
            status: client.status(),
        }),
        "notice" => Ok(notice(client, Duration::from_secs_f64(order.seconds))),
        other => return Err(format!("no such order: {other}").into()),
    };
    Ok(answer.unwrap_or_else(|error| match error {
        EventerError::NotRegistered { .. } => Answer::Registered { events: None },
        error => Answer::Failed(failed(&error)),
    }))
}

fn notice(client: &EventerClient, patience: Duration) -> Answer {
    let deadline = Instant::now() + patience;
    let told = |kind| Answer::Told { kind };
    match client.notices().recv_deadline(deadline) {
        Ok(Notice::Connected { .. }) => told("connected"),
        Ok(Notice::Events(value)) => Answer::Events {
            kind: "events",
            value,
        },
        Ok(Notice::Status(value)) => Answer::Changed {
            kind: "status",
            value,
        },
        Ok(Notice::Resumed { .. }) => told("resumed"),
        Ok(Notice::CutShort { .. }) => told("cut short"),
        Ok(Notice::WentBack { .. }) => told("went back"),
        Ok(Notice::Disconnected { .. }) | Err(RecvTimeoutError::Disconnected) => told("closed"),
        Ok(_) => told("another"),
        Err(RecvTimeoutError::Timeout) => Answer::Late { late: true },
    }
}

fn failed(error: &EventerError) -> Failed {
    match error {
        EventerError::Refused { text, .. } => Failed::Refused(text.clone()),
        EventerError::Event(_) | EventerError::Option { .. } => {
            Failed::Impossible(error.to_string())
        }
        error if error.is_connection() || error.is_closed() => Failed::Closed(with_causes(error)),
        error => Failed::Error(with_causes(error)),
    }
}

#[derive(Deserialize)]
struct Wanted {
    address: String,
    name: String,
    token: Option<String>,
    server_id: Option<i64>,
    subscriptions: Vec<EventType>,
    #[serde(default)]
    persisted: bool,
    /// Whether the connection is made again.
    #[serde(default)]
    reconnect: bool,
    /// Seconds of silence before a ping, and after it.
    ping: Option<f64>,
}

#[derive(Deserialize)]
struct Order {
    op: String,
    #[serde(default)]
    events: Vec<RegisterEvent>,
    #[serde(default)]
    response: bool,
    params: Option<QueryParams>,
    #[serde(default)]
    seconds: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Status {
        status: Status,
    },
    Registered {
        events: Option<Vec<Arc<Event>>>,
    },
    Found(QueryResult),
    Events {
        kind: &'static str,
        value: Vec<Arc<Event>>,
    },
    Changed {
        kind: &'static str,
        value: Status,
    },
    Told {
        kind: &'static str,
    },
    Late {
        late: bool,
    },
    Failed(Failed),
}

/// How an order failed: who said no, or what broke.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Failed {
    Refused(String),
    Impossible(String),
    Closed(String),
    Error(String),
}
