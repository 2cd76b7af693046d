//! Which verdicts follow from what is true of a server.

use super::truth::Facts;

/// The legs a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Both,
    Localhost,
    Remote,
}

use On::{Both, Localhost, Remote};

/// A check, a leg, a fact, what the fact is, and the verdicts that agree with it.
/// The first row that fits decides. A star stands for any rest; `_` for a fact that
/// nobody observed.
const ROWS: &[(&str, On, &str, &str, &str)] = &[
    ("conn-banner", Both, "greeting", "220", "pass"),
    ("conn-banner", Both, "greeting", "*", "fail"),
    ("conn-ehlo", Both, "greeting", "220", "pass"),
    ("conn-ehlo", Both, "greeting", "*", "skip"),
    ("deliver-self", Both, "delivery", "delivered", "pass"),
    (
        "deliver-self",
        Both,
        "delivery",
        "deferred*",
        "inconclusive",
    ),
    ("deliver-self", Both, "delivery", "refused*", "fail"),
    // It judges whatever was answered, be it little.
    ("proto-replies", Localhost, "stopped", "yes", "pass"),
    ("proto-replies", Both, "greeting", "5*", "pass"),
    // A procedure whose delivery over localhost fails stops there.
    ("*", Localhost, "stopped", "yes", "skip"),
    // A server that refuses connections is soon left alone.
    ("*", Both, "greeting", "5*", "skip"),
    // What is seen before any recipient is named.
    ("tls-offered", Both, "starttls", "works", "pass"),
    ("tls-offered", Localhost, "starttls", "absent", "info"),
    ("tls-offered", Remote, "starttls", "absent", "fail"),
    ("tls-strip", Remote, "starttls_near", "_", "skip"),
    ("tls-strip", Remote, "starttls_near", "*", "pass"),
    ("enum-vrfy", Both, "vrfy_tells", "false", "pass"),
    ("enum-vrfy", Localhost, "vrfy_tells", "true", "info"),
    ("enum-vrfy", Remote, "vrfy_tells", "true", "fail"),
    ("enum-expn", Both, "expn_tells", "false", "pass"),
    ("enum-expn", Localhost, "expn_tells", "true", "info"),
    ("enum-expn", Remote, "expn_tells", "true", "fail"),
    ("enum-rcpt", Both, "greeting", "220", "info"),
    // What is never judged.
    ("relay-plain", Localhost, "relay-plain", "*", "info"),
    ("rcpt-plus", Both, "delivery", "*", "info"),
    // AUTH is on port 25 of one variant alone, with PLAIN and LOGIN outside TLS too.
    (
        "auth-plaintext-offer",
        Remote,
        "variant",
        "plaintext-auth",
        "fail",
    ),
    (
        "auth-plaintext-offer",
        Localhost,
        "variant",
        "plaintext-auth",
        "info",
    ),
    ("auth-plaintext-offer", Both, "greeting", "220", "pass"),
    ("auth-port25", Both, "variant", "plaintext-auth", "info"),
    ("auth-port25", Both, "greeting", "220", "pass"),
    ("auth-mechs", Both, "variant", "plaintext-auth", "pass"),
    ("auth-mechs", Both, "greeting", "220", "skip"),
    // The default greetings: Exim's has its version, Postfix's has not.
    ("info-version", Both, "mta", "postfix", "pass"),
    ("info-version", Localhost, "mta", "exim", "info"),
    ("info-version", Remote, "mta", "exim", "warn"),
    ("cmd-privileged", Both, "greeting", "220", "pass"),
    // Both are set to 10 MiB, and both keep to what SIZE says.
    ("limit-size", Both, "greeting", "220", "pass"),
    // Who is turned away, which is seen at RCPT: no more than the defaults do. On
    // localhost it is never judged.
    ("helo-*", Localhost, "delivery", "refused*", "info"),
    ("sender-*", Localhost, "delivery", "refused*", "info"),
    (
        "helo-*",
        Remote,
        "delivery",
        "deferred*",
        "inconclusive pass warn",
    ),
    (
        "sender-*",
        Remote,
        "delivery",
        "deferred*",
        "inconclusive pass warn",
    ),
    // Exim's hosts_require_helo is * by default, Postfix's smtpd_helo_required is no.
    ("helo-required", Both, "mta", "exim", "pass"),
    // Exim's lab has `require verify = sender`, as its default configuration has;
    // Postfix's has no smtpd_sender_restrictions.
    ("sender-domain", Both, "mta", "exim", "pass"),
    ("helo-*", Localhost, "delivery", "delivered", "info"),
    ("helo-*", Remote, "delivery", "delivered", "warn"),
    ("sender-*", Localhost, "delivery", "delivered", "info"),
    ("sender-*", Remote, "delivery", "delivered", "warn"),
    // The protocol: neither needs a recipient for these.
    ("proto-sequence", Both, "greeting", "220", "pass"),
    // Postfix gives its answers to ETRN no enhanced status codes, though it offers them;
    // a client that is refused hears of that instead.
    ("proto-replies", Both, "delivery", "refused*", "pass"),
    ("proto-replies", Both, "mta", "postfix", "warn"),
    ("proto-replies", Both, "greeting", "220", "pass"),
    // Postfix forbids GET and POST (smtpd_forbidden_commands), Exim has no such list.
    ("proto-http", Both, "mta", "postfix", "pass"),
    ("proto-http", Both, "mta", "exim", "warn"),
    // Exim takes any octet above 127 in an address, whatever it may be.
    ("proto-smtputf8", Both, "mta", "exim", "warn"),
    // Content that is accepted arrives; commands with NUL are refused by both.
    ("proto-octets", Both, "greeting", "220", "pass"),
    ("proto-*", Both, "delivery", "delivered", "pass"),
    // What is refused there is not reached: the other cases of the check decide.
    (
        "proto-second-transaction",
        Both,
        "delivery",
        "refused*",
        "inconclusive",
    ),
    ("proto-*", Both, "delivery", "refused*", "inconclusive pass"),
    (
        "proto-*",
        Both,
        "delivery",
        "deferred*",
        "inconclusive pass",
    ),
    // What needs a message that arrived.
    ("trace-headers", Both, "delivery", "delivered", "pass"),
    // What is deferred at first gets through later, on a run that takes its time.
    ("trace-headers", Both, "delivery", "deferred*", "skip pass"),
    ("trace-headers", Both, "delivery", "*", "skip"),
    ("leg-masked", Remote, "delivery", "delivered", "pass"),
    ("leg-masked", Remote, "delivery", "*", "pass skip"),
    // Where the ordinary recipient is not accepted, nothing else is decided; while
    // it is deferred, what comes late may be.
    (
        "deliver-null-sender",
        Both,
        "delivery",
        "deferred*",
        "inconclusive",
    ),
    (
        "deliver-null-sender",
        Both,
        "delivery",
        "refused*",
        "inconclusive",
    ),
    (
        "relay-*",
        Remote,
        "delivery",
        "deferred*",
        "inconclusive pass",
    ),
    ("relay-*", Remote, "delivery", "refused*", "inconclusive"),
    (
        "rcpt-abuse",
        Both,
        "delivery",
        "deferred*",
        "inconclusive pass warn",
    ),
    ("rcpt-*", Both, "delivery", "deferred*", "inconclusive pass"),
    ("rcpt-*", Both, "delivery", "refused*", "inconclusive"),
    // Strangers to strangers.
    ("relay-plain", Remote, "relay-plain", "relayed", "fail"),
    (
        "relay-null-sender",
        Remote,
        "relay-null-sender",
        "relayed",
        "fail",
    ),
    (
        "relay-own-sender",
        Remote,
        "relay-own-sender",
        "relayed",
        "fail",
    ),
    (
        "relay-percent-hack",
        Remote,
        "relay-percent-hack",
        "relayed",
        "fail",
    ),
    (
        "relay-bang-path",
        Remote,
        "relay-bang-path",
        "relayed",
        "fail",
    ),
    (
        "relay-source-route",
        Remote,
        "relay-source-route",
        "relayed",
        "fail",
    ),
    (
        "relay-quoted-local",
        Remote,
        "relay-quoted-local",
        "relayed",
        "fail",
    ),
    (
        "relay-double-at",
        Remote,
        "relay-double-at",
        "relayed",
        "fail",
    ),
    ("relay-plain", Remote, "relay-plain", "refused", "pass"),
    (
        "relay-null-sender",
        Remote,
        "relay-null-sender",
        "refused",
        "pass",
    ),
    (
        "relay-own-sender",
        Remote,
        "relay-own-sender",
        "refused",
        "pass",
    ),
    (
        "relay-percent-hack",
        Remote,
        "relay-percent-hack",
        "refused",
        "pass",
    ),
    (
        "relay-bang-path",
        Remote,
        "relay-bang-path",
        "refused",
        "pass",
    ),
    (
        "relay-source-route",
        Remote,
        "relay-source-route",
        "refused",
        "pass",
    ),
    (
        "relay-quoted-local",
        Remote,
        "relay-quoted-local",
        "refused",
        "pass",
    ),
    (
        "relay-double-at",
        Remote,
        "relay-double-at",
        "refused",
        "pass",
    ),
    // Who relays for anyone relays for those too; who does not, does not.
    (
        "relay-domain-match",
        Remote,
        "relay-plain",
        "relayed",
        "fail",
    ),
    ("relay-helo-trust", Remote, "relay-plain", "relayed", "fail"),
    ("relay-mixed", Remote, "relay-plain", "relayed", "fail"),
    ("relay-*", Remote, "relay-plain", "refused", "pass"),
    // A relay that takes no address literal may take an address for a name.
    ("relay-literal", Remote, "literal", "refused*", "fail pass"),
    ("relay-literal", Remote, "relay-plain", "relayed", "fail"),
    // A relay may still refuse a form that nobody tried.
    ("relay-*", Remote, "relay-plain", "relayed", "fail pass"),
    // Its own recipients.
    (
        "deliver-null-sender",
        Both,
        "null_sender",
        "delivered",
        "pass",
    ),
    (
        "deliver-null-sender",
        Both,
        "null_sender",
        "refused*",
        "fail",
    ),
    ("rcpt-postmaster", Both, "postmaster", "refused*", "fail"),
    (
        "rcpt-postmaster",
        Both,
        "postmaster_bare",
        "refused*",
        "fail",
    ),
    ("rcpt-postmaster", Both, "postmaster", "delivered", "pass"),
    ("rcpt-unknown", Both, "unknown_user", "refused*", "pass"),
    ("rcpt-unknown", Localhost, "unknown_user", "*", "info"),
    ("rcpt-unknown", Remote, "unknown_user", "*", "fail"),
    // The lab's servers have no mailbox abuse.
    ("rcpt-abuse", Both, "unknown_user", "refused*", "warn"),
    ("rcpt-abuse", Both, "unknown_user", "*", "pass"),
    ("rcpt-case", Both, "capitals", "delivered", "pass"),
    ("rcpt-case", Both, "capitals", "refused*", "fail warn"),
    ("rcpt-quoted", Both, "delivery", "delivered", "pass"),
    ("rcpt-own-forms", Both, "delivery", "delivered", "pass"),
    ("rcpt-dangerous", Both, "unknown_user", "refused*", "pass"),
    // Whoever takes any local-part may take these, and who knows what for.
    (
        "rcpt-dangerous",
        Localhost,
        "unknown_user",
        "*",
        "info pass",
    ),
    (
        "rcpt-dangerous",
        Remote,
        "unknown_user",
        "*",
        "inconclusive pass",
    ),
];

/// The verdicts of a check that agree with the facts of a leg; `None` where no row
/// knows the check or what is true.
pub(super) fn verdicts(check: &str, leg: &str, facts: &Facts) -> Option<Vec<&'static str>> {
    let row = ROWS.iter().find(|(pattern, on, fact, value, _)| {
        let here = match on {
            Both => true,
            Localhost => leg == "localhost",
            Remote => leg != "localhost",
        };
        here && fits(pattern, check)
            && match facts.get(*fact) {
                Some(known) => *value != "_" && fits(value, known),
                None => *value == "_",
            }
    });
    row.map(|(.., verdicts)| verdicts.split(' ').collect())
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(known: &[(&str, &str)]) -> Facts {
        let pairs = known.iter();
        pairs
            .map(|(fact, value)| ((*fact).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_first_row_that_fits_decides() {
        let open = [("delivery", "delivered"), ("relay-plain", "relayed")];
        for (check, leg, known, wanted) in [
            ("relay-plain", "remote", &open[..], Some(vec!["fail"])),
            ("relay-plain", "localhost", &open, Some(vec!["info"])),
            ("relay-mixed", "remote", &open, Some(vec!["fail"])),
            (
                "relay-bang-path",
                "remote",
                &open,
                Some(vec!["fail", "pass"]),
            ),
            (
                "rcpt-unknown",
                "remote",
                &[
                    ("delivery", "refused-at-rcpt"),
                    ("unknown_user", "refused-at-rcpt"),
                ],
                Some(vec!["inconclusive"]),
            ),
            (
                "rcpt-unknown",
                "remote",
                &[("unknown_user", "bounced")],
                Some(vec!["fail"]),
            ),
            ("rcpt-unknown", "remote", &[], None),
            ("tls-strip", "remote", &[], Some(vec!["skip"])),
            ("rcpt-unheard-of", "remote", &open, None),
        ] {
            assert_eq!(
                verdicts(check, leg, &facts(known)),
                wanted,
                "{check} on {leg}"
            );
        }
    }

    #[test]
    fn rows_name_verdicts_that_exist() {
        for (check, .., verdicts) in ROWS {
            for verdict in verdicts.split(' ') {
                let known = ["fail", "inconclusive", "info", "pass", "skip", "warn"];
                assert!(known.contains(&verdict), "{check}: {verdict}");
            }
        }
    }
}
