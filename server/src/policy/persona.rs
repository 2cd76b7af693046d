//! Named ways of being right or wrong.

/// A server that is honest but for what its row says.
#[derive(Debug, PartialEq, Eq)]
pub struct Persona {
    /// How it is asked for.
    pub name: &'static str,
    /// What it does.
    pub title: &'static str,
    /// The checks it offends.
    pub offends: &'static [&'static str],
    /// Whom it lets send to foreign domains.
    pub relays: Relays,
}

/// Whom a persona lets send to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relays {
    /// Whom the relay policy allows.
    ByPolicy,
    /// Everybody; and it takes `user%host` and `host!user` for foreign addresses
    /// when they stand before a domain of its own.
    ForAnyone,
}

/// All of them.
pub const ALL: &[Persona] = &[
    Persona {
        name: "honest",
        title: "does what the standards say",
        offends: &[],
        relays: Relays::ByPolicy,
    },
    Persona {
        name: "open-relay",
        title: "accepts mail for any domain from anyone, in every form",
        offends: &[
            "relay-plain",
            "relay-null-sender",
            "relay-own-sender",
            "relay-percent-hack",
            "relay-bang-path",
            "relay-source-route",
            "relay-domain-match",
            "relay-helo-trust",
            "relay-mixed",
        ],
        relays: Relays::ForAnyone,
    },
];

/// The persona of that name.
pub fn named(name: &str) -> Option<&'static Persona> {
    ALL.iter().find(|persona| persona.name == name)
}

/// Prints the table.
pub fn list() {
    for persona in ALL {
        anstream::println!("{:<12} {}", persona.name, persona.title);
        if !persona.offends.is_empty() {
            anstream::println!("{:<12} offends: {}", "", persona.offends.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_only_the_honest_one_offends_nothing() {
        for (index, persona) in ALL.iter().enumerate() {
            assert!(
                ALL.iter()
                    .skip(index + 1)
                    .all(|other| other.name != persona.name)
            );
            assert_eq!(persona.offends.is_empty(), persona.name == "honest");
        }
    }
}
