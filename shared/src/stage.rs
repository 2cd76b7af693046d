//! Which step may follow which (RFC 5321 §4.1.4).
//!
//! SMTP moves on the reply, so one pure table serves all three programs: the
//! client advances by the replies it reads, the server by those it sends, the
//! recorder by those it sees. Whatever concerns order lives here or nowhere.

use crate::command::Verb;
use crate::reply::{ReplyCode, Severity};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Connected, not greeted.
    Connected,
    /// Greeted; EHLO or HELO is due.
    Greeted,
    /// Between transactions.
    Ready,
    /// MAIL was accepted, no recipient yet.
    Mail,
    /// At least one recipient was accepted.
    Rcpt,
    /// Content is being sent, after 354.
    Data,
    /// Content is being sent in chunks (RFC 3030).
    Bdat,
    /// QUIT was accepted, or the greeting refused.
    Closed,
}

/// One thing a peer does that a reply settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The connection itself, answered by the greeting.
    Greeting,
    /// EHLO, HELO, or LHLO.
    Hello {
        /// It was LHLO (RFC 2033).
        lmtp: bool,
    },
    /// RFC 3207.
    StartTls,
    /// AUTH, and each line of its exchange (RFC 4954).
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The line with the lone dot.
    EndOfData,
    /// A whole BDAT chunk (RFC 3030).
    Bdat {
        /// It was marked LAST.
        last: bool,
    },
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
    /// XCLIENT: as if connected anew.
    Xclient,
    /// XFORWARD: changes nothing here, and may not come within a transaction.
    Xforward,
    /// What changes nothing: NOOP, HELP, VRFY, EXPN, ETRN, unknown verbs.
    Other,
}

/// What the reply said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 2yz.
    Accepted,
    /// 3yz.
    GoOn,
    /// 4yz or 5yz.
    Refused,
}

/// A step was accepted at a stage where the RFC has no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} is out of order at stage {stage:?}")]
pub struct OutOfOrder {
    /// Where the session stood.
    pub stage: Stage,
    /// What was accepted.
    pub step: Step,
}

impl Step {
    /// The step that a verb takes.
    pub const fn of(verb: &Verb) -> Self {
        match verb {
            Verb::Auth => Self::Auth,
            Verb::Bdat => Self::Bdat { last: false },
            Verb::Data => Self::Data,
            Verb::Ehlo | Verb::Helo => Self::Hello { lmtp: false },
            Verb::Lhlo => Self::Hello { lmtp: true },
            Verb::Mail => Self::Mail,
            Verb::Quit => Self::Quit,
            Verb::Rcpt => Self::Rcpt,
            Verb::Rset => Self::Reset,
            Verb::StartTls => Self::StartTls,
            Verb::Xclient => Self::Xclient,
            Verb::Xforward => Self::Xforward,
            Verb::Etrn | Verb::Expn | Verb::Help | Verb::Noop | Verb::Vrfy | Verb::Other(_) => {
                Self::Other
            }
        }
    }
}

impl Outcome {
    /// What a reply code says.
    pub const fn of(code: ReplyCode) -> Self {
        match code.severity() {
            Severity::Positive => Self::Accepted,
            Severity::Intermediate => Self::GoOn,
            Severity::Transient | Severity::Permanent => Self::Refused,
        }
    }
}

/// The stage after a step, by its outcome. A row missing here means: accepting
/// this step at this stage departs from the RFC.
pub const fn advance(stage: Stage, step: Step, outcome: Outcome) -> Result<Stage, OutOfOrder> {
    use Outcome::*;
    use Stage::*;
    Ok(match (stage, step, outcome) {
        // Kept or refused, the transaction is over: RFC 5321 §4.1.1.4.
        (Data, Step::EndOfData, _) => Ready,
        // A refused chunk ends it too: RFC 3030 §2.
        (Rcpt | Bdat, Step::Bdat { .. }, Refused) => Ready,
        // RFC 5321 §3.1: all that may follow is QUIT.
        (Connected, Step::Greeting, Refused) => Closed,
        (_, _, Refused) => stage,
        (Connected, Step::Greeting, _) => Greeted,
        // As if RSET: RFC 5321 §4.1.4.
        (Greeted | Ready | Mail | Rcpt | Bdat, Step::Hello { .. }, _) => Ready,
        // EHLO again: RFC 3207 §4.2.
        (Greeted | Ready, Step::StartTls, _) => Greeted,
        // Not within a transaction: RFC 4954 §4.
        (Ready, Step::Auth, _) => Ready,
        // Neither within a transaction: Postfix's XCLIENT_README, XFORWARD_README.
        (Greeted | Ready, Step::Xclient, _) => Greeted,
        (Ready, Step::Xforward, _) => Ready,
        (Ready, Step::Mail, _) => Mail,
        (Mail | Rcpt, Step::Rcpt, _) => Rcpt,
        (Rcpt, Step::Data, _) => Data,
        // A server may refuse it without a recipient, or not: RFC 5321 §3.3,
        // RFC 2920 §4 (fourth example).
        (Mail, Step::Data, GoOn) => Data,
        (Rcpt | Bdat, Step::Bdat { last: false }, _) => Bdat,
        (Rcpt | Bdat, Step::Bdat { last: true }, _) => Ready,
        // Any time, RFC 5321 §4.1.1.5; before EHLO it changes nothing.
        (Greeted, Step::Reset, _) => Greeted,
        (Ready | Mail | Rcpt | Bdat, Step::Reset, _) => Ready,
        (Greeted | Ready | Mail | Rcpt | Bdat | Closed, Step::Quit, _) => Closed,
        // Any time after the greeting: RFC 5321 §4.1.4.
        (Greeted | Ready | Mail | Rcpt | Bdat, Step::Other, _) => stage,
        _ => return Err(OutOfOrder { stage, step }),
    })
}

/// Whether a server of ours accepts that step now: not DATA without a recipient,
/// which it is free to refuse (RFC 5321 §3.3).
pub const fn allowed(stage: Stage, step: Step) -> bool {
    let outcome = match (stage, step) {
        (Stage::Rcpt, Step::Data) => Outcome::GoOn,
        _ => Outcome::Accepted,
    };
    advance(stage, step, outcome).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::*;
    use Stage::*;

    #[test]
    fn a_session_walks_the_table() {
        let walk = [
            (Step::Greeting, Accepted, Greeted),
            (Step::Hello { lmtp: false }, Accepted, Ready),
            (Step::StartTls, Accepted, Greeted),
            (Step::Hello { lmtp: false }, Accepted, Ready),
            (Step::Auth, GoOn, Ready),
            (Step::Auth, Accepted, Ready),
            (Step::Xclient, Accepted, Greeted),
            (Step::Hello { lmtp: false }, Accepted, Ready),
            (Step::Xforward, Accepted, Ready),
            (Step::Mail, Accepted, Mail),
            (Step::Rcpt, Refused, Mail),
            (Step::Rcpt, Accepted, Rcpt),
            (Step::Data, GoOn, Data),
            (Step::EndOfData, Refused, Ready),
            (Step::Mail, Accepted, Mail),
            (Step::Reset, Accepted, Ready),
            (Step::Mail, Accepted, Mail),
            (Step::Rcpt, Accepted, Rcpt),
            (Step::Bdat { last: false }, Accepted, Bdat),
            (Step::Other, Accepted, Bdat),
            (Step::Bdat { last: true }, Accepted, Ready),
            (Step::Mail, Accepted, Mail),
            (Step::Rcpt, Accepted, Rcpt),
            (Step::Bdat { last: false }, Accepted, Bdat),
            (Step::Hello { lmtp: false }, Accepted, Ready),
            (Step::Quit, Accepted, Closed),
        ];
        let mut stage = Connected;
        for (step, outcome, after) in walk {
            stage = advance(stage, step, outcome).unwrap();
            assert_eq!(stage, after, "{step:?}");
        }
    }

    #[test]
    fn data_without_a_recipient_ends_the_transaction_all_the_same() {
        assert!(!allowed(Mail, Step::Data));
        assert_eq!(advance(Mail, Step::Data, GoOn), Ok(Data));
        assert_eq!(advance(Data, Step::EndOfData, Refused), Ok(Ready));
    }

    #[test]
    fn what_has_no_row_is_out_of_order() {
        for (stage, step) in [
            (Connected, Step::Mail),
            (Greeted, Step::Mail),
            (Ready, Step::Rcpt),
            (Ready, Step::Data),
            (Mail, Step::Data),
            (Mail, Step::Mail),
            (Mail, Step::StartTls),
            (Mail, Step::Auth),
            (Mail, Step::Xclient),
            (Rcpt, Step::Xforward),
            (Greeted, Step::Xforward),
            (Bdat, Step::Data),
            (Closed, Step::Mail),
        ] {
            assert!(!allowed(stage, step), "{step:?} at {stage:?}");
            assert_eq!(
                advance(stage, step, Refused).unwrap(),
                stage,
                "a refusal is always in order"
            );
        }
    }
}
