//! What AUTH gives away, and to whom it is offered.

pub(super) mod mechs;
pub(super) mod plaintext_offer;
pub(super) mod port25;

use super::{Check, Finding, Group, On, Safety, Severity, Stop};
use crate::command::Verb;
use crate::recording::{Dialogue, Exchange};

/// What the rows of this group have in common.
const ROW: Check = Check {
    id: "",
    group: Group::Auth,
    question: "",
    severity: Severity::High,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "",
    references: &[],
    localhost: On::NotJudged,
    remote: On::Skip,
    authenticated: On::Skip,
    scripts: |_| Vec::new(),
    judge: |_, _, _| Finding::skip("not asked on this leg"),
    cures: &[],
};

/// An accepted EHLO, and the mechanisms its reply offers, in capitals, in either
/// spelling (`AUTH PLAIN`, `AUTH=PLAIN`); `None` without an AUTH line.
struct Offer<'a> {
    dialogue: &'a Dialogue,
    hello: &'a Exchange,
    mechanisms: Option<Vec<String>>,
}

/// The offers inside or outside TLS.
fn offers(dialogue: &Dialogue, in_tls: bool) -> impl Iterator<Item = Offer<'_>> {
    let hellos = dialogue.exchanges.iter().filter(move |exchange| {
        exchange.said.verb() == Some(&Verb::Ehlo)
            && exchange.in_tls == in_tls
            && exchange
                .reply()
                .is_some_and(|reply| reply.code().is_positive())
    });
    hellos.map(move |hello| Offer {
        dialogue,
        hello,
        mechanisms: mechanisms(hello),
    })
}

fn mechanisms(hello: &Exchange) -> Option<Vec<String>> {
    let lines = hello.reply()?.lines().skip(1);
    let mut found: Option<Vec<String>> = None;
    for line in lines {
        let upper = line.to_ascii_uppercase();
        let mut words = upper.split([' ', '=']).filter(|word| !word.is_empty());
        if words.next() == Some("AUTH") {
            found
                .get_or_insert_default()
                .extend(words.map(str::to_owned));
        }
    }
    found
}
