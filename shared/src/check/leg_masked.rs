//! The server sees who the client is, not a proxy, a NAT or a bridge.
//!
//! Where client addresses are hidden behind one that the server trusts, every
//! stranger inherits that trust: the most common cause of an accidental open
//! relay.

use std::net::IpAddr;

use super::received::client_seen;
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Setting, Severity, Stop,
};

pub(super) const CHECK: Check = Check {
    id: "leg-masked",
    group: Group::Conn,
    question: "Does the server see the client's own address?",
    severity: Severity::High,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "a server that repeats the client's address, or a message that arrived",
    references: &["RFC 5321 §4.4", "RFC 2505 §2.1"],
    localhost: On::Skip,
    remote: On::Judged("the client's own address, or a public one"),
    authenticated: On::Skip,
    scripts: |_: &Setting<'_>| Vec::new(),
    judge,
    cures: &[
        (
            Mta::Postfix,
            "publish the port without source NAT, or speak the PROXY protocol (smtpd_upstream_proxy_protocol); never list the gateway in mynetworks",
        ),
        (
            Mta::Exim,
            "publish the port without source NAT, or speak the PROXY protocol (hosts_proxy); never list the gateway in relay_from_hosts",
        ),
        (
            Mta::OpenSmtpd,
            "publish the port without source NAT, or listen … proxy-v2; no `match from src` that covers the gateway",
        ),
        (
            Mta::Sendmail,
            "publish the port without source NAT; no RELAY entry that covers the gateway",
        ),
    ],
};

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let Some((seen, evidence)) = client_seen(leg) else {
        return Finding::skip("the server does not say whom it sees");
    };
    let client = leg.dialogues.iter().find_map(|dialogue| dialogue.client);
    let client = client.map(|client| client.ip().to_canonical());
    let outcome = if Some(seen) == client {
        Outcome::pass("the server sees the client's own address")
    } else if is_inside(seen) {
        Outcome::warn(format!("the server takes the client for {seen}")).advise(
            "a NAT, a proxy or a container bridge hides client addresses: every outside client may inherit the trust of that address",
        )
    } else {
        Outcome::pass("the server sees a public address, as behind the client's own NAT")
    };
    Finding::worst(vec![outcome.seen(evidence)], "")
}

/// Loopback, private or link-local: an address no stranger has.
pub(super) fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
    }
}
