//! Every command at every stage (RFC 5321 §4.1.4, §4.3.2; RFC 2033 §4.1 for LHLO).

use std::fmt::Write as _;

use crate::file::Dialogue;
use crate::play::Server;

const OPENING: &str = "S: 220 mx.test ESMTP Heloscope\n";

/// How a session comes to each stage, in the order of the columns below.
const STAGES: [(&str, &str); 5] = [
    ("greeted", ""),
    ("ready", HELLO),
    ("mail", MAIL),
    ("rcpt", RCPT),
    ("bdat", BDAT),
];

const HELLO: &str = "C: EHLO c.test\nS: 250-…\nS: 250 ENHANCEDSTATUSCODES\n";
const MAIL: &str = "C: EHLO c.test\nS: 250-…\nS: 250 ENHANCEDSTATUSCODES\n\
                    C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 …\n";
const RCPT: &str = "C: EHLO c.test\nS: 250-…\nS: 250 ENHANCEDSTATUSCODES\n\
                    C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 …\n\
                    C: RCPT TO:<anna@local.test>\nS: 250 2.1.5 …\n";
const BDAT: &str = "C: EHLO c.test\nS: 250-…\nS: 250 ENHANCEDSTATUSCODES\n\
                    C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 …\n\
                    C: RCPT TO:<anna@local.test>\nS: 250 2.1.5 …\n\
                    C: BDAT 1\nC~ x\nS: 250 2.0.0 …\n";

/// A command, what it is answered at each stage, and the stage after it there:
/// g(reeted), r(eady), m(ail), t (a recipient was taken), d(ata), b(dat),
/// x (closed), h(andshake).
#[rustfmt::skip]
const TABLE: &[(&str, [(&str, char); 5])] = &[
    ("EHLO c.test", [("250-", 'r'), ("250-", 'r'), ("250-", 'r'), ("250-", 'r'), ("250-", 'r')]),
    ("EHLO", [("501 5.5.4", 'g'), ("501 5.5.4", 'r'), ("501 5.5.4", 'm'), ("501 5.5.4", 't'), ("501 5.5.4", 'b')]),
    ("HELO c.test", [("250 mx", 'r'), ("250 mx", 'r'), ("250 mx", 'r'), ("250 mx", 'r'), ("250 mx", 'r')]),
    ("LHLO c.test", [("500 5.5.1", 'g'), ("500 5.5.1", 'r'), ("500 5.5.1", 'm'), ("500 5.5.1", 't'), ("500 5.5.1", 'b')]),
    ("MAIL FROM:<a@c.test>", [("503 5.5.1", 'g'), ("250 2.1.0", 'm'), ("503 5.5.1", 'm'), ("503 5.5.1", 't'), ("503 5.5.1", 'b')]),
    ("MAIL FROM:<>", [("503 5.5.1", 'g'), ("250 2.1.0", 'm'), ("503 5.5.1", 'm'), ("503 5.5.1", 't'), ("503 5.5.1", 'b')]),
    ("RCPT TO:<bert@local.test>", [("503 5.5.1", 'g'), ("503 5.5.1", 'r'), ("250 2.1.5", 't'), ("250 2.1.5", 't'), ("503 5.5.1", 'b')]),
    ("RCPT TO:<nobody@local.test>", [("503 5.5.1", 'g'), ("503 5.5.1", 'r'), ("550 5.1.1", 'm'), ("550 5.1.1", 't'), ("503 5.5.1", 'b')]),
    ("DATA", [("503 5.5.1", 'g'), ("503 5.5.1", 'r'), ("503 5.5.1", 'm'), ("354 ", 'd'), ("503 5.5.1", 'b')]),
    ("BDAT 0", [("5", 'g'), ("503 5.5.1", 'r'), ("503 5.5.1", 'm'), ("250 2.0.0", 'b'), ("250 2.0.0", 'b')]),
    ("BDAT 0 LAST", [("5", 'g'), ("503 5.5.1", 'r'), ("503 5.5.1", 'm'), ("250 2.0.0", 'r'), ("250 2.0.0", 'r')]),
    ("RSET", [("250 2.0.0", 'g'), ("250 2.0.0", 'r'), ("250 2.0.0", 'r'), ("250 2.0.0", 'r'), ("250 2.0.0", 'r')]),
    ("NOOP", [("250 2.0.0", 'g'), ("250 2.0.0", 'r'), ("250 2.0.0", 'm'), ("250 2.0.0", 't'), ("250 2.0.0", 'b')]),
    ("HELP", [("214 2.0.0", 'g'), ("214 2.0.0", 'r'), ("214 2.0.0", 'm'), ("214 2.0.0", 't'), ("214 2.0.0", 'b')]),
    ("VRFY anna", [("252 2.5.2", 'g'), ("252 2.5.2", 'r'), ("252 2.5.2", 'm'), ("252 2.5.2", 't'), ("252 2.5.2", 'b')]),
    ("EXPN list", [("502 5.5.1", 'g'), ("502 5.5.1", 'r'), ("502 5.5.1", 'm'), ("502 5.5.1", 't'), ("502 5.5.1", 'b')]),
    ("ETRN c.test", [("502 5.5.1", 'g'), ("502 5.5.1", 'r'), ("502 5.5.1", 'm'), ("502 5.5.1", 't'), ("502 5.5.1", 'b')]),
    ("TURN", [("500 5.5.1", 'g'), ("500 5.5.1", 'r'), ("500 5.5.1", 'm'), ("500 5.5.1", 't'), ("500 5.5.1", 'b')]),
    ("AUTH PLAIN", [("503 5.5.1", 'g'), ("502 5.5.1", 'r'), ("503 5.5.1", 'm'), ("503 5.5.1", 't'), ("503 5.5.1", 'b')]),
    ("STARTTLS", [("220 2.0.0", 'h'), ("220 2.0.0", 'h'), ("503 5.5.1", 'm'), ("503 5.5.1", 't'), ("503 5.5.1", 'b')]),
    ("QUIT", [("221 2.0.0", 'x'), ("221 2.0.0", 'x'), ("221 2.0.0", 'x'), ("221 2.0.0", 'x'), ("221 2.0.0", 'x')]),
    ("UNKNOWN", [("500 5.5.1", 'g'), ("500 5.5.1", 'r'), ("500 5.5.1", 'm'), ("500 5.5.1", 't'), ("500 5.5.1", 'b')]),
];

/// What shows that the session is at that stage.
fn proof(stage: char) -> &'static str {
    match stage {
        'g' => "C: MAIL FROM:<p@c.test>\nS: 503 5.5.1 say EHLO first\n",
        'r' => {
            "C: RCPT TO:<anna@local.test>\nS: 503 5.5.1 MAIL first\n\
                C: MAIL FROM:<p@c.test>\nS: 250 2.1.0 …\n"
        }
        'm' => {
            "C: DATA\nS: 503 5.5.1 RCPT first\n\
                C: RCPT TO:<anna@local.test>\nS: 250 2.1.5 …\n"
        }
        't' => "C: DATA\nS: 354 …\nC| .\nS: 250 2.0.0 …\n",
        'd' => "C| .\nS: 250 2.0.0 …\n= messages 1\n",
        'b' => "C: RCPT TO:<anna@local.test>\nS: 503 …\nC: BDAT 0 LAST\nS: 250 2.0.0 …\n",
        'x' => "-- close\n",
        'h' => "-- tls\nC: MAIL FROM:<p@c.test>\nS: 503 5.5.1 say EHLO first\n",
        other => panic!("no stage {other}"),
    }
}

pub(crate) fn play_all() {
    let server = Server::new("");
    let mut failures = String::new();
    for (command, row) in TABLE {
        for ((stage, way), (reply, after)) in STAGES.iter().zip(row) {
            let end = if *reply == "250-" {
                "\nS: 250 ENHANCEDSTATUSCODES"
            } else {
                ""
            };
            let title = format!("{command} at stage {stage}");
            let proof = proof(*after);
            let text = format!("{OPENING}{way}C: {command}\nS: {reply}…{end}\n{proof}");
            let dialogue = Dialogue::parse(&title, &text, &title);
            if let Err(failure) = server.play_every_way(&dialogue) {
                let _ = writeln!(failures, "\n{title}: {failure}");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
