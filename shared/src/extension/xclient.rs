//! XCLIENT: client attributes given by a trusted proxy, as Postfix defines it
//! in <https://www.postfix.org/XCLIENT_README.html>.

use std::net::IpAddr;
use std::str::FromStr;

use super::attribute::{
    Attribute, AttributeError, NEEDS_ADDRESS, NEEDS_PORT, Writer, address, port, put, read_each,
};
use crate::command::Secret;
use crate::grammar::Cursor;

/// What one XCLIENT command says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xclient {
    /// NAME: the client's host name.
    pub name: Option<Attribute<String>>,
    /// ADDR: the client's address.
    pub addr: Option<Attribute<IpAddr>>,
    /// PORT: the client's port.
    pub port: Option<Attribute<u16>>,
    /// PROTO: whether it said HELO or EHLO.
    pub proto: Option<ClientProtocol>,
    /// HELO: what it said there.
    pub helo: Option<Attribute<String>>,
    /// LOGIN: who it is by AUTH.
    pub login: Option<Attribute<Secret>>,
    /// DESTADDR: the server's address.
    pub destaddr: Option<Attribute<IpAddr>>,
    /// DESTPORT: the server's port.
    pub destport: Option<Attribute<u16>>,
    /// REVERSE_NAME: the client's host name before it was verified.
    pub reverse_name: Option<Attribute<String>>,
}

/// The value of XCLIENT's PROTO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientProtocol {
    /// With HELO.
    Smtp,
    /// With EHLO.
    Esmtp,
}

impl Xclient {
    /// What stands after the EHLO keyword: the attributes there are.
    pub const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME";

    /// The attributes as they are sent, the login too: this is for the wire
    /// alone, never for a log.
    pub fn wire(&self) -> String {
        let mut out = Writer::new();
        out.display("NAME", self.name.as_ref());
        out.display("REVERSE_NAME", self.reverse_name.as_ref());
        out.address("ADDR", self.addr.as_ref());
        out.display("PORT", self.port.as_ref());
        out.text("PROTO", self.proto.map(ClientProtocol::name));
        out.display("HELO", self.helo.as_ref());
        out.put("LOGIN", self.login.as_ref(), |login| {
            login.reveal().to_owned()
        });
        out.address("DESTADDR", self.destaddr.as_ref());
        out.display("DESTPORT", self.destport.as_ref());
        out.finish()
    }

    /// What is known after a later XCLIENT: what that one does not say stays.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            name: later.name.or(self.name),
            addr: later.addr.or(self.addr),
            port: later.port.or(self.port),
            proto: later.proto.or(self.proto),
            helo: later.helo.or(self.helo),
            login: later.login.or(self.login),
            destaddr: later.destaddr.or(self.destaddr),
            destport: later.destport.or(self.destport),
            reverse_name: later.reverse_name.or(self.reverse_name),
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), AttributeError> {
        let ip = || Attribute::read(value, address);
        let number = || Attribute::read(value, port);
        let host = || Attribute::read_name(value, host_name);
        match name {
            "NAME" => put(&mut self.name, "NAME", "a host name", host()),
            "REVERSE_NAME" => put(
                &mut self.reverse_name,
                "REVERSE_NAME",
                "a host name",
                host(),
            ),
            "ADDR" => put(&mut self.addr, "ADDR", NEEDS_ADDRESS, ip()),
            "PORT" => put(&mut self.port, "PORT", NEEDS_PORT, number()),
            "PROTO" => put(
                &mut self.proto,
                "PROTO",
                "SMTP or ESMTP",
                ClientProtocol::named(value),
            ),
            "HELO" => put(
                &mut self.helo,
                "HELO",
                "what stands after HELO",
                Attribute::read(value, word),
            ),
            "LOGIN" => put(
                &mut self.login,
                "LOGIN",
                "a login name",
                Attribute::read(value, |text| {
                    (!text.is_empty()).then(|| Secret::new(text.to_owned()))
                }),
            ),
            "DESTADDR" => put(&mut self.destaddr, "DESTADDR", NEEDS_ADDRESS, ip()),
            "DESTPORT" => put(&mut self.destport, "DESTPORT", NEEDS_PORT, number()),
            _ => Err(AttributeError::unknown(name)),
        }
    }
}

impl ClientProtocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
        }
    }

    fn named(text: &str) -> Option<Self> {
        [Self::Smtp, Self::Esmtp]
            .into_iter()
            .find(|proto| proto.name().eq_ignore_ascii_case(text))
    }
}

fn host_name(text: &str) -> Option<String> {
    let mut cursor = Cursor::new(text);
    cursor.domain().filter(|_| cursor.is_at_end())?;
    Some(text.to_owned())
}

/// Anything without white space.
fn word(text: &str) -> Option<String> {
    let sound = !text.is_empty() && !text.contains(char::is_whitespace);
    sound.then(|| text.to_owned())
}

impl FromStr for Xclient {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let mut found = Self::default();
        read_each(text, |name, value| found.take(name, value))?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Xclient, AttributeError> {
        text.parse()
    }

    #[test]
    fn attributes_are_read_and_written() {
        let all = "NAME=spike.porcupine.org REVERSE_NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 \
                   PORT=50000 PROTO=ESMTP HELO=[192.0.2.1] LOGIN=an+20na DESTADDR=192.0.2.9 DESTPORT=25";
        assert_eq!(parse(all).unwrap().wire(), all);
        let found = parse("name=[tempunavail] addr=ipv6:::1  port=[Unavailable]").unwrap();
        assert_eq!(found.name, Some(Attribute::TemporarilyUnavailable));
        assert_eq!(
            found.addr.as_ref().and_then(Attribute::given),
            Some(&"::1".parse().unwrap())
        );
        assert_eq!(found.port, Some(Attribute::Unavailable));
        for name in Xclient::ATTRIBUTES.split(' ') {
            assert!(all.contains(&format!("{name}=")), "{name}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        use AttributeError::*;
        let value = |error| matches!(error, Err(Value { .. }));
        assert_eq!(parse(" "), Err(Missing));
        assert_eq!(parse("NAME"), Err(Syntax));
        assert_eq!(parse("NAME=a+0Ab"), Err(Syntax));
        assert_eq!(parse("NAME=a+b"), Err(Syntax));
        assert_eq!(parse(&format!("HELO={}", "a".repeat(256))), Err(Syntax));
        assert_eq!(parse("NAME=a NAME=b"), Err(Twice("NAME")));
        assert_eq!(parse("FOO=a"), Err(Unknown("FOO".into())));
        for text in [
            "NAME=",
            "NAME=a_b",
            "NAME=a+20b",
            "ADDR=[192.0.2.1]",
            "ADDR=::1",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=[TEMPUNAVAIL]",
            "PORT=65536",
            "PORT=+25",
            "PROTO=LMTP",
            "PROTO=[UNAVAILABLE]",
            "HELO=a+20b",
            "LOGIN=",
        ] {
            assert!(value(parse(text)), "{text}");
        }
        let error = parse("PORT=x").unwrap_err();
        assert_eq!(
            error.reply().to_string(),
            "501 5.5.4 PORT needs a port number"
        );
    }

    #[test]
    fn later_commands_overwrite_what_they_say() {
        let first = parse("HELO=a PROTO=SMTP").unwrap();
        let both = first.then(parse("HELO=[UNAVAILABLE] ADDR=192.0.2.1").unwrap());
        assert_eq!(both.wire(), "ADDR=192.0.2.1 PROTO=SMTP HELO=[UNAVAILABLE]");
    }

    #[test]
    fn a_login_is_not_printed() {
        assert!(!format!("{:?}", parse("LOGIN=anna").unwrap()).contains("anna"));
    }

    fn attribute<T: std::fmt::Debug>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<Attribute<T>>> {
        let value = prop::option::of(value);
        prop::option::of(
            value.prop_map(|value| value.map_or(Attribute::Unavailable, Attribute::Given)),
        )
    }

    proptest! {
        #[test]
        fn parse_undoes_print(
            (name, helo) in (attribute("[a-z]{1,9}(\\.[a-z0-9]{1,9}){0,3}"), attribute("[!-Z^-~é-ü]{1,50}")),
            (addr, destaddr) in (attribute(any::<IpAddr>()), attribute(any::<IpAddr>())),
            (port, destport) in (attribute(any::<u16>()), attribute(any::<u16>())),
            login in attribute("[ -Z^-~é-ü]{1,40}"),
            proto in prop::sample::select(&[None, Some(ClientProtocol::Smtp), Some(ClientProtocol::Esmtp)][..]),
        ) {
            let login = login.map(|login| match login {
                Attribute::Given(login) => Attribute::Given(Secret::new(login)),
                _ => Attribute::Unavailable,
            });
            let (reverse_name, name) = (name, Some(Attribute::TemporarilyUnavailable));
            let said = Xclient { name, addr, port, proto, helo, login, destaddr, destport, reverse_name };
            prop_assert_eq!(parse(&said.wire()), Ok(said));
        }

        #[test]
        fn nothing_panics(text: String) {
            if let Err(error) = parse(&text) {
                prop_assert!(error.reply().code().is_refusal());
            }
        }
    }
}
