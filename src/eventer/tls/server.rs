//! What a server presents.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use zeroize::Zeroizing;

use crate::eventer::EventerError;
use crate::eventer::tls::refused;

/// TLS of a server: its certificate, and the key of it.
///
/// TLS 1.2 or 1.3. Clients show no certificate: who they are they prove by their token. `Debug` shows nothing of the key.
///
/// # Examples
/// ```
/// use acqbus::eventer::ServerTls;
///
/// assert!(ServerTls::new(b"no certificate", b"no key").is_err());
/// ```
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// Presents the certificates of a PEM text, the server's own first, with the private key of another.
    ///
    /// # Errors
    /// [`EventerError::Tls`] unless there is a certificate and a key, both can be read, and they belong together.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, EventerError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refused("the certificates of the server cannot be read", error))?;
        if chain.is_empty() {
            return Err(EventerError::Tls {
                reason: "there is no certificate of the server".to_owned(),
                source: None,
            });
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| refused("the key of the server cannot be read", error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("no protocol version can be used", error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| refused("certificate and key of the server cannot be used", error))?;
        Ok(Self(Arc::new(config)))
    }

    /// Presents the certificates of a PEM file with the key of another, as [`new`](Self::new).
    ///
    /// # Errors
    /// [`EventerError::Tls`] if a file cannot be read, and as [`new`](Self::new).
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, EventerError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map(Zeroizing::new)
                .map_err(|error| refused(&format!("cannot read {}", path.display()), error))
        };
        Self::new(&read(certificates.as_ref())?, &read(key.as_ref())?)
    }

    /// A connection before its handshake.
    pub(crate) fn connection(&self) -> Result<ServerConnection, EventerError> {
        ServerConnection::new(Arc::clone(&self.0))
            .map_err(|error| refused("a connection cannot be set up", error))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}
