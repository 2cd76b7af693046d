//! What a live reply demands before anything else is said.

use crate::command::Verb;
use crate::recording::{Answer, Said};
use crate::reply::Reply;
use crate::session::DataForm;

/// What must be done before anything else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// Nothing.
    GoOn,
    /// RSET, and on to the next transaction.
    Reset,
    /// Close the connection, without a final dot.
    Close,
}

/// What a live reply demands, given what was recorded.
pub fn safety(said: &Said, want: Option<&Answer>, got: &Reply) -> Safety {
    let recorded = want.and_then(|answer| answer.reply.as_ref());
    let recorded_yes = recorded.is_some_and(|reply| !reply.code().is_refusal());
    let recorded_go_on = recorded.is_some_and(|reply| reply.code().is_intermediate());
    let live_yes = !got.code().is_refusal();
    let chunk = matches!(
        said,
        Said::Content {
            form: DataForm::Bdat,
            ..
        }
    );
    let bdat = chunk || said.verb() == Some(&Verb::Bdat);
    let in_transaction = bdat || matches!(said.verb(), Some(Verb::Mail | Verb::Rcpt | Verb::Data));
    match (recorded_yes, live_yes) {
        // The server waits for more, and what was recorded next is something else.
        _ if got.code().is_intermediate() && !recorded_go_on => Safety::Close,
        // What was recorded next is mail data, and the server does not wait for it.
        _ if recorded_go_on && !got.code().is_intermediate() => Safety::Reset,
        (true, true) | (false, false) => Safety::GoOn,
        // Recorded no, live yes: with BDAT the content is there already.
        (false, true) if bdat => Safety::Close,
        (false, true) if in_transaction => Safety::Reset,
        // Recorded yes, live no.
        (true, false) if in_transaction => Safety::Reset,
        _ => Safety::GoOn,
    }
}

/// The transaction that a step belongs to is over with it.
pub fn begins_anew(said: &Said) -> bool {
    matches!(
        said.verb(),
        Some(
            Verb::Mail
                | Verb::Ehlo
                | Verb::Helo
                | Verb::Lhlo
                | Verb::Quit
                | Verb::Rset
                | Verb::StartTls
        )
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::{CHUNKS, RECORDED, dialogue, reply};
    use super::*;

    #[test]
    fn a_live_yes_where_a_no_was_recorded_is_taken_back() {
        let dialogue = dialogue(RECORDED);
        let act = |index: usize, wire: &str| {
            let exchange = &dialogue.exchanges[index];
            safety(&exchange.said, exchange.answers.first(), &reply(wire))
        };
        assert_eq!(act(2, "250 yes\r\n"), Safety::Reset);
        assert_eq!(act(3, "354 go on\r\n"), Safety::Close);
        assert_eq!(act(1, "550 no\r\n"), Safety::Reset);
        assert_eq!(act(1, "250 yes\r\n"), Safety::GoOn);
        assert_eq!(act(2, "451 later\r\n"), Safety::GoOn);
        // Whoever waits for mail data takes commands for it.
        assert_eq!(act(1, "354 go on\r\n"), Safety::Close);
    }

    #[test]
    fn mail_data_is_said_only_after_what_allows_it() {
        let dialogue = dialogue(CHUNKS);
        let act = |index: usize, wire: &str| {
            let exchange = &dialogue.exchanges[index];
            safety(&exchange.said, exchange.answers.first(), &reply(wire))
        };
        // The chunks, and then DATA.
        assert_eq!(act(4, "250 ok\r\n"), Safety::GoOn);
        assert_eq!(act(4, "452 full\r\n"), Safety::Reset);
        assert_eq!(act(6, "250 ok\r\n"), Safety::Close);
        assert_eq!(act(8, "250 ok\r\n"), Safety::Reset);
        assert_eq!(act(8, "554 no\r\n"), Safety::Reset);
        assert_eq!(act(9, "554 no\r\n"), Safety::GoOn);
    }
}
