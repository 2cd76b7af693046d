//! The server accepts and delivers a message for one of its own users.

use super::delivery::{From, judge as judge_delivery};
use super::{
    Check, Context, Facts, Finding, Group, Leg, LegKind, Mta, On, Safety, Script, Setting,
    Severity, Step, Stop,
};

const ID: &str = "deliver-self";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Deliver,
    question: "Is a message to one of its own users accepted and delivered?",
    severity: Severity::Critical,
    safety: Safety::Harmless,
    stop: Stop::SelfMessage,
    needs: "a local mailbox",
    references: &[
        "RFC 5321 §3.3",
        "RFC 5321 §4.1.1.4",
        "RFC 5321 §4.5.3.2",
        "RFC 5321 §6.1",
    ],
    localhost: On::Judged("delivered"),
    remote: On::Judged("delivered"),
    authenticated: On::Judged("delivered"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "name the domain in mydestination, virtual_alias_domains or virtual_mailbox_domains (one of them), and the user in its table: local_recipient_maps, alias_maps, virtual_mailbox_maps",
        ),
        (
            Mta::Exim,
            "name the domain in local_domains (Debian: dc_other_hostnames) and see `exim -bt user@domain` for the router that takes it",
        ),
        (
            Mta::OpenSmtpd,
            "match from any for domain example.net action …, and an action whose userbase or alias table has the user",
        ),
        (
            Mta::Sendmail,
            "name the domain in local-host-names (class w) and the user in aliases",
        ),
    ],
};

/// From itself the server hears both names a local program may use; from
/// elsewhere a second delivery goes through TLS where that is offered.
fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(to), Some(from)) = (facts.local_mailbox(), facts.sender(setting.kind)) else {
        return Vec::new();
    };
    let message = |case, hello: &str| {
        let message = Step::Message {
            from: from.clone(),
            to: to.clone(),
        };
        Script::new(ID, case).ehlo(hello).step(message).quit()
    };
    if setting.kind == LegKind::Localhost {
        let named = facts
            .server_name
            .as_deref()
            .map(|name| message("named", name));
        return [message("plain", "localhost")]
            .into_iter()
            .chain(named)
            .collect();
    }
    let plain = message("plain", facts.helo());
    let tls = setting
        .offers("STARTTLS")
        .then(|| message("tls", facts.helo()).in_tls());
    [plain].into_iter().chain(tls).collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, _: &Context<'_>) -> Finding {
    judge_delivery((ID, From::Sender), leg, facts, &|_, outcome| outcome)
}
