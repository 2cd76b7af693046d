//! All rules together, over one session.

use super::{Bindings, Bound, Difference, Matching, Pattern, Rules, compare};
use crate::recording::{Answer, Said};
use crate::reply::Reply;

/// Judges the replies of one session, in order.
#[derive(Clone, Debug)]
pub struct Judge {
    rules: Rules,
    bindings: Bindings,
}

/// What came of one reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What of it is the same only under another name.
    pub bound: Vec<Bound>,
    /// What is different.
    pub differences: Vec<Difference>,
}

impl Judge {
    /// By these rules; values vary where these patterns say, too.
    pub fn new(rules: Rules, patterns: Vec<Pattern>) -> Self {
        Self {
            rules,
            bindings: Bindings::new(patterns),
        }
    }

    /// What is bound.
    pub const fn bindings(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    /// Compares a live reply, and how long it took, with what was recorded; no `said`
    /// is the greeting.
    pub fn reply(
        &mut self,
        said: Option<&Said>,
        want: Option<&Answer>,
        got: Option<&Reply>,
        took: Option<u64>,
    ) -> Judged {
        let nothing = Said::Raw {
            octets: 0,
            why: String::new(),
        };
        let mut differences = compare(said.unwrap_or(&nothing), want, got, &self.rules);
        let mut bound = Vec::new();
        let before = want.and_then(|answer| answer.reply.as_ref());
        if let (Some(before), Some(got)) = (before, got) {
            let (seen, wrong) = self.bindings.reply(said, before, got);
            bound = seen;
            let words = self.rules.matching == Matching::Text && wrong.is_empty();
            differences.extend(wrong);
            // EHLO has rules for its lines.
            let hello = said.is_some_and(is_hello);
            if words && !hello {
                differences.extend(self.bindings.text(before, got));
            }
        }
        if let (Some(slowdown), Some(want), true) = (self.rules.slowdown, want, got.is_some()) {
            differences.extend(slowdown.compare(want.took, took));
        }
        Judged { bound, differences }
    }
}

fn is_hello(said: &Said) -> bool {
    use crate::command::Verb;
    matches!(said.verb(), Some(Verb::Ehlo | Verb::Lhlo))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RECORDED, dialogue, reply};
    use super::*;

    #[test]
    fn words_are_compared_where_they_are_asked_for_and_no_rule_has_them() {
        let dialogue = dialogue(RECORDED);
        for (matching, expected) in [(Matching::Exact, &[][..]), (Matching::Text, &["text"])] {
            let rules = Rules {
                matching,
                ..Rules::default()
            };
            let mut judge = Judge::new(rules, Vec::new());
            let mut fields = |index: usize, wire: &str| {
                let exchange = &dialogue.exchanges[index];
                let want = exchange.answers.first();
                let judged = judge.reply(Some(&exchange.said), want, Some(&reply(wire)), None);
                let fields = judged.differences.iter().map(|one| one.field);
                fields.collect::<Vec<_>>()
            };
            let hello = "250-other hi\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 10\r\n";
            assert_eq!(fields(0, hello), [""; 0]);
            assert_eq!(fields(2, "550 5.1.1 no\r\n"), [""; 0]);
            assert_eq!(fields(2, "550 5.1.1 never\r\n"), expected);
        }
    }
}
