//! Where a server listens, and whom it lets in.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Exit, Failure};
use crate::cli::store::remote::token_in;
use crate::eventer::{ServerOptions, ServerTls};
use crate::zsocket::read_private;

/// Where a server listens, and whom it lets in.
#[derive(Debug, Clone, Args)]
pub(super) struct Door {
    /// Address to listen at, with its port; port 0 takes any free one
    #[arg(
        long,
        env = "ACQBUS_BIND",
        value_name = "HOST[:PORT]",
        default_value = "127.0.0.1:23012",
        value_parser = address,
        help_heading = "Server"
    )]
    bind: SocketAddr,
    /// File with the token that clients must show; only its user may read it (0600)
    #[arg(
        long,
        env = "ACQBUS_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Server"
    )]
    token_file: Option<PathBuf>,
    /// Let in whoever comes, also at an address that other machines reach
    #[arg(long, help_heading = "Server")]
    insecure: bool,
    /// Certificate of the server, as PEM: encrypts
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Server"
    )]
    tls_cert: Option<PathBuf>,
    /// Its private key, as PEM; only its user may read it (0600)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Server"
    )]
    tls_key: Option<PathBuf>,
}

impl Door {
    pub(super) fn options(&self) -> Result<ServerOptions, Failure> {
        let token = self.token_file.as_deref().map(token_in).transpose()?;
        Ok(ServerOptions::default()
            .bind(self.bind)
            .token(token)
            .insecure(self.insecure)
            .tls(self.tls()?))
    }

    fn tls(&self) -> Result<Option<ServerTls>, Failure> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let certificate = std::fs::read(certificate).map_err(|error| {
            Failure::of(Exit::Usage, &error)
                .while_doing(certificate.display())
                .with_hint("another file for --tls-cert")
        })?;
        let key = read_private(key)?;
        Ok(Some(ServerTls::new(&certificate, key.as_bytes())?))
    }
}

/// Reads where to listen: HOST:PORT, or HOST alone for the port of eventers.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = match text.to_socket_addrs() {
        Ok(found) => found,
        // Without a port, also an IPv6 address that has colons of its own.
        Err(_) => {
            let host = text.trim_start_matches('[').trim_end_matches(']');
            (host, PORT)
                .to_socket_addrs()
                .map_err(|error| format!("no address: {error}"))?
        }
    };
    let mut found = found;
    found
        .next()
        .ok_or_else(|| "no address of a machine".to_owned())
}

/// The port of hat-event's eventer.
const PORT: u16 = 23012;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_the_port_of_eventers_unless_it_says_another() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1:23012"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:5", "0.0.0.0:5"),
            ("::1", "[::1]:23012"),
            ("[::1]", "[::1]:23012"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "127.0.0.1:x", "1.2.3.4:70000", "a b"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
