//! What the server says about its client: Received fields and EHLO replies.

use std::net::IpAddr;

use super::observe::argument;
use super::{Evidence, Leg};
use crate::command::Verb;

/// The parts of a Received field that a check reads (RFC 5321 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received<'a> {
    /// The client's address as the server saw it.
    pub(super) client: Option<IpAddr>,
    /// The server's own name.
    pub(super) by: Option<&'a str>,
    /// The protocol.
    pub(super) with: Option<&'a str>,
}

impl<'a> Received<'a> {
    /// Reads an unfolded field, with or without its name.
    pub(super) fn parse(field: &'a str) -> Self {
        let field = field.trim();
        let named = field
            .get(..9)
            .is_some_and(|name| name.eq_ignore_ascii_case("received:"));
        let field = if named {
            field.get(9..).unwrap_or_default()
        } else {
            field
        };
        let (from, rest) = match split_at_word(field, "by") {
            Some((from, rest)) => (from, rest),
            None => ("", field),
        };
        let with = split_at_word(rest, "with").map(|(_, with)| with);
        Self {
            client: client_in(from),
            by: (!from.is_empty() || field != rest)
                .then(|| first_word(rest))
                .filter(|by| !by.is_empty()),
            with: with.map(first_word).filter(|with| !with.is_empty()),
        }
    }
}

/// What stands before and after a word, comments left alone.
fn split_at_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, mark) in text.char_indices().chain([(text.len(), ' ')]) {
        match mark {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if mark.is_whitespace() || mark == ';' => {
                let found = text.get(start..at).unwrap_or_default();
                if depth == 0 && found.eq_ignore_ascii_case(word) {
                    return Some((text.get(..start)?, text.get(at..)?));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn first_word(text: &str) -> &str {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches([';', ','])
}

/// The last address literal that is not part of `helo=`: Postfix, OpenSMTPD
/// and Sendmail write `name (rdns [addr])`, Exim `[addr] (helo=name)`.
fn client_in(from: &str) -> Option<IpAddr> {
    let mut literals = from.match_indices('[').filter_map(|(at, _)| {
        let before = from.get(..at)?;
        if before.ends_with("helo=") || before.ends_with("HELO=") {
            return None;
        }
        address(from.get(at + 1..)?.split(']').next()?)
    });
    literals.next_back()
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The client's address as the server saw it on this leg, by the messages
/// that arrived, else by the EHLO reply, which Exim, OpenSMTPD and Sendmail
/// end in `[addr]`.
pub(super) fn client_seen(leg: &Leg<'_>) -> Option<(IpAddr, Evidence)> {
    let by_arrival = leg.arrivals.iter().find_map(|arrival| {
        let field = arrival.received.first().map_or("", String::as_str);
        // A client may call itself by any address: the field, read whole, counts.
        let seen = Received::parse(field).client.or(arrival.client_seen)?;
        Some((seen.to_canonical(), Evidence::text("Received", field)))
    });
    by_arrival.or_else(|| {
        leg.dialogues.iter().find_map(|dialogue| {
            dialogue.exchanges.iter().find_map(|exchange| {
                let hello = exchange.said.verb() == Some(&Verb::Ehlo);
                // A name that is a literal may come back as it was said.
                if !hello || argument(&exchange.said).starts_with('[') {
                    return None;
                }
                let seen = client_in(exchange.reply()?.first_line())?;
                Some((seen, Evidence::of(dialogue, exchange)))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_writes_it_differently() {
        for (field, client, by, with) in [
            (
                "Received: from c.example.org (unknown [192.0.2.7]) by mx.example.net (Postfix) with ESMTPS id 4F1 for <a@b>; Mon",
                "192.0.2.7",
                "mx.example.net",
                "ESMTPS",
            ),
            (
                "from [192.0.2.7] (helo=[10.0.0.1]) by mx.example.net with esmtp (Exim 4.96) (envelope-from <a@b>) id 1",
                "192.0.2.7",
                "mx.example.net",
                "esmtp",
            ),
            (
                "from by.example.org ([192.0.2.7] helo=c) by mx.example.net with smtp (Exim)",
                "192.0.2.7",
                "mx.example.net",
                "smtp",
            ),
            (
                "from c (c.example.org [IPv6:2001:db8::7]) by mx.example.net (OpenSMTPD) with ESMTP id 9",
                "2001:db8::7",
                "mx.example.net",
                "ESMTP",
            ),
            (
                "from c.example.org (c.example.org [192.0.2.7] (may be forged)) by mx.example.net (8.17) with ESMTP id 9",
                "192.0.2.7",
                "mx.example.net",
                "ESMTP",
            ),
        ] {
            let received = Received::parse(field);
            assert_eq!(received.client, Some(client.parse().unwrap()), "{field}");
            assert_eq!(
                (received.by, received.with),
                (Some(by), Some(with)),
                "{field}"
            );
        }
    }

    #[test]
    fn what_is_no_received_field_yields_nothing() {
        for field in [
            "",
            "x",
            "Received:",
            "from",
            "Received: (qmail 1 invoked by uid 0)",
        ] {
            assert_eq!(Received::parse(field), Received::default(), "{field}");
        }
    }
}
