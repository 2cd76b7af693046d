//! The sink's certificate: the user's, or one that is minted when the first client
//! asks for it, since most load tests never do.

use std::io;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use driver::tls::{Clients, ServerConfig};

use super::options::Options;

/// What TLS is done with.
#[derive(Debug)]
pub(super) struct Tls {
    config: OnceLock<Arc<ServerConfig>>,
    /// For the certificate that is minted.
    names: Vec<String>,
}

impl Tls {
    /// Reads the user's certificate, if there is one.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let config = OnceLock::new();
        if let (Some(chain), Some(key)) = (&options.tls_cert, &options.tls_key) {
            let _ = config.set(driver::tls::loaded(chain, key, Clients::Unknown)?);
        }
        let name = options.hostname.name().filter(|name| name.is_ascii());
        let names = name.into_iter().chain(["localhost"]);
        Ok(Self {
            config,
            names: names.map(str::to_owned).collect(),
        })
    }

    /// What a handshake needs.
    pub(super) fn config(&self) -> io::Result<Arc<ServerConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let minted =
            driver::tls::minted(&self.names, Clients::Unknown).map_err(io::Error::other)?;
        // Another thread may have been faster: then all use its certificate.
        Ok(Arc::clone(self.config.get_or_init(|| minted)))
    }
}
