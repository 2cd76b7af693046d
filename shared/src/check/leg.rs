//! Legs: one run of the dialogue from one vantage.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::command::Verb;
use crate::recording::Dialogue;

/// How the server sees the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegKind {
    /// From the server's own machine over its loopback address: trusted.
    Localhost,
    /// From the server's own machine over its public address: judged as remote.
    OwnAddress,
    /// From elsewhere, not trusted and not authenticated.
    Remote,
    /// An authenticated session, from anywhere.
    Authenticated,
}

impl LegKind {
    /// All of them, in the order of a report's columns.
    pub const ALL: [Self; 4] = [
        Self::Localhost,
        Self::OwnAddress,
        Self::Remote,
        Self::Authenticated,
    ];

    /// The word used in recordings and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Localhost => "localhost",
            Self::OwnAddress => "own-address",
            Self::Remote => "remote",
            Self::Authenticated => "authenticated",
        }
    }

    /// The kind of that name; `auth` is accepted too.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "auth" {
            "authenticated"
        } else {
            name
        };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The rules for strangers apply.
    pub const fn is_stranger(self) -> bool {
        matches!(self, Self::OwnAddress | Self::Remote)
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address; an IPv4 address written as IPv6 is IPv4.
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// One leg: its dialogues in the order in which they were held.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg<'a> {
    /// How the server saw the client.
    pub kind: LegKind,
    /// Strangeness was imitated on the server's own machine.
    pub emulated: bool,
    /// The family of the addresses; `None` where there were none.
    pub family: Option<Family>,
    /// The dialogues.
    pub dialogues: Vec<&'a Dialogue>,
    /// What became of the messages sent on this leg.
    pub arrivals: Vec<Arrival>,
}

impl<'a> Leg<'a> {
    /// Sorts dialogues and arrivals into legs, in the order of a report's columns.
    pub fn sort(dialogues: &'a [Dialogue], arrivals: &[Arrival]) -> Vec<Self> {
        let mut legs: BTreeMap<(LegKind, bool, Option<Family>), Self> = BTreeMap::new();
        for dialogue in dialogues {
            let kind = kind_of(dialogue);
            let emulated = dialogue
                .facts
                .get("emulated")
                .is_some_and(|word| word == "yes");
            let family = dialogue.server.map(|server| Family::of(server.ip()));
            legs.entry((kind, emulated, family))
                .or_insert_with(|| Self {
                    kind,
                    emulated,
                    family,
                    dialogues: Vec::new(),
                    arrivals: Vec::new(),
                })
                .dialogues
                .push(dialogue);
        }
        for arrival in arrivals {
            let fits = |leg: &&mut Self| {
                arrival.leg == Some(leg.kind)
                    && (arrival.family.is_none() || arrival.family == leg.family)
            };
            if let Some(leg) = legs.values_mut().find(fits) {
                leg.arrivals.push(arrival.clone());
            }
        }
        legs.into_values().collect()
    }

    /// The dialogues to judge a check by: those labelled with its id, else
    /// those without a label, so that recordings of others can be judged too.
    pub(crate) fn dialogues_for(&self, check: &str) -> Vec<(usize, &'a Dialogue)> {
        let label = |dialogue: &Dialogue| dialogue.facts.get("check").cloned();
        let all = || self.dialogues.iter().copied().enumerate();
        let labelled: Vec<_> = all()
            .filter(|(_, dialogue)| label(dialogue).as_deref() == Some(check))
            .collect();
        if labelled.is_empty() {
            all()
                .filter(|(_, dialogue)| label(dialogue).is_none())
                .collect()
        } else {
            labelled
        }
    }

    /// Not even one dialogue of this leg is labelled with a check.
    pub(crate) fn is_unlabelled(&self) -> bool {
        self.dialogues
            .iter()
            .all(|dialogue| !dialogue.facts.contains_key("check"))
    }
}

/// The leg a dialogue belongs to: what the recording says, else what the
/// addresses and an accepted AUTH suggest.
fn kind_of(dialogue: &Dialogue) -> LegKind {
    if let Some(kind) = dialogue
        .facts
        .get("leg")
        .and_then(|name| LegKind::named(name))
    {
        return kind;
    }
    let authenticated = dialogue.exchanges.iter().any(|exchange| {
        exchange
            .reply()
            .is_some_and(|reply| reply.code().number() == 235)
            && exchange.said.verb().is_none_or(|verb| *verb == Verb::Auth)
    });
    let server = dialogue.server.map(|server| server.ip().to_canonical());
    let client = dialogue.client.map(|client| client.ip().to_canonical());
    match server {
        _ if authenticated => LegKind::Authenticated,
        None => LegKind::Localhost,
        Some(server) if server.is_loopback() => LegKind::Localhost,
        Some(_) if server == client => LegKind::OwnAddress,
        Some(_) => LegKind::Remote,
    }
}

/// What became of one message.
///
/// Bound by file-level notes with the tag `arrival`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The message's token or Message-ID.
    pub id: String,
    /// The check that sent it.
    pub check: Option<String>,
    /// The case of that check.
    pub case: Option<String>,
    /// The leg on which it was sent.
    pub leg: Option<LegKind>,
    /// The family of that leg, where it matters.
    pub family: Option<Family>,
    /// It was found in the mailbox.
    pub found: bool,
    /// How long it took.
    pub delay: Option<Duration>,
    /// Its content is what was sent; `None` if that was not compared.
    pub content_equal: Option<bool>,
    /// How many copies were found.
    pub copies: u32,
    /// Its Received header fields, topmost first, unfolded.
    pub received: Vec<String>,
    /// The client's address as the server saw it.
    pub client_seen: Option<IpAddr>,
}

impl Arrival {
    /// Reads what [`to_map`](Self::to_map) wrote; `None` without an `id`.
    pub fn from_map(map: &BTreeMap<String, String>) -> Option<Self> {
        let yes = |key: &str| map.get(key).map(|word| word == "yes");
        let found = yes("found").unwrap_or(false);
        let delay = map.get("delay_ms").and_then(|text| text.parse().ok());
        let family = map.get("family").and_then(|word| match word.as_str() {
            "v4" => Some(Family::V4),
            "v6" => Some(Family::V6),
            _ => None,
        });
        let received = (0..100).map_while(|nth| map.get(&format!("received_{nth}")).cloned());
        Some(Self {
            id: map.get("id")?.clone(),
            check: map.get("check").cloned(),
            case: map.get("case").cloned(),
            leg: map.get("leg").and_then(|name| LegKind::named(name)),
            family,
            found,
            delay: delay.map(Duration::from_millis),
            content_equal: yes("content_equal"),
            copies: map
                .get("copies")
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| u32::from(found)),
            received: received.collect(),
            client_seen: map.get("client_seen").and_then(|text| text.parse().ok()),
        })
    }

    /// The same as a map of texts, as a note binds it.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let yes_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let family = self.family.map(|family| match family {
            Family::V4 => "v4".to_owned(),
            Family::V6 => "v6".to_owned(),
        });
        let named = [
            ("id", Some(self.id.clone())),
            ("check", self.check.clone()),
            ("case", self.case.clone()),
            ("leg", self.leg.map(|leg| leg.name().to_owned())),
            ("family", family),
            ("found", Some(yes_no(self.found))),
            (
                "delay_ms",
                self.delay.map(|delay| delay.as_millis().to_string()),
            ),
            ("content_equal", self.content_equal.map(yes_no)),
            ("copies", Some(self.copies.to_string())),
            ("client_seen", self.client_seen.map(|ip| ip.to_string())),
        ];
        let received = self.received.iter().enumerate();
        named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .chain(received.map(|(nth, field)| (format!("received_{nth}"), field.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_survive_their_note() {
        let arrival = Arrival {
            id: "k3v9".into(),
            check: Some("deliver-self".into()),
            leg: Some(LegKind::Remote),
            family: Some(Family::V6),
            found: true,
            delay: Some(Duration::from_millis(1500)),
            content_equal: Some(false),
            copies: 2,
            received: vec!["from a by b".into(), "from c by d".into()],
            client_seen: Some("2001:db8::7".parse().unwrap()),
            ..Arrival::default()
        };
        assert_eq!(Arrival::from_map(&arrival.to_map()), Some(arrival));
        assert_eq!(Arrival::from_map(&BTreeMap::new()), None);
    }
}
