//! Which connections are mail, told from what is said in them.
//!
//! A port number says little: mail is on any port, and other things are on port 25.
//! It counts only where so little is said that nothing else is left: a connection
//! that was refused, a greeting and no more, TLS from the first octet.

use shared::command::Verb;
use shared::reply::ReplyLine;

/// What is known of a connection so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    /// What the side that may be the client has said, without a PROXY header.
    pub(super) client: &'a [u8],
    /// What the other one has said.
    pub(super) server: &'a [u8],
    /// The port that was connected to.
    pub(super) port: u16,
    /// Nothing more will be known.
    pub(super) is_all: bool,
    /// The first octets of both sides are there.
    pub(super) from_the_start: bool,
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// SMTP or LMTP.
    Mail,
    /// SMTP inside TLS from the first octet.
    MailInTls,
    /// Something else.
    Other,
    /// It cannot be told yet.
    Unknown,
}

/// SMTP, SMTPS, submission, and LMTP by custom.
const PORTS: &[u16] = &[24, 25, 465, 587];

const SMTPS: u16 = 465;
const FTP: u16 = 21;

/// Tells what a connection is if that side is the client.
pub(super) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let client = evidence.client;
    if matches!(client, [0x16, 3, ..]) && evidence.from_the_start {
        return if evidence.port == SMTPS {
            Verdict::MailInTls
        } else {
            Verdict::Other
        };
    }
    if client.is_empty() {
        return judge_server(evidence);
    }
    let lines = client.split_inclusive(|&octet| octet == b'\n');
    let mut whole = lines.filter(|line| line.ends_with(b"\n"));
    let first = whole.next();
    if first.is_some_and(is_of_mail) {
        return Verdict::Mail;
    }
    // The first line may lack its beginning.
    if !evidence.from_the_start && whole.any(is_of_mail) && speaks_replies(evidence.server) {
        return Verdict::Mail;
    }
    let known_port = PORTS.contains(&evidence.port);
    let greets = names_mail(evidence.server);
    match first.map(Verb::of) {
        Some(Verb::Other(_)) if !greets && !known_port && evidence.from_the_start => Verdict::Other,
        Some(_) if speaks_replies(evidence.server) && (greets || known_port) => Verdict::Mail,
        Some(Verb::Other(_)) if evidence.is_all => Verdict::Other,
        Some(_) if evidence.is_all && known_port => Verdict::Mail,
        None if evidence.is_all && known_port && speaks_replies(evidence.server) => Verdict::Mail,
        _ if evidence.is_all => Verdict::Other,
        _ => Verdict::Unknown,
    }
}

/// The client has said nothing.
fn judge_server(evidence: &Evidence<'_>) -> Verdict {
    if !evidence.is_all {
        return Verdict::Unknown;
    }
    let (server, port) = (evidence.server, evidence.port);
    let code = ReplyLine::parse(
        server
            .split(|&octet| octet == b'\n')
            .next()
            .unwrap_or_default(),
    );
    let code = code.map(|line| line.code.number());
    let is_mail = match code {
        Some(220 | 421 | 554) if names_mail(server) || PORTS.contains(&port) => true,
        // A refusal need not name its protocol; FTP's look alike.
        Some(421 | 554) => port != FTP,
        _ => server.is_empty() && evidence.from_the_start && PORTS.contains(&port),
    };
    if is_mail {
        Verdict::Mail
    } else {
        Verdict::Other
    }
}

/// A line that no other protocol begins with.
fn is_of_mail(line: &[u8]) -> bool {
    let rest = |word: &str| {
        line.get(word.len()..)
            .unwrap_or_default()
            .trim_ascii_start()
    };
    let begins = |rest: &[u8], word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    match Verb::of(line) {
        Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Xclient => true,
        Verb::Mail => begins(rest("MAIL"), b"FROM"),
        Verb::Rcpt => begins(rest("RCPT"), b"TO"),
        _ => false,
    }
}

/// Begins with a reply, or has one in its first lines.
fn speaks_replies(server: &[u8]) -> bool {
    server
        .split_inclusive(|&octet| octet == b'\n')
        .take(3)
        .any(|line| line.len() > 3 && ReplyLine::parse(line).is_some())
}

/// A greeting that names the protocol.
fn names_mail(server: &[u8]) -> bool {
    let head = server.get(..512).unwrap_or(server);
    let begins = ReplyLine::parse(
        head.split(|&octet| octet == b'\n')
            .next()
            .unwrap_or_default(),
    );
    let upper = head.to_ascii_uppercase();
    let names = |word: &[u8]| upper.windows(word.len()).any(|window| window == word);
    begins.is_some() && (names(b"SMTP") || names(b"LMTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(client: &str, server: &str, port: u16, is_all: bool) -> Verdict {
        judge(&Evidence {
            client: client.as_bytes(),
            server: server.as_bytes(),
            port,
            is_all,
            from_the_start: true,
        })
    }

    #[test]
    fn mail_is_known_by_what_is_said() {
        for (client, server, port, verdict) in [
            ("EHLO a\r\n", "220 mx\r\n", 9999, Verdict::Mail),
            ("lhlo a\r\n", "220 mx\r\n", 9999, Verdict::Mail),
            ("EHLO a\r\n", "HTTP/1.1 400 no\r\n", 80, Verdict::Mail),
            ("MAIL FROM:<>\r\n", "", 2525, Verdict::Mail),
            ("QUIT\r\n", "220 mx ESMTP\r\n", 9999, Verdict::Mail),
            ("QUIT\r\n", "220 ftp ready\r\n", 21, Verdict::Other),
            ("USER a\r\n", "220 ftp ready\r\n", 21, Verdict::Other),
            ("QUIT\r\n", "+OK\r\n", 110, Verdict::Other),
            ("QUIT\r\n", "", 25, Verdict::Mail),
            ("GET / HTTP/1.1\r\n", "", 80, Verdict::Other),
            ("", "220 mx ESMTP\r\n", 9999, Verdict::Mail),
            ("", "220 ftp\r\n", 21, Verdict::Other),
            ("", "421 later\r\n", 9999, Verdict::Mail),
            ("", "421 later\r\n", 21, Verdict::Other),
            ("", "", 25, Verdict::Mail),
            ("", "", 80, Verdict::Other),
            ("\x16\x03\x01", "", 465, Verdict::MailInTls),
            ("\x16\x03\x01", "", 443, Verdict::Other),
        ] {
            let found = judged(client, server, port, true);
            assert_eq!(found, verdict, "{client:?} {server:?} {port}");
        }
    }

    #[test]
    fn what_may_still_be_said_is_waited_for() {
        for (client, server) in [("", ""), ("", "220 mx\r\n"), ("EH", "220 mx\r\n")] {
            let found = judged(client, server, 9999, false);
            assert_eq!(found, Verdict::Unknown, "{client:?} {server:?}");
        }
    }
}
