//! What lies under the exchange.

use std::fmt;

/// The connection as SASL sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// TLS that exchanges can be bound to.
    Bound(ChannelBinding),
    /// No TLS.
    #[default]
    Clear,
    /// TLS that exchanges cannot be bound to: older than 1.3.
    Tls,
}

impl Channel {
    /// It is TLS.
    pub const fn is_tls(&self) -> bool {
        !matches!(self, Self::Clear)
    }

    /// What to bind to.
    pub const fn binding(&self) -> Option<&ChannelBinding> {
        match self {
            Self::Bound(binding) => Some(binding),
            Self::Clear | Self::Tls => None,
        }
    }
}

/// What both ends of a TLS session can compute and nobody else: `tls-exporter`
/// (RFC 9266).
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding([u8; Self::LENGTH]);

impl ChannelBinding {
    /// The name of this kind of binding.
    pub const NAME: &'static str = "tls-exporter";
    /// The label of the TLS exporter (RFC 9266 §2); its context is empty.
    pub const LABEL: &'static [u8] = b"EXPORTER-Channel-Binding";
    /// Octets to export.
    pub const LENGTH: usize = 32;

    /// From exported keying material.
    pub const fn new(material: [u8; Self::LENGTH]) -> Self {
        Self(material)
    }

    pub(super) const fn material(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(********)")
    }
}

/// Whether the server's EHLO reply listed mechanisms with channel binding. Both
/// ends must know it to notice that someone took them out of the list
/// (RFC 5802 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plus {
    /// It did not.
    #[default]
    Absent,
    /// It did.
    Offered,
}

impl Plus {
    /// What a list of mechanisms says.
    pub fn of<S: AsRef<str>>(offered: &[S]) -> Self {
        let plus = |name: &S| super::find(name.as_ref()).is_some_and(|m| m.channel_binding);
        if offered.iter().any(plus) {
            Self::Offered
        } else {
            Self::Absent
        }
    }
}
