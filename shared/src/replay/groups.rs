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
/// so that its content is said only after what was answered before. All of an AUTH
/// exchange is one group.
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
    if is_chunk(first, second) || is_sasl(first, second) {
        return false;
    }
    if is_auth(&first.said) || is_auth(&second.said) {
        return true;
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

/// The second goes on with the AUTH that the first belongs to.
const fn is_sasl(first: &Exchange, second: &Exchange) -> bool {
    is_auth(&first.said) && matches!(second.said, Said::Sasl { .. })
}

/// AUTH, or a line inside it.
const fn is_auth(said: &Said) -> bool {
    matches!(
        said,
        Said::Sasl { .. }
            | Said::Command {
                verb: Verb::Auth,
                ..
            }
    )
}

impl Group<'_> {
    /// A whole AUTH exchange: it is never said as recorded.
    pub fn is_auth(&self) -> bool {
        self.exchanges
            .first()
            .is_some_and(|first| is_auth(&first.said))
    }

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

    #[test]
    fn an_auth_exchange_is_one_group() {
        let text = "\
S: 220 mx
C: EHLO a
S: 250-mx
S: 250 AUTH LOGIN PLAIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: YQ==
S: 334 UGFzc3dvcmQ6
C: Yg==
S: 235 ok
C: AUTH PLAIN x
S: 503 again
C: MAIL FROM:<a@b>
S: 250 ok
";
        let dialogue = dialogue(text);
        let shown: Vec<(usize, bool)> = groups(&dialogue)
            .iter()
            .map(|group| (group.exchanges.len(), group.is_auth()))
            .collect();
        assert_eq!(shown, [(1, false), (3, true), (1, true), (1, false)]);
    }
}
