//! What a leg as a whole says about the answers of its single cases.

use super::observe::{Asked, Class, Parts, Stopped, asked_anywhere, same_mailbox, words};
use super::{BASELINE, Evidence, Facts, Group, Leg, Outcome, named};

/// What judges need to know beyond their own exchanges.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// All legs of the recording, for checks that compare them.
    pub legs: &'a [Leg<'a>],
    baseline: Vec<Sample>,
    unknown_refused: Option<bool>,
}

/// The ordinary local recipient, asked for once.
#[derive(Clone, Debug)]
struct Sample {
    order: (usize, usize),
    accepted: bool,
    evidence: Evidence,
}

impl<'a> Context<'a> {
    /// Reads a leg for its baseline and for what it does with unknown users.
    pub fn of(leg: &Leg<'a>, facts: &Facts, legs: &'a [Leg<'a>]) -> Self {
        let asked = asked_anywhere(leg);
        let mut baseline: Vec<Sample> = asked
            .iter()
            .filter(|asked| is_ordinary(asked, facts))
            .filter(|asked| !asked.is_open() || !was_asked_again(leg, asked.order.0))
            .map(|asked| Sample {
                order: asked.order,
                accepted: asked.class() == Class::Accepted,
                evidence: asked.evidence(),
            })
            .collect();
        baseline.extend(
            leg.dialogues
                .iter()
                .enumerate()
                .filter_map(|(index, dialogue)| {
                    let check = dialogue.facts.get("check")?;
                    let is_baseline = check == BASELINE || check == "deliver-self";
                    let counted = asked.iter().any(|asked| asked.order.0 == index);
                    if !is_baseline || counted || was_asked_again(leg, index) {
                        return None;
                    }
                    Some(Sample {
                        order: (index, 0),
                        accepted: false,
                        evidence: Stopped::of(dialogue)?.evidence(dialogue),
                    })
                }),
        );
        baseline.sort_by_key(|sample| sample.order);
        Self {
            legs,
            baseline,
            unknown_refused: unknown_refused(&asked, facts),
        }
    }

    /// The server refuses local-parts it does not know; `None` if that was not asked.
    pub fn refuses_unknown(&self) -> Option<bool> {
        self.unknown_refused
    }

    /// A refusal proves nothing where the ordinary recipient is refused too:
    /// an outcome that rests on one stands only if the baseline before it (or,
    /// without one, after it) was accepted and the next one was not refused.
    pub(crate) fn unless_refusing_everyone(
        &self,
        order: (usize, usize),
        outcome: Outcome,
    ) -> Outcome {
        let before = self.baseline.iter().rfind(|sample| sample.order < order);
        let after = self.baseline.iter().find(|sample| sample.order > order);
        let (text, seen) = match (before, after) {
            (None, None) => {
                return Outcome {
                    verdict: super::Verdict::Inconclusive,
                    severity: None,
                    text: "refused, but no ordinary recipient was asked for on this leg".into(),
                    ..outcome
                }
                .advise(NAME_A_MAILBOX);
            }
            (Some(sample), _) if !sample.accepted => {
                ("refused, but so was the ordinary local recipient", sample)
            }
            (_, Some(sample)) if !sample.accepted => (
                "refused, but the ordinary local recipient was refused afterwards too",
                sample,
            ),
            _ => return outcome,
        };
        Outcome {
            verdict: super::Verdict::Inconclusive,
            severity: None,
            text: text.into(),
            ..outcome
        }
        .seen(seen.evidence.clone())
        .advise(WHY_REFUSED)
    }

    /// The baseline as it was first answered.
    pub(crate) fn first_baseline(&self) -> Option<bool> {
        self.baseline.first().map(|sample| sample.accepted)
    }
}

/// A session that the server cut short, or that was to be inside TLS, was held once
/// more: the next one is for the same case of the same check.
fn was_asked_again(leg: &Leg<'_>, index: usize) -> bool {
    let label = |index: usize| {
        let facts = &leg.dialogues.get(index)?.facts;
        Some((facts.get("check")?, facts.get("case")?))
    };
    label(index).is_some() && label(index) == label(index + 1)
}

/// RCPT for the ordinary local mailbox, by a client and a sender that are
/// nothing special.
fn is_ordinary(asked: &Asked<'_>, facts: &Facts) -> bool {
    let Some(local) = facts.local_mailbox() else {
        return false;
    };
    if !same_mailbox(&asked.recipient(), &local) {
        return false;
    }
    let label = asked.dialogue.facts.get("check").map(String::as_str);
    if matches!(label, Some(BASELINE | "deliver-self")) {
        return true;
    }
    // Those ask oddly, or as somebody who may be refused.
    let odd = label.and_then(named).is_some_and(|check| {
        !matches!(
            check.group,
            Group::Deliver | Group::Relay | Group::Enum | Group::Rcpt
        )
    });
    if odd {
        return false;
    }
    let sender = asked.sender();
    let plain = Parts::of(&sender)
        .domain
        .is_some_and(|domain| !facts.is_own(domain) || sender == local);
    plain && !is_forged_hello(&asked.hello_name(), facts)
}

/// The client calls itself what only the server may.
pub(crate) fn is_forged_hello(name: &str, facts: &Facts) -> bool {
    facts.helo() != name && (facts.is_own(name) || name == "[127.0.0.1]")
}

fn unknown_refused(asked: &[Asked<'_>], facts: &Facts) -> Option<bool> {
    let unknown = facts.unknown_user.as_ref()?;
    let domain = facts.local_domain()?;
    let unknown = format!("{unknown}@{domain}");
    asked
        .iter()
        .filter(|asked| same_mailbox(&asked.recipient(), &unknown))
        .find_map(|asked| match asked.class() {
            Class::Accepted => Some(false),
            Class::Permanent => Some(true),
            Class::Transient => {
                let words = words(asked.reply()?);
                ["unverified", "user unknown", "unknown user"]
                    .iter()
                    .any(|text| words.contains(text))
                    .then_some(true)
            }
            _ => None,
        })
}

const NAME_A_MAILBOX: &str = "name a local mailbox that exists, so that a refusal can be told from a server that refuses everyone";
const WHY_REFUSED: &str = "find out why the ordinary recipient is refused (block list, greylisting, ban, rate limit), then repeat from an address that is not";
