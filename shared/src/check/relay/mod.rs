//! Anti-relay: will the server carry a stranger's mail to strangers?
//!
//! All checks of this group share one rule (`rule`), which reads the answer to
//! RCPT, and one map (`form`), which says of any RCPT which check it belongs
//! to. An accepted RCPT is called unproven: what the server does with the
//! message is only known once one has arrived elsewhere.

mod form;
mod rule;

pub(super) mod bang_path;
pub(super) mod domain_match;
pub(super) mod double_at;
pub(super) mod helo_trust;
pub(super) mod literal;
pub(super) mod mixed;
pub(super) mod null_sender;
pub(super) mod own_sender;
pub(super) mod percent_hack;
pub(super) mod plain;
pub(super) mod quoted_local;
pub(super) mod source_route;

use super::{Context, Facts, Finding, Group, Leg, Mta, On, Safety, Setting, Severity, Stop};

/// A row of this group: the id, the question, the scripts, the judge and the
/// cures differ, the rest is common.
const fn check(
    id: &'static str,
    question: &'static str,
    scripts: fn(&Setting<'_>) -> Vec<super::Script>,
    judge: fn(&Leg<'_>, &Facts, &Context<'_>) -> Finding,
    own: (&'static [&'static str], &'static [(Mta, &'static str)]),
) -> super::Check {
    super::Check {
        id,
        group: Group::Relay,
        question,
        severity: Severity::Critical,
        safety: Safety::Harmless,
        stop: Stop::PreData,
        needs: "a mailbox elsewhere, in a domain that resolves and takes mail",
        references: own.0,
        localhost: On::Skip,
        remote: On::Judged("refused for good"),
        authenticated: On::Skip,
        scripts,
        judge,
        cures: own.1,
    }
}

/// The destinations through which a server could be made to forward: its
/// address, its name, its domain.
fn through(setting: &Setting<'_>) -> [Option<String>; 3] {
    let facts = setting.facts;
    [
        facts.server_literal(),
        facts.server_name.clone(),
        facts.local_domain().map(str::to_owned),
    ]
}

const RELAY_POSTFIX: &str = "shrink mynetworks (postconf -n shows it); smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, with no OK rule before the last; relay_domains only what is really relayed";
const RELAY_EXIM: &str = "shrink relay_from_hosts (Debian: dc_relay_nets, dc_relay_domains); in the ACL of acl_smtp_rcpt: accept hosts = +relay_from_hosts, then require domains = +local_domains : +relay_to_domains";
const RELAY_OPENSMTPD: &str = "no `match from any for any` without `auth`; use `match from local for any`, `match from src <table> for any`, `match auth from any for any`";
const RELAY_SENDMAIL: &str = "remove RELAY entries from the access map and names from relay-domains (class R); remove FEATURE(promiscuous_relay)";

/// The cures that close a relay whatever opened it.
const CURES: &[(Mta, &str)] = &[
    (Mta::Postfix, RELAY_POSTFIX),
    (Mta::Exim, RELAY_EXIM),
    (Mta::OpenSmtpd, RELAY_OPENSMTPD),
    (Mta::Sendmail, RELAY_SENDMAIL),
];
