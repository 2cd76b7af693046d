//! What the recorded client sent without waiting.

use crate::command::Verb;
use crate::recording::{Dialogue, Exchange, Said};
use crate::session::DataForm;

/// What the recorded client sent before it waited for a reply.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// It, in order.
    pub exchanges: &'a [Exchange],
}

/// Cuts a dialogue into groups that were sent without waiting. Mail data is always
/// a group of its own, so that it is said only after the go-ahead; BDAT begins one,
/// so that its content is said only after what was answered before.
pub fn groups(dialogue: &Dialogue) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut rest = &dialogue.exchanges[..];
    while !rest.is_empty() {
        let pairs = rest.windows(2);
        let together = pairs
            .take_while(|pair| matches!(pair, [first, second] if !waited(first, second)))
            .count();
        let (exchanges, after) = rest.split_at((together + 1).min(rest.len()));
        groups.push(Group { exchanges });
        rest = after;
    }
    groups
}

/// The client waited after the first before it sent the second, or must wait now.
fn waited(first: &Exchange, second: &Exchange) -> bool {
    if is_chunk(first, second) {
        return false;
    }
    let content = |exchange: &Exchange| matches!(exchange.said, Said::Content { .. });
    let answered = match first.answers.last() {
        Some(answer) => answer.n < second.n,
        // No answer ever came: there was nothing to wait for.
        None => true,
    };
    answered || content(first) || content(second) || second.said.verb() == Some(&Verb::Bdat)
}

/// The second is the content of the BDAT that the first is.
fn is_chunk(first: &Exchange, second: &Exchange) -> bool {
    let chunk = matches!(
        second.said,
        Said::Content {
            form: DataForm::Bdat,
            ..
        }
    );
    chunk && first.said.verb() == Some(&Verb::Bdat)
}

impl Group<'_> {
    /// BDAT and its content: one without the other is never said.
    pub fn is_bdat(&self) -> bool {
        let first = self.exchanges.first();
        first.is_some_and(|first| first.said.verb() == Some(&Verb::Bdat))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{CHUNKS, RECORDED, dialogue};
    use super::*;

    #[test]
    fn groups_are_what_was_sent_without_waiting() {
        let dialogue = dialogue(RECORDED);
        let sizes: Vec<usize> = groups(&dialogue)
            .iter()
            .map(|group| group.exchanges.len())
            .collect();
        assert_eq!(sizes, [1, 3, 1]);
    }

    #[test]
    fn mail_data_is_a_group_of_its_own() {
        let dialogue = dialogue(CHUNKS);
        let groups = groups(&dialogue);
        let sizes: Vec<usize> = groups.iter().map(|group| group.exchanges.len()).collect();
        assert_eq!(sizes, [1, 2, 2, 2, 1, 1, 1]);
        let bdat: Vec<bool> = groups.iter().map(Group::is_bdat).collect();
        assert_eq!(bdat, [false, false, true, true, false, false, false]);
    }
}
