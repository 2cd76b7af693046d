//! The mechanisms inside TLS are sound.

use super::super::turn::finding;
use super::super::{
    Check, Context, Evidence, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
    Step,
};
use super::{Offer, ROW, offers};

const ID: &str = "auth-mechs";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are the mechanisms of AUTH sound?",
    severity: Severity::Critical,
    needs: "AUTH and TLS",
    references: &["RFC 4954 §3", "RFC 4616", "RFC 6331", "RFC 7677"],
    localhost: On::Judged("PLAIN, LOGIN, SCRAM or EXTERNAL, inside TLS"),
    remote: On::Judged("PLAIN, LOGIN, SCRAM or EXTERNAL, inside TLS"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_sasl_mechanism_filter, or mech_list in the SASL library's file, or Dovecot's auth_mechanisms",
        ),
        (Mta::Exim, "remove the authenticators"),
        (Mta::Sendmail, "confAUTH_MECHANISMS and TRUST_AUTH_MECH"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let script = Script::new(ID, "a").ehlo(setting.facts.helo());
    vec![script.step(Step::StartTls).quit()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    let mut asked = false;
    for (_, dialogue) in leg.dialogues_for(ID) {
        for offer in offers(dialogue, true) {
            asked = true;
            outcomes.extend(outcome(&offer));
        }
    }
    if asked && outcomes.is_empty() {
        return Finding::skip("AUTH is not offered inside TLS");
    }
    if outcomes.is_empty() {
        return Finding::skip("there is no EHLO inside TLS on this leg");
    }
    finding(leg, ID, outcomes)
}

fn outcome(offer: &Offer<'_>) -> Option<Outcome> {
    let mechanisms = offer.mechanisms.as_ref()?;
    let has = |names: &[&str]| mechanisms.iter().find(|one| names.contains(&one.as_str()));
    let only_windows = mechanisms
        .iter()
        .all(|one| matches!(one.as_str(), "GSSAPI" | "NTLM" | "GSS-SPNEGO"));
    let outcome = if has(&["ANONYMOUS"]).is_some() {
        Outcome::fail(Severity::Critical, "ANONYMOUS is offered: anyone may send")
    } else if mechanisms.is_empty() {
        Outcome::fail(Severity::Medium, "AUTH is offered without a mechanism")
            .advise("look whether what stands behind it runs, and into the log")
    } else if let Some(name) = has(&["NTLM", "DIGEST-MD5", "CRAM-MD5"]) {
        Outcome::warn(format!(
            "{name} is offered: it is broken, or keeps passwords in the clear"
        ))
    } else if only_windows {
        Outcome::warn("only mechanisms of a Windows domain are offered")
    } else {
        Outcome::pass("the mechanisms are sound")
    };
    Some(outcome.seen(Evidence::of(offer.dialogue, offer.hello)))
}
