//! Whether a recipient is taken, and what becomes of its mail.

use std::net::IpAddr;

use shared::address::{Domain, Mailbox};
use shared::path::ForwardPath;
use shared::reply::Reply;

use super::persona::Relays;
use super::{ALWAYS, CATCH_ALL};
use crate::config::RelayPolicy;
use crate::settings::{Known, Site};

/// A recipient that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// A user of ours.
    Local {
        /// Their name, in lower case, without an address tag.
        user: String,
    },
    /// Somebody elsewhere: kept by the witness or discarded, never passed on.
    Foreign,
}

/// What counts about a client when it wants to send to foreign domains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// Its address.
    pub(super) address: Option<IpAddr>,
    /// It came by a UNIX socket.
    pub(super) on_this_machine: bool,
    /// It has proven who it is.
    pub(super) authenticated: bool,
    /// What its listener allows.
    pub(super) relay_policy: RelayPolicy,
}

impl Site {
    /// Decides on a recipient of a client.
    pub(super) fn recipient(
        &self,
        path: &ForwardPath,
        client: &Asking,
    ) -> Result<Recipient, Reply> {
        let Some(mailbox) = path.mailbox() else {
            return Ok(Recipient::Local {
                user: "postmaster".into(),
            });
        };
        if self.relay_domains.contains(mailbox.domain()) {
            // A backup MX knows no mailboxes: RFC 5321 §3.6.2.
            return Ok(Recipient::Foreign);
        }
        if !self.is_local(mailbox.domain()) {
            return self.foreign(client);
        }
        match self.user(mailbox) {
            Some(user) => Ok(Recipient::Local { user }),
            None if self.takes(mailbox) => Ok(Recipient::Local {
                user: CATCH_ALL.into(),
            }),
            None if self.persona.relays == Relays::ForAnyone && routes_elsewhere(mailbox) => {
                Ok(Recipient::Foreign)
            }
            None => Err(Reply::of(550, "5.1.1", "no such mailbox here")),
        }
    }

    /// A mailbox of no user exists all the same.
    fn takes(&self, mailbox: &Mailbox) -> bool {
        match &self.recipients {
            Known::Users => false,
            Known::Any => true,
            Known::Listed(list) => list.contain(mailbox),
        }
    }

    /// Whether that client may send to foreign domains.
    fn foreign(&self, client: &Asking) -> Result<Recipient, Reply> {
        let allowed = self.persona.relays == Relays::ForAnyone
            || match client.relay_policy {
                RelayPolicy::Open => true,
                RelayPolicy::Auth => client.authenticated,
                RelayPolicy::Closed => client.authenticated || self.trusts(client),
            };
        allowed
            .then_some(Recipient::Foreign)
            .ok_or_else(|| Reply::of(550, "5.7.1", "relaying denied"))
    }

    /// A client that is known by where it comes from. Nobody is trusted because
    /// nothing is known of them.
    pub(super) fn trusts(&self, client: &Asking) -> bool {
        let address = client.address.map(|address| address.to_canonical());
        let known = |address| {
            let mut networks = self.trusted.iter();
            networks.any(|network| network.contains(&address))
        };
        client.on_this_machine || address.is_some_and(known)
    }

    fn is_local(&self, domain: &Domain) -> bool {
        self.local_domains.contains(domain) || *domain == self.hostname
    }

    /// The user a local mailbox belongs to: in any case of letters, and with an
    /// address tag after `+` ignored (RFC 5233).
    fn user(&self, mailbox: &Mailbox) -> Option<String> {
        let local_part = mailbox.local_part().content().to_lowercase();
        let name = local_part.split('+').next().unwrap_or(&local_part);
        let exists = ALWAYS.contains(&name) || self.users.iter().any(|user| user == name);
        exists.then(|| name.to_owned())
    }
}

/// `user%host`, `host!user` or `"user@host"` before a domain of ours.
fn routes_elsewhere(mailbox: &Mailbox) -> bool {
    mailbox.local_part().content().contains(['%', '!', '@'])
}
