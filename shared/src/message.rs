//! The marked test message, and what is read from one that arrived.

use std::net::IpAddr;

use crate::time::Timestamp;

/// What a marked message says of itself, so that whoever finds it knows what it is.
#[derive(Clone, Debug)]
pub struct Marked<'a> {
    /// The run's token.
    pub token: &'a str,
    /// The check it belongs to.
    pub check: &'a str,
    /// The leg.
    pub leg: &'a str,
    /// The case of the check.
    pub case: &'a str,
    /// The header address of the sender.
    pub from: &'a str,
    /// The header address of the recipient.
    pub to: &'a str,
    /// The name given in EHLO.
    pub helo: &'a str,
    /// Who runs the test.
    pub operator: &'a str,
    /// When.
    pub at: Timestamp,
}

impl Marked<'_> {
    /// The message: CRLF line ends, dots not doubled. Besides what identifies it,
    /// its body has what a careless server breaks: a lone dot, lines that begin
    /// with dots, trailing white space and a long line (RFC 5321 §4.5.2, §4.5.3.1.6).
    pub fn build(&self) -> Vec<u8> {
        let Self {
            token,
            check,
            leg,
            case,
            from,
            to,
            helo,
            operator,
            at,
        } = self;
        let short = token.get(..8).unwrap_or(token);
        let date = rfc5322_date(*at);
        let version = env!("CARGO_PKG_VERSION");
        let long = "x".repeat(900);
        let lines = [
            format!("Date: {date}"),
            format!("From: helo test <{from}>"),
            format!("To: <{to}>"),
            format!("Subject: [helo test] {check} {short}"),
            format!("Message-ID: <{token}.{check}.{leg}.{case}@{helo}>"),
            "Auto-Submitted: auto-generated".into(),
            format!("X-Helo-Tool: helo/{version}"),
            format!("X-Helo-Token: {token}"),
            format!("X-Helo-Check: {check}/{leg}/{case}"),
            "MIME-Version: 1.0".into(),
            "Content-Type: text/plain; charset=us-ascii".into(),
            String::new(),
            "This is a test message of the mail server check \"helo\".".into(),
            format!("Started by {operator}; it may be deleted."),
            format!("BEGIN-{short}"),
            ".".into(),
            "..two dots, and spaces at the end:   ".into(),
            long,
            format!("END-{short}"),
        ];
        let mut message = lines.join("\r\n").into_bytes();
        message.extend_from_slice(b"\r\n");
        message
    }
}

/// A marked message with another body, which may be UTF-8: the header says so.
pub fn with_body(marked: &[u8], text: &str) -> Vec<u8> {
    let head = marked.len() - body(marked).len();
    let head = String::from_utf8_lossy(marked.get(..head).unwrap_or_default());
    let head = if text.is_ascii() {
        head.into_owned()
    } else {
        head.replace(
            "charset=us-ascii\r\n",
            "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        )
    };
    [head.as_bytes(), text.as_bytes()].concat()
}

/// The body of a message: what follows the first empty line.
pub fn body(message: &[u8]) -> &[u8] {
    let crlf = memchr::memmem::find(message, b"\r\n\r\n").map(|at| at + 4);
    let lf = memchr::memmem::find(message, b"\n\n").map(|at| at + 2);
    let start = match (crlf, lf) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b).unwrap_or(message.len()),
    };
    message.get(start..).unwrap_or_default()
}

/// Whether two bodies are the same but for the line ends, which a mailbox
/// format may change, and empty lines at the end.
pub fn same_body(sent: &[u8], arrived: &[u8]) -> bool {
    let lines = |message| {
        let text: Vec<u8> = body(message)
            .iter()
            .copied()
            .filter(|&octet| octet != b'\r')
            .collect();
        let end = text
            .iter()
            .rposition(|&octet| octet != b'\n')
            .map_or(0, |at| at + 1);
        text.get(..end).unwrap_or_default().to_vec()
    };
    lines(sent) == lines(arrived)
}

/// The values of a header field, unfolded, in order.
pub fn header(message: &[u8], name: &str) -> Vec<String> {
    let head = message.len() - body(message).len();
    let text = String::from_utf8_lossy(message.get(..head).unwrap_or_default());
    let mut found: Vec<String> = Vec::new();
    let mut wanted = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = found.last_mut().filter(|_| wanted) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        let field = line.split_once(':');
        wanted = field.is_some_and(|(field, _)| field.trim_end().eq_ignore_ascii_case(name));
        if let Some((_, value)) = field.filter(|_| wanted) {
            found.push(value.trim().to_owned());
        }
    }
    found
}

/// The address of the client in a Received field: the first address in brackets,
/// or in parentheses, before `by`.
pub fn client_of_received(received: &str) -> Option<IpAddr> {
    let from = match received.split(" by ").next() {
        Some(from) if from.starts_with("from ") => from,
        _ => return None,
    };
    from.split(['[', ']', '(', ')', ' ']).find_map(|word| {
        let word = word.strip_prefix("IPv6:").unwrap_or(word);
        word.parse::<IpAddr>().ok()
    })
}

/// A date as in `Tue, 24 Nov 2026 12:00:00 +0000` (RFC 5322 §3.3).
pub fn rfc5322_date(at: Timestamp) -> String {
    let nanos = i64::try_from(at.nanos()).unwrap_or(i64::MAX);
    chrono::DateTime::from_timestamp_nanos(nanos).to_rfc2822()
}

/// A date as in `Tue Nov 24 12:00:00 2026`, UTC: the form of C's `asctime`, which
/// the first line of a message in an mbox has (RFC 4155).
pub fn asctime(at: Timestamp) -> String {
    let nanos = i64::try_from(at.nanos()).unwrap_or(i64::MAX);
    let time = chrono::DateTime::from_timestamp_nanos(nanos);
    time.format("%a %b %e %H:%M:%S %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mbox_dates_are_of_one_width() {
        let at = |text: &str| asctime(text.parse().unwrap());
        assert_eq!(at("2026-11-24T12:00:01Z"), "Tue Nov 24 12:00:01 2026");
        assert_eq!(at("2026-01-02T03:04:05Z"), "Fri Jan  2 03:04:05 2026");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |text: &str| rfc5322_date(text.parse().unwrap());
        assert_eq!(
            at("2026-11-24T12:00:01Z"),
            "Tue, 24 Nov 2026 12:00:01 +0000"
        );
        assert_eq!(
            at("2000-02-29T23:59:59Z"),
            "Tue, 29 Feb 2000 23:59:59 +0000"
        );
    }

    #[test]
    fn clients_are_found_in_received_fields() {
        for (received, client) in [
            (
                "from a (unknown [192.0.2.7]) by mx (Postfix) with ESMTP",
                Some("192.0.2.7"),
            ),
            (
                "from a (a.test [IPv6:2001:db8::7]) by mx with ESMTP",
                Some("2001:db8::7"),
            ),
            (
                "from [198.51.100.7] (helo=a) by mx with esmtp (Exim 4.96)",
                Some("198.51.100.7"),
            ),
            (
                "from a ([192.0.2.7]) by mx (Heloscope) with ESMTP",
                Some("192.0.2.7"),
            ),
            ("by mx (Postfix, from userid 0) id 1; [1.2.3.4]", None),
        ] {
            assert_eq!(
                client_of_received(received),
                client.map(|c| c.parse().unwrap()),
                "{received}"
            );
        }
    }

    #[test]
    fn headers_are_unfolded() {
        let message =
            b"Received: from a\r\n\t(b)\r\nSubject: x\r\nreceived: c\r\n\r\nReceived: no\r\n";
        assert_eq!(header(message, "Received"), ["from a (b)", "c"]);
    }

    #[test]
    fn bodies_compare_without_line_ends() {
        assert!(same_body(b"A: b\r\n\r\nx\r\ny\r\n", b"C: d\n\nx\ny\n\n"));
        assert!(!same_body(b"A: b\r\n\r\nx\r\n.y\r\n", b"A: b\n\nx\ny\n"));
    }
}
