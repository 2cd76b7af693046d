//! Failures with names: rules ready to use, and what a sound client does about each.

/// A failure with a name.
#[derive(Debug)]
pub struct Failure {
    /// Its name.
    pub name: &'static str,
    /// Its rules.
    pub rules: &'static [&'static str],
    /// What a sound client does.
    pub sound: &'static str,
}

/// All of them, in the order of a session. `greylist` and `ratelimit` are presets.
pub const ALL: &[Failure] = &[
    Failure {
        name: "refuse-connect",
        rules: &["on connect : reset"],
        sound: "tries the next address or MX, then queues",
    },
    Failure {
        name: "busy-421",
        rules: &["on connect : reply 421 4.3.2 \"too busy, try again later\"; close"],
        sound: "treats it as temporary, no bounce",
    },
    Failure {
        name: "never-554",
        rules: &["on greeting : reply 554 \"no SMTP service here\""],
        sound: "takes it as permanent for this host, and says QUIT only",
    },
    Failure {
        name: "silent-greeting",
        rules: &["on greeting : hang"],
        sound: "gives up after 5 minutes: not seconds, not never",
    },
    Failure {
        name: "slow-greeting",
        rules: &["on greeting : delay 20s"],
        sound: "sends nothing before the 220",
    },
    Failure {
        name: "multiline-greeting",
        rules: &[
            "on greeting : reply-raw \"220-mx.example.test welcomes you\\r\\n220-with more than one line\\r\\n220 ESMTP ready\\r\\n\"",
        ],
        sound: "reads to the last line",
    },
    Failure {
        name: "ehlo-500",
        rules: &["on ehlo : reply 500 5.5.1 \"command not recognized\""],
        sound: "falls back to HELO, and uses no extension",
    },
    Failure {
        name: "ehlo-421",
        rules: &["on ehlo : reply 421 4.3.2 \"going down\"; close"],
        sound: "keeps the text of the 421 as the reason",
    },
    Failure {
        name: "starttls-454",
        rules: &["on starttls : reply 454 4.7.0 \"TLS not available\""],
        sound: "goes on in clear or stops, by its own policy, and says which",
    },
    Failure {
        name: "starttls-cut",
        rules: &["on tls : tls-close-after client-hello"],
        sound: "does not retry in clear where TLS was required",
    },
    Failure {
        name: "cert-expired",
        rules: &["on tls : tls-cert expired"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-not-yet-valid",
        rules: &["on tls : tls-cert not-yet-valid"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-wrong-name",
        rules: &["on tls : tls-cert wrong-name"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-name-in-cn",
        rules: &["on tls : tls-cert name-in-cn"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-unknown-ca",
        rules: &["on tls : tls-cert unknown-ca"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-self-signed",
        rules: &["on tls : tls-cert self-signed"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "cert-missing-intermediate",
        rules: &["on tls : tls-cert missing-intermediate"],
        sound: "refuses where it verifies, and names the cause",
    },
    Failure {
        name: "inject-220",
        rules: &["on starttls : inject-before-tls \"250-AUTH PLAIN\\r\\n250 injected\\r\\n\""],
        sound: "discards what came behind the 220, or aborts",
    },
    Failure {
        name: "auth-535",
        rules: &["on auth|auth-step : reply 535 5.7.8 \"authentication failed\""],
        sound: "stops: no loop over the password",
    },
    Failure {
        name: "auth-454",
        rules: &["on auth|auth-step : reply 454 4.7.0 \"authentication not possible now\""],
        sound: "tries again later: no loop over the password",
    },
    Failure {
        name: "auth-downgrade",
        rules: &[
            "on ehlo : advertise \"AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\"",
            "on auth if arg ~ \"(?i)^SCRAM-SHA-256\" : reply 504 5.5.4 \"that mechanism does not work\"",
        ],
        sound: "takes the next mechanism, and never PLAIN in clear",
    },
    Failure {
        name: "mail-452",
        rules: &["on mail : reply 452 4.3.1 \"insufficient system storage\""],
        sound: "tries again later",
    },
    Failure {
        name: "rcpt-mixed",
        rules: &["on rcpt nth 2 per transaction : reply 550 5.1.1 \"no such mailbox\""],
        sound: "delivers to the others, and reports one",
    },
    Failure {
        name: "rcpt-cap",
        rules: &["on rcpt if rcpts > 99 : reply 452 4.5.3 \"too many recipients\""],
        sound: "makes a second transaction for the rest",
    },
    Failure {
        name: "rcpt-none-pipelined",
        rules: &[
            "on rcpt : reply 550 5.1.1 \"no such mailbox\"",
            "on data : reply 354 \"go ahead\"",
            "on dot : reply 554 5.5.1 \"no valid recipients\"",
        ],
        sound: "sends only the dot, and takes the 554 (RFC 2920 §3.1)",
    },
    Failure {
        name: "data-354-late",
        rules: &["on data : delay 110s"],
        sound: "waits for 2 minutes",
    },
    Failure {
        name: "data-refused",
        rules: &["on data : reply 451 4.3.0 \"not now\""],
        sound: "says RSET or QUIT, and sends no content",
    },
    Failure {
        name: "early-reply",
        rules: &["on data : early-reply"],
        sound: "notices that it is out of step, and drops the connection",
    },
    Failure {
        name: "cut-at-byte",
        rules: &["on body-byte(1024) : reset"],
        sound: "counts it as not delivered, and tries once more",
    },
    Failure {
        name: "dot-slow",
        rules: &["on dot : delay 9m"],
        sound: "waits for 10 minutes, and makes no duplicate",
    },
    Failure {
        name: "lost-ack",
        rules: &["on dot : keep; no-reply; reset"],
        sound: "tries again; the copy is told by its Message-ID",
    },
    Failure {
        name: "dot-552",
        rules: &["on dot : reply 552 5.3.4 \"message too big\""],
        sound: "takes it as permanent, and tells the sender",
    },
    Failure {
        name: "partial-reply",
        rules: &["on dot : reply-truncate 3; hang"],
        sound: "times out: \"250\" without CRLF is no success",
    },
    Failure {
        name: "two-replies",
        rules: &["on dot : reply-twice"],
        sound: "notices the reply too many before its next MAIL",
    },
    Failure {
        name: "quit-cut",
        rules: &["on quit : close"],
        sound: "what was delivered stays delivered",
    },
    Failure {
        name: "lmtp-mixed",
        rules: &["on dot-rcpt nth 2 per transaction : reply 450 4.2.1 \"mailbox busy\""],
        sound: "has one result for each recipient",
    },
];

/// The failure of that name.
pub fn named(name: &str) -> Option<&'static Failure> {
    ALL.iter().find(|failure| failure.name == name)
}
