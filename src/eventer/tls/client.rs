//! What a client trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::eventer::EventerError;
use crate::eventer::tls::refused;

/// TLS of a client: whom it trusts, and which name the server's certificate must have.
///
/// TLS 1.2 or 1.3; the server's certificate is always verified. Source: chatter's TLS connections, where it is optional too.
///
/// # Examples
/// ```
/// use acqbus::eventer::ClientTls;
///
/// let tls = ClientTls::public().server_name("history.example.org");
/// assert!(ClientTls::trusting(b"no certificate").is_err());
/// # drop(tls);
/// ```
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Trusts the public authorities that browsers trust, as of the build of this crate.
    #[must_use]
    pub fn public() -> Self {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::with_roots(roots)
    }

    /// Trusts the certificates of a PEM text and nothing else: an authority's, or the server's own.
    ///
    /// # Errors
    /// [`EventerError::Tls`] unless there is at least one certificate and all of them can be read.
    pub fn trusting(pem: &[u8]) -> Result<Self, EventerError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate
                .map_err(|error| refused("the trusted certificates cannot be read", error))?;
            roots
                .add(certificate)
                .map_err(|error| refused("a trusted certificate cannot be used", error))?;
        }
        if roots.is_empty() {
            return Err(EventerError::Tls {
                reason: "there is no certificate to trust".to_owned(),
                source: None,
            });
        }
        Ok(Self::with_roots(roots))
    }

    /// Trusts the certificates of a PEM file, as [`trusting`](Self::trusting).
    ///
    /// # Errors
    /// [`EventerError::Tls`] if the file cannot be read, and as [`trusting`](Self::trusting).
    pub fn trusting_file(path: impl AsRef<Path>) -> Result<Self, EventerError> {
        let path = path.as_ref();
        let pem = std::fs::read(path)
            .map_err(|error| refused(&format!("cannot read {}", path.display()), error))?;
        Self::trusting(&pem)
    }

    /// Sets the name that the certificate must have. Default the host of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// A connection to a host, before its handshake.
    pub(crate) fn connection(&self, host: &str) -> Result<ClientConnection, EventerError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|error| refused(&format!("{name:?} is no name of a server"), error))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), server_name)
            .map_err(|error| refused("a connection cannot be set up", error))?;
        // Frames have a limit of their own.
        connection.set_buffer_limit(None);
        Ok(connection)
    }

    fn with_roots(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // The provider of this very version.
            .expect("ring has ciphers for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            config: Arc::new(config),
            server_name: None,
        }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
