//! Mailboxes that ask for what is to happen to them: `550-5.1.1@D`, `dot-554@D`,
//! `slow-3s@D`, `timeout@D`, `close@D`, where D is a domain that was set apart for it.

use super::action::Action;
use super::rule::Stage;
use crate::quantity::Period;
use crate::reply::ReplyCode;

/// The stages at which a mailbox can have something happen, as they are written before a
/// hyphen. At MAIL it is the mailbox of the reverse-path, elsewhere of a forward-path.
const STAGES: &[(&str, Stage)] = &[
    ("mail", Stage::Mail),
    ("rcpt", Stage::Rcpt),
    ("data", Stage::Data),
    ("dot", Stage::Dot),
];

/// What a local-part asks for, and where; RCPT if it does not say.
pub fn asked(local_part: &str) -> Option<(Stage, Action)> {
    let named = STAGES.iter().find_map(|(name, stage)| {
        let rest = local_part.strip_prefix(name)?.strip_prefix('-')?;
        Some((*stage, rest))
    });
    let (stage, wish) = named.unwrap_or((Stage::Rcpt, local_part));
    let action = match wish {
        "timeout" => Action::Hang,
        "close" => Action::Close,
        wish => slow(wish).or_else(|| reply(wish))?,
    };
    Some((stage, action))
}

fn slow(wish: &str) -> Option<Action> {
    let period: Period = wish.strip_prefix("slow-")?.parse().ok()?;
    Some(Action::Delay {
        least: period,
        most: period,
    })
}

/// `CODE` or `CODE-ENH`: a refusal.
fn reply(wish: &str) -> Option<Action> {
    let (code, status) = match wish.split_once('-') {
        Some((code, status)) => (code, Some(status.parse().ok()?)),
        None => (wish, None),
    };
    let code = ReplyCode::new(code.parse().ok()?)?;
    code.is_refusal().then(|| Action::Reply {
        code,
        status,
        text: Some("as this mailbox asks for".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_parts_say_what_is_to_happen() {
        for (local_part, stage, action) in [
            ("421", Stage::Rcpt, "reply 421 \"as this mailbox asks for\""),
            (
                "550-5.1.1",
                Stage::Rcpt,
                "reply 550 5.1.1 \"as this mailbox asks for\"",
            ),
            (
                "mail-451",
                Stage::Mail,
                "reply 451 \"as this mailbox asks for\"",
            ),
            (
                "dot-554",
                Stage::Dot,
                "reply 554 \"as this mailbox asks for\"",
            ),
            ("data-close", Stage::Data, "close"),
            ("timeout", Stage::Rcpt, "hang"),
            ("dot-slow-3s", Stage::Dot, "delay 3s"),
        ] {
            let (found, what) = asked(local_part).unwrap();
            assert_eq!((found, what.to_string().as_str()), (stage, action));
        }
        for local_part in [
            "", "anna", "250", "600", "550-x", "slow-", "dot-", "rcpt", "slow-3",
        ] {
            assert_eq!(asked(local_part), None, "{local_part}");
        }
    }
}
