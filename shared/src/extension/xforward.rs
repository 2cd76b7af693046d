//! XFORWARD: client attributes passed on for logging, as Postfix defines it in
//! <https://www.postfix.org/XFORWARD_README.html>.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::attribute::{
    Attribute, AttributeError, NEEDS_ADDRESS, NEEDS_PORT, Writer, address, port, put, read_each,
};

/// What one XFORWARD command says of the client that the message came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xforward {
    /// NAME: its host name.
    pub name: Option<Attribute<String>>,
    /// ADDR: its address.
    pub addr: Option<Attribute<IpAddr>>,
    /// PORT: its port.
    pub port: Option<Attribute<u16>>,
    /// PROTO: the protocol that it spoke.
    pub proto: Option<Attribute<String>>,
    /// HELO: what it called itself.
    pub helo: Option<Attribute<String>>,
    /// IDENT: what the message is called where it was received.
    pub ident: Option<Attribute<String>>,
    /// SOURCE: whether it is of the same host.
    pub source: Option<Attribute<Source>>,
}

/// The value of XFORWARD's SOURCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// From the host that passes it on.
    Local,
    /// From another.
    Remote,
}

impl Xforward {
    /// What stands after the EHLO keyword: the attributes there are.
    pub const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO IDENT SOURCE";

    /// What is known after a later XFORWARD of the same transaction: what that
    /// one does not say stays.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            name: later.name.or(self.name),
            addr: later.addr.or(self.addr),
            port: later.port.or(self.port),
            proto: later.proto.or(self.proto),
            helo: later.helo.or(self.helo),
            ident: later.ident.or(self.ident),
            source: later.source.or(self.source),
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), AttributeError> {
        let text = || Attribute::read(value, |text| word(text, usize::MAX));
        match name {
            "NAME" => put(&mut self.name, "NAME", NEEDS_TEXT, text()),
            "ADDR" => put(
                &mut self.addr,
                "ADDR",
                NEEDS_ADDRESS,
                Attribute::read(value, address),
            ),
            "PORT" => put(
                &mut self.port,
                "PORT",
                NEEDS_PORT,
                Attribute::read(value, port),
            ),
            "PROTO" => put(
                &mut self.proto,
                "PROTO",
                "the name of a protocol, 64 octets at most",
                Attribute::read(value, |text| word(text, LONGEST_PROTO)),
            ),
            "HELO" => put(&mut self.helo, "HELO", NEEDS_TEXT, text()),
            "IDENT" => put(&mut self.ident, "IDENT", NEEDS_TEXT, text()),
            "SOURCE" => put(
                &mut self.source,
                "SOURCE",
                "LOCAL or REMOTE",
                Attribute::read(value, Source::named),
            ),
            _ => Err(AttributeError::unknown(name)),
        }
    }
}

impl Source {
    fn named(text: &str) -> Option<Self> {
        [Self::Local, Self::Remote]
            .into_iter()
            .find(|source| source.to_string().eq_ignore_ascii_case(text))
    }
}

/// Printable US-ASCII without white space and without what is special in message
/// headers.
fn word(text: &str, longest: usize) -> Option<String> {
    let plain = |c| matches!(c, '!'..='~') && !"<>()\\\";@".contains(c);
    let sound = !text.is_empty() && text.len() <= longest && text.chars().all(plain);
    sound.then(|| text.to_owned())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "LOCAL",
            Self::Remote => "REMOTE",
        })
    }
}

impl fmt::Display for Xforward {
    /// The attributes, without the verb.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Writer::new();
        out.display("NAME", self.name.as_ref());
        out.address("ADDR", self.addr.as_ref());
        out.display("PORT", self.port.as_ref());
        out.display("PROTO", self.proto.as_ref());
        out.display("HELO", self.helo.as_ref());
        out.display("IDENT", self.ident.as_ref());
        out.display("SOURCE", self.source.as_ref());
        f.write_str(&out.finish())
    }
}

impl FromStr for Xforward {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let mut found = Self::default();
        read_each(text, |name, value| found.take(name, value))?;
        Ok(found)
    }
}

const NEEDS_TEXT: &str = "printable US-ASCII without spaces and specials";

/// Postfix's limit.
const LONGEST_PROTO: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Xforward, AttributeError> {
        text.parse()
    }

    #[test]
    fn attributes_are_read_and_printed() {
        let all = "NAME=spike.porcupine.org ADDR=168.100.189.2 PORT=[UNAVAILABLE] PROTO=ESMTP \
                   HELO=[168.100.189.2] IDENT=3CF6B2AAE8 SOURCE=REMOTE";
        assert_eq!(parse(all).unwrap().to_string(), all);
        for name in Xforward::ATTRIBUTES.split(' ') {
            assert!(all.contains(&format!("{name}=")), "{name}");
        }
        let later = parse("source=local ident=[unavailable]").unwrap();
        let both = parse(all).unwrap().then(later);
        assert_eq!(both.source, Some(Attribute::Given(Source::Local)));
        assert_eq!(both.ident, Some(Attribute::Unavailable));
        assert_eq!(both.name.unwrap().given().unwrap(), "spike.porcupine.org");
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let long = format!("PROTO={}", "a".repeat(65));
        for text in [
            "",
            "NAME",
            "NAME=",
            "NAME=a+20b",
            "NAME=+3Cscript+3E",
            "NAME=+C3+A9",
            "NAME=[TEMPUNAVAIL] NAME=a",
            "ADDR=somewhere",
            "SOURCE=HERE",
            "LOGIN=anna",
            &long,
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.reply().to_string().starts_with("501 5.5.4"));
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(
            texts in prop::collection::vec(prop::option::of("[!#-'*-:=?A-Z^-~]{1,60}"), 4),
            addr: Option<IpAddr>,
            port: Option<u16>,
            source in prop::option::of(prop::sample::select(&[Source::Local, Source::Remote][..])),
        ) {
            let text = |at: usize| texts[at].clone().map(Attribute::Given);
            let said = Xforward {
                name: text(0),
                addr: addr.map(Attribute::Given),
                port: port.map_or(Some(Attribute::Unavailable), |port| Some(Attribute::Given(port))),
                proto: text(1),
                helo: text(2),
                ident: text(3),
                source: source.map(Attribute::Given),
            };
            prop_assert_eq!(parse(&said.to_string()), Ok(said));
        }
    }
}
