//! The rule all relay checks share: what the answer to RCPT means.

use super::form;
use crate::check::observe::{
    Asked, Class, Parts, Stopped, asked, is_identity_refusal, is_soft_relay_refusal,
    is_syntax_refusal, wants_tls,
};
use crate::check::recipients::{deferred, undecided};
use crate::check::{Context, Facts, Finding, Leg, LegKind, Outcome, Severity};
use crate::reply::Reply;

/// Judges the RCPTs of a leg that belong to the check.
pub(super) fn judge(
    check: &'static str,
    leg: &Leg<'_>,
    facts: &Facts,
    context: &Context<'_>,
) -> Finding {
    if facts.local_domains.is_empty() {
        return Finding::skip("not known which domains are the server's own: name one");
    }
    let asked: Vec<Asked<'_>> = asked(leg, check)
        .into_iter()
        .filter(|asked| {
            match (
                asked.dialogue.facts.get("check"),
                form::check_of(asked, facts),
            ) {
                (_, None) => false,
                (Some(_), Some(_)) => true,
                (None, Some(form)) => form == check,
            }
        })
        .collect();
    let mut outcomes: Vec<Outcome> = asked
        .iter()
        .map(|asked| match leg.kind {
            LegKind::Localhost => trusted(asked),
            LegKind::Authenticated => authenticated(asked),
            LegKind::OwnAddress | LegKind::Remote => Rule {
                check,
                facts,
                context,
            }
            .apply(asked),
        })
        .collect();
    outcomes.extend(unreached(check, leg, context, &asked));
    Finding::worst(outcomes, "not asked on this leg")
}

struct Rule<'a> {
    check: &'static str,
    facts: &'a Facts,
    context: &'a Context<'a>,
}

impl Rule<'_> {
    /// The rows of the rule, from the top.
    fn apply(&self, asked: &Asked<'_>) -> Outcome {
        let outcome = match (asked.class(), asked.reply()) {
            (_, Some(reply)) if wants_tls(reply) => {
                Outcome::inconclusive("the server asks for STARTTLS first", "ask again inside TLS")
            }
            (Class::Permanent | Class::Transient, Some(reply)) => {
                let outcome = self.refused(reply);
                let outcome = outcome.seen(asked.evidence());
                return self.context.unless_refusing_everyone(asked.order, outcome);
            }
            (Class::Accepted, _) => self.accepted(asked),
            (class, _) => undecided(class),
        };
        outcome.seen(asked.evidence())
    }

    fn refused(&self, reply: &Reply) -> Outcome {
        let forged = matches!(self.check, "relay-own-sender" | "relay-helo-trust");
        if is_identity_refusal(reply) {
            return if forged {
                Outcome::pass("the forged identity itself is refused")
            } else {
                Outcome::inconclusive(
                    "refused for who asks, the relay rule was not reached",
                    "repeat with a client address, EHLO name and sender that the server has nothing against",
                )
            };
        }
        if is_soft_relay_refusal(reply) {
            return Outcome::warn("relaying is refused, but only as temporary").advise(
                "make the refusal permanent (Postfix: reject_unauth_destination in smtpd_relay_restrictions)",
            );
        }
        if Class::of_reply(reply) == Class::Transient {
            return deferred(reply);
        }
        if is_syntax_refusal(reply) {
            Outcome::pass("refused, the form is not understood")
        } else {
            Outcome::pass("refused")
        }
    }

    fn accepted(&self, asked: &Asked<'_>) -> Outcome {
        let path = asked.recipient();
        let parts = Parts::of(&path);
        let foreign = parts
            .domain
            .is_some_and(|domain| !domain.is_empty() && !self.facts.is_own(domain));
        let told = crate::check::finding::escape(path.as_bytes());
        let fail = || {
            Outcome::fail(Severity::Critical, format!("<{told}> is accepted, unproven")).advise(
                "prove it with a witness mailbox: only a message that arrives there is a relayed one",
            )
        };
        if foreign {
            let domain = parts.domain.unwrap_or_default();
            let own = self.facts.local_domains.iter();
            let below = own.into_iter().any(|own| {
                domain
                    .strip_suffix(own.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
            });
            return if below {
                fail().advise(format!(
                    "no fault if {domain} is the server's own: name it as such then"
                ))
            } else {
                fail()
            };
        }
        match self.context.refuses_unknown() {
            Some(true) => fail(),
            Some(false) => Outcome::inconclusive(
                format!("<{told}> is accepted, but so is any local-part"),
                "only a witness mailbox can show whether the server takes the form for a local-part or relays it",
            ),
            None => Outcome::inconclusive(
                format!("<{told}> is accepted, and it is not known whether any local-part is"),
                "run rcpt-unknown on this leg",
            ),
        }
    }
}

/// From an address the server trusts, either answer is normal.
fn trusted(asked: &Asked<'_>) -> Outcome {
    match asked.class() {
        Class::Accepted => Outcome::info("this address may relay"),
        Class::Permanent => {
            Outcome::info("this address may not relay: local programs must authenticate")
        }
        _ => Outcome::info("no decision about relaying"),
    }
    .seen(asked.evidence())
}

/// An account must be able to send elsewhere.
fn authenticated(asked: &Asked<'_>) -> Outcome {
    match asked.class() {
        Class::Accepted => Outcome::pass("the account may send elsewhere"),
        Class::Permanent => {
            Outcome::fail(Severity::High, "authenticated users cannot send elsewhere")
        }
        Class::Transient => Outcome::inconclusive("refused as temporary", "repeat later"),
        class => undecided(class),
    }
    .seen(asked.evidence())
}

/// Dialogues made for the check that never came to a RCPT.
fn unreached(
    check: &str,
    leg: &Leg<'_>,
    context: &Context<'_>,
    asked: &[Asked<'_>],
) -> Vec<Outcome> {
    if leg.is_unlabelled() {
        return Vec::new();
    }
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    for (index, dialogue) in leg.dialogues_for(check) {
        let case = dialogue.facts.get("case").map_or("", String::as_str);
        let labelled = dialogue.facts.contains_key("check");
        let reached = asked
            .iter()
            .any(|asked| asked.case() == case || asked.order.0 == index);
        if !labelled || reached || !Asked::all(index, dialogue).is_empty() {
            continue;
        }
        let Some(stopped) = Stopped::of(dialogue) else {
            continue;
        };
        let forged = match stopped {
            Stopped::Mail(_) => check == "relay-own-sender",
            Stopped::Hello(_) => check == "relay-helo-trust",
            Stopped::Greeting | Stopped::StartTls(_) => false,
        } || check == "relay-helo-trust"
            && stopped.reply(dialogue).is_some_and(is_identity_refusal);
        let refused = matches!(stopped.class(dialogue), Class::Permanent | Class::Transient);
        let outcome = if forged && refused {
            let outcome = Outcome::pass("the forged identity itself is refused");
            context.unless_refusing_everyone((index, 0), outcome.seen(stopped.evidence(dialogue)))
        } else {
            Outcome::inconclusive(
                format!("refused at {}, the relay rule was not reached", stopped.at()),
                "repeat with a client address, EHLO name and sender that the server has nothing against",
            )
            .seen(stopped.evidence(dialogue))
        };
        outcomes.retain(|(earlier, _)| *earlier != case || case.is_empty());
        outcomes.push((case, outcome));
    }
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
