//! Which relay check a RCPT belongs to, by what was said.

use crate::check::context::is_forged_hello;
use crate::check::observe::{Asked, Parts};
use crate::check::{Facts, literal};

/// The id of the relay check that a RCPT asks, if it asks for relaying at all:
/// the form of the forward-path decides, then the place in the session, then
/// who asks.
pub(super) fn check_of(asked: &Asked<'_>, facts: &Facts) -> Option<&'static str> {
    let path = asked.recipient();
    // A comma is at home in a source route alone.
    let list = path.contains(',') && !path.starts_with('@');
    if list || path.contains(['<', '>']) {
        return None;
    }
    let parts = Parts::of(&path);
    if let Some(check) = odd_form(&parts, facts) {
        return Some(check);
    }
    let domain = parts.domain.filter(|domain| !domain.is_empty())?;
    if facts.is_own(domain) || facts.relay_domain.as_deref() == Some(domain) {
        return None;
    }
    let sender = asked.sender();
    Some(if has_local_company(asked, facts) {
        "relay-mixed"
    } else if is_forged_hello(&asked.hello_name(), facts) {
        "relay-helo-trust"
    } else if sender.is_empty() {
        "relay-null-sender"
    } else if is_own_sender(&sender, facts) {
        "relay-own-sender"
    } else {
        "relay-plain"
    })
}

/// The checks whose forward-path alone says what they ask.
fn odd_form(parts: &Parts<'_>, facts: &Facts) -> Option<&'static str> {
    let domain = parts.domain;
    let own = domain.is_none_or(|domain| domain.is_empty() || facts.is_own(domain));
    if parts.routed {
        return (!own).then_some("relay-source-route");
    }
    if parts.is_quoted() {
        let routes = parts.local.contains(['@', '%']);
        return (own && routes).then_some("relay-quoted-local");
    }
    if parts.local.contains('@') || domain == Some("") && is_foreign(parts.local, facts) {
        return Some("relay-double-at");
    }
    if parts.local.contains('!') {
        return own.then_some("relay-bang-path");
    }
    if parts.local.contains('%') {
        return own.then_some("relay-percent-hack");
    }
    let domain = domain?;
    if is_witness_address(domain, facts) {
        return Some("relay-literal");
    }
    is_near_miss(domain, facts).then_some("relay-domain-match")
}

fn is_foreign(path: &str, facts: &Facts) -> bool {
    Parts::of(path)
        .domain
        .is_some_and(|domain| !facts.is_own(domain))
}

/// An address as domain, with or without brackets, that is not the server's.
fn is_witness_address(domain: &str, facts: &Facts) -> bool {
    let bare = domain.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.strip_prefix("IPv6:").unwrap_or(bare);
    bare.parse()
        .is_ok_and(|ip| Some(ip) != facts.server_ip && !facts.is_own(&literal(ip)))
}

/// A domain that only over-wide matching takes for one of the server's, or a
/// foreign one in an unusual spelling.
fn is_near_miss(domain: &str, facts: &Facts) -> bool {
    if facts.is_own(domain) {
        return false;
    }
    let domain = domain.to_ascii_lowercase();
    let near = facts.local_domains.iter().any(|own| {
        let own = own.to_ascii_lowercase();
        domain.ends_with(&own)
            || domain
                .strip_prefix(&own)
                .is_some_and(|rest| rest.starts_with('.'))
    });
    near || domain.ends_with('.')
}

/// A sender by which only the server's own users may call themselves.
pub(super) fn is_own_sender(sender: &str, facts: &Facts) -> bool {
    !sender.is_empty()
        && Parts::of(sender)
            .domain
            .is_none_or(|domain| facts.is_own(domain))
}

/// The same dialogue asks for a recipient of the server's own as well.
fn has_local_company(asked: &Asked<'_>, facts: &Facts) -> bool {
    Asked::all(asked.order.0, asked.dialogue)
        .iter()
        .any(|other| {
            let path = other.recipient();
            let parts = Parts::of(&path);
            let own = parts.domain.is_some_and(|domain| facts.is_own(domain));
            own && odd_form(&parts, facts).is_none()
        })
}
