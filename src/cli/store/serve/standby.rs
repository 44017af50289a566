//! The other one of two servers, which this one follows.

use std::time::Duration;

use clap::Args;

use crate::cli::args::seconds;
use crate::cli::exit::Failure;
use crate::cli::store::remote::tls;
use crate::eventer::{ClientOptions, SyncOptions, Token};

/// The other one of two servers.
#[derive(Debug, Clone, Args)]
pub(super) struct Follow {
    /// Follow the server at this address and take over when it has gone; it is shown the token of --token-file
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Standby")]
    standby_of: Option<String>,
    /// Server number of that server [default: 1, for server 1 itself 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true, requires = "standby_of", help_heading = "Standby")]
    remote_id: Option<i64>,
    /// Take over when it has been gone for so many seconds; the one with the greater number waits twice as long
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds, allow_negative_numbers = true, help_heading = "Standby")]
    take_over_after: Duration,
    /// Speak TLS with it; its certificate must be of a public authority, or of --tls-ca
    #[arg(long, env = "ACQBUS_TLS", help_heading = "Standby")]
    tls: bool,
    /// Certificates to trust in place of the public authorities, as PEM; speaks TLS
    #[arg(
        long,
        env = "ACQBUS_TLS_CA",
        value_name = "FILE",
        help_heading = "Standby"
    )]
    tls_ca: Option<std::path::PathBuf>,
}

/// Whom a server follows, and how long it waits for him.
pub(super) struct Rival {
    pub(super) sync: SyncOptions,
    pub(super) take_over_after: Duration,
}

impl Follow {
    /// The other server, if there is to be one.
    pub(super) fn rival(
        &self,
        server_id: i64,
        token: Option<Token>,
    ) -> Result<Option<Rival>, Failure> {
        let Some(address) = &self.standby_of else {
            return Ok(None);
        };
        let remote = self.remote_id.unwrap_or(if server_id == 1 { 2 } else { 1 });
        if remote == server_id {
            return Err(Failure::usage(format!(
                "server {server_id} cannot follow itself: two servers have two numbers"
            ))
            .with_hint("another --server-id here, or --remote-id N"));
        }
        let client = ClientOptions::new(address)
            .token(token)
            .tls(tls(self.tls, self.tls_ca.as_deref())?);
        Ok(Some(Rival {
            sync: SyncOptions::new(client, server_id, remote),
            take_over_after: self.take_over_after,
        }))
    }
}
