//! Any parameters are understood or refused, and stay what was heard.
#![no_main]

use helo_shared::command::Command;
use helo_shared::extension::{MailParameters, Offered, RcptParameters};
use libfuzzer_sys::fuzz_target;

const OFFERED: &[&str] = &[
    "8BITMIME",
    "AUTH PLAIN",
    "BINARYMIME",
    "CHUNKING",
    "DELIVERBY",
    "DSN",
    "FUTURERELEASE 86400 2026-12-31T00:00:00Z",
    "MT-PRIORITY",
    "REQUIRETLS",
    "SIZE 1000",
    "SMTPUTF8",
];

fuzz_target!(|line: &[u8]| {
    let offered = Offered::parse(OFFERED.iter().copied());
    let refused = match Command::parse(line).command {
        Ok(Command::Mail { parameters, .. }) => {
            let found = MailParameters::parse(&parameters, &offered);
            found
                .map(|found| assert_eq!(found.to_string(), parameters.to_string()))
                .err()
        }
        Ok(Command::Rcpt { parameters, .. }) => {
            let found = RcptParameters::parse(&parameters, &offered);
            found
                .map(|found| assert_eq!(found.to_string(), parameters.to_string()))
                .err()
        }
        Ok(Command::Xclient(said)) => return assert_eq!(said.wire().parse(), Ok(*said)),
        Ok(Command::Xforward(said)) => return assert_eq!(said.to_string().parse(), Ok(*said)),
        _ => None,
    };
    if let Some(error) = refused {
        assert!(error.reply().code().is_refusal());
    }
});
