//! What the recording says a client did.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Transport;

/// The records of the session whose mail data has the mark, once it is closed.
pub(super) fn session(recording: &str, mark: &[u8]) -> Result<Option<Vec<Value>>> {
    let mut sessions: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    // The last line may still be written.
    let whole = recording.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let record: Value = serde_json::from_str(line)?;
        if let Some(number) = record.get("s").and_then(Value::as_u64) {
            sessions.entry(number).or_default().push(record);
        }
    }
    for records in sessions.into_values() {
        let closed = position(&records, |record| kind(record) == "close").is_some();
        if closed && has(&mail_data(&records)?, mark) {
            return Ok(Some(records));
        }
    }
    Ok(None)
}

/// The transport and the mechanism are those that were asked for, before MAIL.
pub(super) fn must_have_used(
    session: &[Value],
    transport: Transport,
    mechanism: &str,
) -> Result<()> {
    let mail = position(session, |record| is_command(record, "MAIL")).context("no MAIL")?;
    let handshake = position(session, |record| {
        kind(record) == "tls" && record.get("ok") == Some(&Value::Bool(true))
    });
    let starttls = position(session, |record| is_command(record, "STARTTLS"));
    let open = position(session, |record| text(record, "tls") == "implicit");
    match transport {
        Transport::Clear => ensure!(
            (handshake, starttls, open) == (None, None, None),
            "TLS was used"
        ),
        Transport::Starttls => {
            let order = starttls.is_some() && starttls < handshake && handshake < Some(mail);
            ensure!(
                order && open.is_none(),
                "no STARTTLS and handshake before MAIL"
            );
        }
        Transport::Implicit => {
            let order = open.is_some() && open < handshake && handshake < Some(mail);
            ensure!(order && starttls.is_none(), "no handshake before all else");
        }
    }
    let auth = position(session, |record| is_command(record, "AUTH"));
    let Some(auth) = auth else {
        ensure!(mechanism == "none", "no AUTH");
        return Ok(());
    };
    ensure!(handshake < Some(auth), "AUTH before the handshake");
    let said = session.get(auth).map_or("", |record| text(record, "b"));
    let named = said.split_whitespace().nth(1).unwrap_or("");
    ensure!(named.eq_ignore_ascii_case(mechanism), "it said {said:?}");
    let proven = position(session, |record| {
        kind(record) == "rep" && record.get("code").and_then(Value::as_u64) == Some(235)
    });
    ensure!(
        proven > Some(auth) && proven < Some(mail),
        "AUTH did not succeed before MAIL"
    );
    Ok(())
}

/// The first command of a kind.
pub(super) fn command<'a>(session: &'a [Value], verb: &str) -> Option<&'a Value> {
    session.iter().find(|record| is_command(record, verb))
}

/// The reply to EHLO or LHLO has a line with the keyword.
pub(super) fn offered(session: &[Value], keyword: &str) -> bool {
    let hello = position(session, |record| {
        is_command(record, "EHLO") || is_command(record, "LHLO")
    });
    let mut after = session.iter().skip(hello.unwrap_or(session.len()));
    let reply = after.find(|record| kind(record) == "rep");
    let lines = reply.map_or("", |record| text(record, "b")).lines().skip(1);
    let mut keywords = lines.filter_map(|line| line.get(4..)?.split(' ').next());
    keywords.any(|said| said == keyword)
}

fn mail_data(records: &[Value]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for record in records.iter().filter(|record| kind(record) == "data") {
        match text(record, "b64") {
            "" => all.extend_from_slice(text(record, "b").as_bytes()),
            encoded => all.extend(STANDARD.decode(encoded)?),
        }
    }
    Ok(all)
}

fn has(octets: &[u8], mark: &[u8]) -> bool {
    octets.windows(mark.len()).any(|window| window == mark)
}

fn position(records: &[Value], fits: impl Fn(&Value) -> bool) -> Option<usize> {
    records.iter().position(fits)
}

fn is_command(record: &Value, verb: &str) -> bool {
    kind(record) == "cmd" && text(record, "verb") == verb
}

fn kind(record: &Value) -> &str {
    text(record, "k")
}

pub(super) fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record.get(field).and_then(Value::as_str).unwrap_or("")
}
