//! The subject of a message, for whoever looks for it.

use mail_parser::{HeaderName, MessageParser};

/// So many characters of a subject are kept.
const LONGEST: usize = 1000;

/// The Subject field of a header section, unfolded and decoded (RFC 2047).
pub(crate) fn decode(header: &[u8]) -> Option<String> {
    let parser = MessageParser::new().header_text(HeaderName::Subject);
    let message = parser.parse_headers(header)?;
    let subject = message.subject()?;
    Some(subject.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_decoded() {
        for (header, subject) in [
            ("Subject: hello\r\n\r\nbody", Some("hello")),
            (
                "From: a\r\nsubject:  two\r\n words\r\n\r\n",
                Some("two words"),
            ),
            ("Subject: =?utf-8?B?w7xiZXI=?=\r\n\r\n", Some("über")),
            ("Subject: =?iso-8859-1?Q?=FCber?=\r\n\r\n", Some("über")),
            ("Subject: ü\n\nbody\n", Some("ü")),
            ("From: a\r\n\r\nSubject: in the body\r\n", None),
            ("", None),
        ] {
            assert_eq!(decode(header.as_bytes()).as_deref(), subject, "{header:?}");
        }
        let long = format!("Subject: {}\r\n\r\n", "x".repeat(2000));
        assert_eq!(decode(long.as_bytes()).unwrap().len(), LONGEST);
    }
}
