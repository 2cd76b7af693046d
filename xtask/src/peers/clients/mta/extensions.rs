//! Which extensions a mail server uses when they are offered, over SMTP and LMTP: one
//! message that has a use for all of them, and what the recording says of it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{ALL, Delivery, Mta, attempt};
use crate::peers::clients::message::Message;
use crate::peers::clients::proof;
use crate::peers::clients::roster::TO;
use crate::peers::clients::site::Serving;
use crate::peers::clients::table::Cell;
use crate::peers::clients::{Protocol, Transport};
use crate::peers::lab::Lab;

/// A row of the table.
pub(in crate::peers::clients) struct Extension {
    /// Its keyword.
    pub(in crate::peers::clients) name: &'static str,
    /// What a client does that uses it.
    pub(in crate::peers::clients) shown_by: &'static str,
    used: fn(&[Value]) -> bool,
}

pub(in crate::peers::clients) const EXTENSIONS: &[Extension] = &[
    Extension {
        name: "PIPELINING",
        shown_by: "MAIL and RCPT came at once",
        used: |session| {
            let read = |verb| proof::command(session, verb).and_then(|record| record.get("rd"));
            read("MAIL").is_some() && read("MAIL") == read("RCPT")
        },
    },
    Extension {
        name: "SIZE",
        shown_by: "MAIL with SIZE",
        used: |session| has(session, "MAIL", &["SIZE="]),
    },
    Extension {
        name: "8BITMIME",
        shown_by: "MAIL with BODY=8BITMIME",
        used: |session| has(session, "MAIL", &["BODY=8BITMIME"]),
    },
    Extension {
        name: "SMTPUTF8",
        shown_by: "MAIL with SMTPUTF8",
        used: |session| has(session, "MAIL", &["SMTPUTF8"]),
    },
    Extension {
        name: "CHUNKING",
        shown_by: "BDAT",
        used: |session| proof::command(session, "BDAT").is_some(),
    },
    Extension {
        name: "DSN",
        shown_by: "MAIL with RET and ENVID, RCPT with NOTIFY and ORCPT",
        used: |session| {
            has(session, "MAIL", &["RET=", "ENVID="])
                && has(session, "RCPT", &["NOTIFY=", "ORCPT="])
        },
    },
];

/// A command has parameters that begin so.
fn has(session: &[Value], verb: &str, parameters: &[&str]) -> bool {
    let said = proof::command(session, verb).map_or("", |record| proof::text(record, "b"));
    let given: Vec<&str> = said.split_whitespace().collect();
    let mut parameters = parameters.iter();
    parameters.all(|parameter| given.iter().any(|given| given.starts_with(parameter)))
}

/// The two deliveries, to the server that wants no AUTH.
pub(super) fn deliveries(server: &Serving<'_>) -> Result<Vec<Delivery>> {
    let protocols = [Protocol::Smtp, Protocol::Lmtp].into_iter();
    let delivery = |protocol| -> Result<Delivery> {
        let port = server.port(protocol, Transport::Clear)?.to_owned();
        Ok(Delivery {
            mechanism: server.mechanism,
            transport: Transport::Clear,
            way: ALL,
            protocol,
            port,
        })
    };
    protocols.map(delivery).collect()
}

/// What it used in one delivery, a cell for each extension.
pub(super) fn used(
    mta: &Mta,
    lab: &Lab,
    server: &Serving<'_>,
    delivery: &Delivery,
) -> Result<Vec<Cell>> {
    let session = attempt(mta, lab, server, delivery)
        .with_context(|| format!("all extensions over {}", delivery.protocol.name()))?;
    let hello = match delivery.protocol {
        Protocol::Smtp => "EHLO",
        Protocol::Lmtp => "LHLO",
    };
    ensure!(proof::command(&session, hello).is_some(), "no {hello}");
    let mut cells = Vec::new();
    for extension in EXTENSIONS {
        ensure!(
            proof::offered(&session, extension.name),
            "{} is not offered",
            extension.name
        );
        cells.push(if (extension.used)(&session) {
            Cell::Used
        } else {
            Cell::NotUsed
        });
    }
    Ok(cells)
}

/// What a client says to submit the message with a use for every extension.
pub(super) fn dialogue(message: &Message, from: &str) -> Vec<u8> {
    let envelope = format!(
        "EHLO client.test\r\n\
         MAIL FROM:<{from}> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=cell\r\n\
         RCPT TO:<{TO}> NOTIFY=FAILURE ORCPT=rfc822;{TO}\r\nDATA\r\n"
    );
    let mut said = envelope.into_bytes();
    for line in message.octets().split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            said.push(b'.');
        }
        said.extend_from_slice(line);
    }
    said.extend_from_slice(b".\r\nQUIT\r\n");
    said
}
