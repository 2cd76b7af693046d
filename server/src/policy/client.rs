//! Who the client is: what its connection shows, and what a trusted proxy says
//! of it instead.

use std::net::IpAddr;

use driver::socket::Endpoint;
use shared::extension::{Attribute, Xclient, Xforward};

/// A client, as the server takes it to be.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The other end of the connection.
    endpoint: Endpoint,
    /// What XCLIENT has said instead.
    said: Xclient,
    /// What XFORWARD has said of the client before it; for the account alone.
    forwarded: Option<Xforward>,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            said: Xclient::default(),
            forwarded: None,
        }
    }

    /// Its address, as far as that is known: none for a client at a UNIX socket,
    /// and for one of which the proxy says that it has none.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match &self.said.addr {
            Some(said) => said.given().copied(),
            None => self.endpoint.ip(),
        }
    }

    /// It is on this machine, for sure, though it has no address.
    pub(super) fn is_at_a_unix_socket(&self) -> bool {
        matches!(self.endpoint, Endpoint::Unix(_)) && self.said.addr.is_none()
    }

    /// Where the connection itself comes from: what decides whether XCLIENT and
    /// XFORWARD are believed.
    pub(super) fn connected_from(&self) -> Option<IpAddr> {
        self.endpoint.ip()
    }

    /// Its name, if a proxy gave one.
    pub(super) fn name(&self) -> Option<&str> {
        self.said
            .name
            .as_ref()
            .and_then(Attribute::given)
            .map(String::as_str)
    }

    /// Takes what XCLIENT says.
    pub(super) fn become_client(&mut self, said: &Xclient) {
        let before = std::mem::take(&mut self.said);
        self.said = before.then(said.clone());
        self.forwarded = None;
    }

    /// Takes what XFORWARD says.
    pub(super) fn forward(&mut self, said: &Xforward) {
        let before = self.forwarded.take().unwrap_or_default();
        self.forwarded = Some(before.then(said.clone()));
    }

    /// What XFORWARD has said.
    pub(super) fn forwarded(&self) -> Option<String> {
        self.forwarded.as_ref().map(ToString::to_string)
    }

    /// What was forwarded is for one transaction (Postfix's XFORWARD_README).
    pub(super) fn forget_forwarded(&mut self) {
        self.forwarded = None;
    }
}
