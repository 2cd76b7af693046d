//! Comparing what is answered about known and unknown users.

use super::observe::{Class, argument, words};
use super::{Evidence, Leg};
use crate::command::Verb;
use crate::reply::Reply;

/// One VRFY or EXPN and its answer.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) name: String,
    pub(super) class: Class,
    pub(super) reply: Option<&'a Reply>,
    pub(super) announced: bool,
    pub(super) evidence: Evidence,
}

impl<'a> Question<'a> {
    /// Every question with that verb, in order.
    pub(super) fn all(leg: &Leg<'a>, check: &str, verb: &Verb) -> Vec<Self> {
        let dialogues = leg.dialogues_for(check).into_iter();
        dialogues
            .flat_map(|(_, dialogue)| {
                let asked = dialogue.exchanges.iter().enumerate();
                asked
                    .filter(|(_, exchange)| exchange.said.verb() == Some(verb))
                    .map(|(at, exchange)| Self {
                        name: argument(&exchange.said),
                        class: Class::of(dialogue, exchange),
                        reply: exchange.reply(),
                        announced: dialogue
                            .extensions_before(at)
                            .iter()
                            .any(|line| line.eq_ignore_ascii_case(verb.name())),
                        evidence: Evidence::of(dialogue, exchange),
                    })
            })
            .collect()
    }

    /// The answer with the name that was asked for taken out, so that answers
    /// about different names can be compared.
    pub(super) fn pattern(&self) -> String {
        let answer = self.reply.map(words).unwrap_or_default();
        let name = self.name.to_lowercase();
        let name = name.trim_matches(['<', '>']);
        let local = name.split('@').next().unwrap_or(name);
        let answer = replaced(&answer, name);
        replaced(&answer, local)
    }

    /// The code and the enhanced status code.
    pub(super) fn codes(&self) -> Option<(u16, Option<crate::status::EnhancedStatusCode>)> {
        let reply = self.reply?;
        Some((reply.code().number(), reply.status()))
    }

    /// The answer names mailboxes.
    pub(super) fn names_mailboxes(&self) -> bool {
        let text = self.reply.map(Reply::text).unwrap_or_default();
        self.class == Class::Accepted && text.contains(['@', '<'])
    }

    /// The command is announced and yet not implemented.
    pub(super) fn is_empty_promise(&self) -> bool {
        let refused = self.reply.is_some_and(|reply| reply.code().number() == 502);
        self.announced && refused
    }
}

fn replaced(text: &str, name: &str) -> String {
    if name.is_empty() {
        text.to_owned()
    } else {
        text.replace(name, "{}")
    }
}
