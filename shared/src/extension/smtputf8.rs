//! SMTPUTF8: which paths need it (RFC 6531).
//!
//! The parameter itself has no value: it is the `smtputf8` of
//! [`MailParameters`](super::MailParameters).

use super::{AddressForm, OriginalRecipient};
use crate::address::Mailbox;
use crate::path::{ForwardPath, ReversePath};
use crate::reply::Reply;

/// A path beyond US-ASCII, in a transaction that was not begun with SMTPUTF8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {path} needs SMTPUTF8")]
pub struct NeedsSmtpUtf8 {
    path: &'static str,
    code: u16,
}

impl NeedsSmtpUtf8 {
    /// Looks at the argument of MAIL.
    pub fn check_reverse(path: &ReversePath, smtputf8: bool) -> Result<(), Self> {
        let plain = path.mailbox().is_none_or(Mailbox::is_ascii);
        (smtputf8 || plain).then_some(()).ok_or(Self {
            path: "reverse-path",
            code: 550,
        })
    }

    /// Looks at the argument of RCPT.
    pub fn check_forward(path: &ForwardPath, smtputf8: bool) -> Result<(), Self> {
        let plain = path.mailbox().is_none_or(Mailbox::is_ascii);
        (smtputf8 || plain).then_some(()).ok_or(Self {
            path: "forward-path",
            code: 553,
        })
    }

    /// Looks at the ORCPT of RCPT: in two of its forms it is beyond US-ASCII
    /// (RFC 6533 §3).
    pub fn check_original(
        original: Option<&OriginalRecipient>,
        smtputf8: bool,
    ) -> Result<(), Self> {
        let plain = original.is_none_or(|one| one.form() == AddressForm::Ascii);
        (smtputf8 || plain).then_some(()).ok_or(Self {
            path: "ORCPT",
            code: 553,
        })
    }

    /// The reply it deserves (RFC 6531 §3.5): 550 to MAIL, 553 to RCPT.
    pub fn reply(&self) -> Reply {
        Reply::of(self.code, "5.6.7", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn only_paths_beyond_ascii_need_it() {
        for (line, plain) in [
            ("MAIL FROM:<>", true),
            ("MAIL FROM:<a@b>", true),
            ("MAIL FROM:<é@b>", false),
            ("RCPT TO:<Postmaster>", true),
            ("RCPT TO:<a@b>", true),
            ("RCPT TO:<a@é>", false),
        ] {
            let check = |smtputf8| match Command::parse(line.as_bytes()).command {
                Ok(Command::Mail { reverse_path, .. }) => {
                    NeedsSmtpUtf8::check_reverse(&reverse_path, smtputf8)
                }
                Ok(Command::Rcpt { forward_path, .. }) => {
                    NeedsSmtpUtf8::check_forward(&forward_path, smtputf8)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(check(true), Ok(()), "{line}");
            assert_eq!(check(false).is_ok(), plain, "{line}");
            if let Err(error) = check(false) {
                let code = if line.starts_with("MAIL") { 550 } else { 553 };
                assert_eq!(error.reply().code().number(), code);
            }
        }
    }
}
