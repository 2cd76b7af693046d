//! AUTH is for submission, not for the port where mail comes in (RFC 6409 §3.1).

use super::super::turn::finding;
use super::super::{
    Check, Context, Evidence, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
    Step,
};
use super::{ROW, offers};

const ID: &str = "auth-port25";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Is AUTH kept off port 25?",
    severity: Severity::Medium,
    references: &["RFC 6409 §3.1", "RFC 8314 §3.3"],
    remote: On::Judged("no AUTH on port 25"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_sasl_auth_enable = no in main.cf, and -o smtpd_sasl_auth_enable=yes for the submission services",
        ),
        (
            Mta::Exim,
            "auth_advertise_hosts with a condition on $received_port",
        ),
        (Mta::OpenSmtpd, "auth on the submission listener only"),
        (
            Mta::Sendmail,
            "A in srv_features, and a daemon of its own with M=Ea",
        ),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let script = Script::new(ID, "a").ehlo(setting.facts.helo());
    vec![script.step(Step::StartTls).quit()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    for (_, dialogue) in leg.dialogues_for(ID) {
        let all = offers(dialogue, false).chain(offers(dialogue, true));
        let seen = all
            .map(|offer| (offer.mechanisms.is_some(), offer.hello))
            .max_by_key(|(offered, _)| *offered);
        let Some((offered, hello)) = seen else {
            continue;
        };
        let port = dialogue.server.map(|server| server.port());
        let outcome = match (offered, port) {
            (false, _) => Outcome::pass("AUTH is not offered"),
            (true, Some(25)) => Outcome::info("AUTH is offered on port 25").advise(
                "if users submit on port 587 or 465, do not offer it here: passwords are guessed most where most connections come in",
            ),
            (true, _) => Outcome::info("AUTH is offered; this is not port 25"),
        };
        outcomes.push(outcome.seen(Evidence::of(dialogue, hello)));
    }
    finding(leg, ID, outcomes)
}
