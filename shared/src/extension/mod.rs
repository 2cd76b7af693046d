//! SMTP extensions: the table of them, and what each says in EHLO, MAIL and RCPT.
//!
//! A file for each extension that has something to say: it reads the value
//! strictly, prints it back, and its errors know the reply they deserve. Who
//! may use an extension, and what it then does, is for a policy to decide.
//!
//! [`MailParameters`] and [`RcptParameters`] read the parameters of a whole
//! command, [`Offered`] an EHLO reply.

mod attribute;
mod auth;
mod body;
mod deliverby;
mod dsn;
mod envelope;
mod error;
mod futurerelease;
mod limits;
mod offered;
mod orcpt;
mod priority;
mod size;
mod smtputf8;
mod xclient;
mod xforward;

pub use attribute::{Attribute, AttributeError};
pub use auth::Submitter;
pub use body::Body;
pub use deliverby::{ByMode, DeliverBy};
pub use dsn::{EnvelopeId, Event, Notify, Return};
pub use envelope::{MailParameters, RcptParameters};
pub use error::{EnvelopeError, ValueError};
pub use futurerelease::{Hold, HoldLimits};
pub use limits::AnnouncedLimits;
pub use offered::Offered;
pub use orcpt::{AddressForm, OriginalRecipient};
pub use priority::Priority;
pub use size::Size;
pub use smtputf8::NeedsSmtpUtf8;
pub use xclient::{ClientProtocol, Xclient};
pub use xforward::{Source, Xforward};

/// One registered extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The EHLO keyword.
    pub keyword: &'static str,
    /// Where it is defined; empty for vendors' own.
    pub rfc: &'static str,
    /// What it is for.
    pub title: &'static str,
    /// The parameters it adds to MAIL.
    pub mail: &'static [&'static str],
    /// The parameters it adds to RCPT.
    pub rcpt: &'static [&'static str],
}

const fn row(keyword: &'static str, rfc: &'static str, title: &'static str) -> Extension {
    Extension {
        keyword,
        rfc,
        title,
        mail: &[],
        rcpt: &[],
    }
}

impl Extension {
    const fn mail(self, mail: &'static [&'static str]) -> Self {
        Self { mail, ..self }
    }

    const fn rcpt(self, rcpt: &'static [&'static str]) -> Self {
        Self { rcpt, ..self }
    }
}

/// Every extension we know by name, in alphabetical order.
pub const ALL: &[Extension] = &[
    row("8BITMIME", "RFC 6152", "octets above 127 in MIME content").mail(&["BODY"]),
    row("AUTH", "RFC 4954", "authentication").mail(&["AUTH"]),
    row("BINARYMIME", "RFC 3030", "content without lines, by BDAT").mail(&["BODY"]),
    row("CHUNKING", "RFC 3030", "BDAT: content by octet counts"),
    row("DELIVERBY", "RFC 2852", "a time by which to deliver").mail(&["BY"]),
    row(
        "DSN",
        "RFC 3461",
        "delivery status notifications on request",
    )
    .mail(&["RET", "ENVID"])
    .rcpt(&["NOTIFY", "ORCPT"]),
    row(
        "ENHANCEDSTATUSCODES",
        "RFC 2034",
        "codes such as 5.1.1 in replies",
    ),
    row("ETRN", "RFC 1985", "start of a remote queue"),
    row("EXPN", "RFC 5321", "expansion of mailing lists"),
    row(
        "FUTURERELEASE",
        "RFC 4865",
        "delivery not before a given time",
    )
    .mail(&["HOLDFOR", "HOLDUNTIL"]),
    row("HELP", "RFC 5321", "help texts"),
    row("LIMITS", "RFC 9422", "the server's limits, announced"),
    row("MT-PRIORITY", "RFC 6710", "priorities of messages").mail(&["MT-PRIORITY"]),
    row(
        "PIPELINING",
        "RFC 2920",
        "several commands before the first reply",
    ),
    row(
        "REQUIRETLS",
        "RFC 8689",
        "TLS on the whole way, or no delivery",
    )
    .mail(&["REQUIRETLS"]),
    row("SIZE", "RFC 1870", "the message size, declared in MAIL").mail(&["SIZE"]),
    row("SMTPUTF8", "RFC 6531", "UTF-8 in addresses and headers").mail(&["SMTPUTF8"]),
    row("STARTTLS", "RFC 3207", "from plain to TLS"),
    row("VRFY", "RFC 5321", "verification of mailboxes"),
    row("XCLIENT", "", "client attributes given by a trusted proxy"),
    row("XFORWARD", "", "client attributes passed on for logging"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_sound() {
        assert!(ALL.is_sorted_by(|a, b| a.keyword < b.keyword));
        for extension in ALL {
            let parameters = extension.mail.iter().chain(extension.rcpt);
            for keyword in parameters.chain([&extension.keyword]) {
                assert_eq!(*keyword, keyword.to_ascii_uppercase());
            }
            assert!(extension.rfc.is_empty() || extension.rfc.starts_with("RFC "));
        }
    }
}
