//! A store that a server has: how it is reached, and what it can be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::store::ask::{Ask, Visit};
use crate::event::{Event, Order, QueryLatestParams, QueryParams, QueryTimeseriesParams};
use crate::eventer::{ClientOptions, ClientTls, EventerClient, EventerError, Token};
use crate::zsocket::read_private;

/// How a server is reached.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Reach {
    /// Ask the server at this address, in place of a directory; its port is 23012 unless given
    #[arg(
        long,
        env = "ACQBUS_SERVER",
        value_name = "HOST[:PORT]",
        help_heading = "Store"
    )]
    pub(super) server: Option<String>,
    /// File with the token that the server wants; only its user may read it (0600)
    #[arg(
        long,
        env = "ACQBUS_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Store"
    )]
    token_file: Option<PathBuf>,
    /// Speak TLS with the server; its certificate must be of a public authority, or of --tls-ca
    #[arg(long, env = "ACQBUS_TLS", help_heading = "Store")]
    tls: bool,
    /// Certificates to trust in place of the public authorities, as PEM; speaks TLS
    #[arg(
        long,
        env = "ACQBUS_TLS_CA",
        value_name = "FILE",
        help_heading = "Store"
    )]
    tls_ca: Option<PathBuf>,
}

impl Reach {
    /// The options of a client of this server, which has this name.
    pub(super) fn options(&self, server: &str) -> Result<ClientOptions, Failure> {
        let token = self.token_file.as_deref().map(token_in).transpose()?;
        let tls = tls(self.tls, self.tls_ca.as_deref())?;
        Ok(ClientOptions::new(server)
            .token(token)
            .tls(tls)
            .timeout(PATIENCE)
            // The user has named the server: its answers may be as large as it likes to make them.
            .max_frame(LARGEST))
    }
}

/// Whom to trust, where TLS is to be spoken.
pub(super) fn tls(is_wanted: bool, ca: Option<&Path>) -> Result<Option<ClientTls>, Failure> {
    Ok(match ca {
        Some(file) => Some(ClientTls::trusting_file(file)?),
        None => is_wanted.then(ClientTls::public),
    })
}

/// The token in a file that nobody else may read; a line feed at its end is none of it.
pub(super) fn token_in(path: &Path) -> Result<Token, Failure> {
    let text = read_private(path).map_err(|error| {
        let failure = Failure::from(error);
        match failure.exit() {
            Exit::Refused => failure.with_hint(format!("chmod 600 {}", path.display())),
            _ => failure.with_hint("another file for --token-file"),
        }
    })?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        return Err(Failure::usage(format!("{} is empty", path.display()))
            .with_hint("a token in it: one line of text"));
    }
    Ok(Token::new(token))
}

/// A server, and a connection to it.
pub(super) struct Remote {
    client: Arc<EventerClient>,
}

impl Remote {
    pub(super) fn connect(options: ClientOptions) -> Result<Self, Failure> {
        Ok(Self {
            client: Arc::new(EventerClient::connect(options)?),
        })
    }

    pub(super) fn client(&self) -> &Arc<EventerClient> {
        &self.client
    }

    /// As it was given.
    pub(super) fn address(&self) -> &str {
        &self.client.options().address
    }

    /// The servers whose events it has: no question tells them, so it is those of the latest event of each type, and of the
    /// first and the last of the time series.
    pub(super) fn servers(&self) -> Result<BTreeSet<i64>, Failure> {
        Ok(self.last_events()?.into_keys().collect())
    }

    /// The last event of each server that these questions show.
    pub(super) fn last_events(&self) -> Result<BTreeMap<i64, Arc<Event>>, Failure> {
        let mut events = self
            .client
            .query(&QueryLatestParams::default().into())?
            .events;
        for order in [Order::Ascending, Order::Descending] {
            let end = QueryTimeseriesParams::default().order(order).max_results(1);
            events.extend(self.client.query(&end.into())?.events);
        }
        let mut last = BTreeMap::new();
        for event in events {
            let newest = last
                .entry(event.id.server)
                .or_insert_with(|| Arc::clone(&event));
            if event.id > newest.id {
                *newest = event;
            }
        }
        Ok(last)
    }
}

impl Ask for Remote {
    fn visit(&self, params: &QueryParams, visit: &mut Visit<'_>) -> Result<bool, Failure> {
        let page = self.client.query(params)?;
        for event in &page.events {
            if visit(event).is_break() {
                return Ok(true);
            }
        }
        Ok(page.more_follows)
    }
}

impl From<EventerError> for Failure {
    fn from(error: EventerError) -> Self {
        let error = match error {
            EventerError::Store(error) => return error.into(),
            error => error,
        };
        let (exit, hint) = match &error {
            EventerError::Refused { .. } => (
                Exit::Refused,
                Some(
                    "--token-file FILE with the token of the server, or without one where it has none",
                ),
            ),
            EventerError::Connect { .. } => (
                Exit::Connection,
                Some(
                    "`acqbus store serve` on that machine, with --bind at an address that this one reaches; or another --server",
                ),
            ),
            EventerError::Disconnected { .. } => (
                Exit::Connection,
                Some("the log of the server, which says why; TLS wants --tls or --tls-ca here"),
            ),
            EventerError::Bind { .. } => (
                Exit::Connection,
                Some("--bind 127.0.0.1:0, which takes a free port; or end what uses this one"),
            ),
            EventerError::NotRegistered { .. } => (
                Exit::Failed,
                Some("again when the server is operational, as acqbus store stats --server tells"),
            ),
            EventerError::Option { option: "bind", .. } => (
                Exit::Usage,
                Some("--token-file FILE, or --insecure for a network that you trust"),
            ),
            EventerError::Option { .. } | EventerError::Event(_) => (Exit::Usage, None),
            EventerError::Tls { .. } => (Exit::Usage, Some("docs/eventer.md, \"Security\"")),
            error if error.is_timeout() => (Exit::TimedOut, None),
            error if error.is_protocol() => (
                Exit::BadData,
                Some(
                    "the port of an eventer server, 23012 unless it says otherwise; one with TLS wants --tls or --tls-ca here",
                ),
            ),
            _ => (Exit::Failed, None),
        };
        let failure = Self::of(exit, &error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// For an answer, and for a connection to stand again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest message that is taken.
const LARGEST: usize = 256 << 20;
