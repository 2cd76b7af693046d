//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): a bearer token.
//!
//! ```text
//! OAUTHBEARER  n,a=user,^Ahost=h^Aport=p^Aauth=Bearer token^A^A
//! XOAUTH2      user=user^Aauth=Bearer token^A^A
//! ```
//!
//! A refused token is told in two steps: a challenge with the reason in JSON, to
//! which the client says nothing that matters, and then 535.

use shared::command::Secret;

use super::client::{self, ClientHalf};
use super::gs2::{self, Flag};
use super::server::{Failure, Progress, ServerHalf};
use super::{Accounts, Initial, Mechanism, Needs, Transfer};

pub(super) const OAUTHBEARER: Mechanism = Mechanism {
    name: "OAUTHBEARER",
    needs: Needs::Token,
    transfer: Transfer::ClearText,
    channel_binding: false,
    authzid: true,
    initial: Initial::Expected,
    server: |_| {
        Ok(Box::new(Server {
            parse: parse_oauthbearer,
            refusal: r#"{"status":"invalid_token"}"#,
            refused: false,
        }))
    },
    client: |credentials, context| Ok(Box::new(Client::oauthbearer(credentials, context)?)),
};

pub(super) const XOAUTH2: Mechanism = Mechanism {
    name: "XOAUTH2",
    needs: Needs::Token,
    transfer: Transfer::ClearText,
    channel_binding: false,
    authzid: false,
    initial: Initial::Expected,
    server: |_| {
        Ok(Box::new(Server {
            parse: parse_xoauth2,
            refusal: r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
            refused: false,
        }))
    },
    client: |credentials, _| Ok(Box::new(Client::xoauth2(credentials)?)),
};

/// Separates and ends: `kvsep` of RFC 7628 §3.1.
const SEPARATOR: char = '\x01';

#[derive(Debug)]
struct Server {
    parse: fn(&str) -> Result<Claim<'_>, Failure>,
    refusal: &'static str,
    refused: bool,
}

/// What a client says.
struct Claim<'a> {
    user: Option<String>,
    token: &'a str,
}

impl ServerHalf for Server {
    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        if self.refused {
            return Err(Failure::Credentials);
        }
        let text = std::str::from_utf8(response)
            .map_err(|_| Failure::Malformed("OAuth: the message is not UTF-8"))?;
        let Claim { user, token } = (self.parse)(text)?;
        let owner = accounts.by_token(user.as_deref(), token);
        if owner.is_none() {
            self.refused = true;
            return Ok(Progress::Challenge(self.refusal.into()));
        }
        Progress::proven(accounts, owner, user.as_deref())
    }
}

fn parse_oauthbearer(text: &str) -> Result<Claim<'_>, Failure> {
    let (header, rest) = gs2::parse(text)
        .filter(|(header, _)| !matches!(header.flag, Flag::Used(_)))
        .ok_or(Failure::Malformed("OAUTHBEARER: bad GS2 header"))?;
    let pairs = rest
        .strip_prefix(SEPARATOR)
        .and_then(|rest| rest.strip_suffix(SEPARATOR))
        .and_then(|pairs| pairs.strip_suffix(SEPARATOR))
        .ok_or(Failure::Malformed("OAUTHBEARER: separators are missing"))?;
    let mut token = None;
    for pair in pairs.split(SEPARATOR) {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, value)| is_key(key) && value.chars().all(is_value))
            .ok_or(Failure::Malformed("OAUTHBEARER: bad key or value"))?;
        if key == "auth" && token.replace(bearer(value)).is_some() {
            return Err(Failure::Malformed("OAUTHBEARER: two tokens"));
        }
    }
    let token = token
        .flatten()
        .ok_or(Failure::Malformed("OAUTHBEARER: no bearer token"))?;
    Ok(Claim {
        user: header.authzid,
        token,
    })
}

fn parse_xoauth2(text: &str) -> Result<Claim<'_>, Failure> {
    let claim = || {
        let text = text.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
        let (user, auth) = text.split_once(SEPARATOR)?;
        Some(Claim {
            user: Some(
                user.strip_prefix("user=")
                    .filter(|user| !user.is_empty())?
                    .to_owned(),
            ),
            token: bearer(auth.strip_prefix("auth=")?)
                .filter(|token| !token.contains(SEPARATOR))?,
        })
    };
    claim().ok_or(Failure::Malformed("XOAUTH2: not a user and a bearer token"))
}

/// The token in `Bearer token`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphabetic())
}

const fn is_value(c: char) -> bool {
    matches!(c, '\x21'..='\x7e' | ' ' | '\t' | '\r' | '\n')
}

#[derive(Debug)]
struct Client {
    message: Secret,
    /// What to say to a refusal.
    dummy: &'static [u8],
    refused: Option<client::Error>,
}

impl Client {
    fn oauthbearer(
        credentials: &client::Credentials,
        context: &client::Context,
    ) -> Result<Self, client::Error> {
        let user = credentials.authzid.as_ref().unwrap_or(&credentials.user);
        let user = Some(user.as_str()).filter(|user| !user.is_empty());
        let header = gs2::header(&Flag::No, user);
        let server = match &context.server {
            Some((host, port)) => format!("host={host}{SEPARATOR}port={port}{SEPARATOR}"),
            None => String::new(),
        };
        Self::new(
            credentials,
            &format!("{header}{SEPARATOR}{server}"),
            b"\x01",
        )
    }

    fn xoauth2(credentials: &client::Credentials) -> Result<Self, client::Error> {
        client::Error::unless_sendable("name", &credentials.user, SEPARATOR)?;
        let begin = format!("user={}{SEPARATOR}", credentials.user);
        Self::new(credentials, &begin, b"")
    }

    fn new(
        credentials: &client::Credentials,
        begin: &str,
        dummy: &'static [u8],
    ) -> Result<Self, client::Error> {
        // Revealed to be sent.
        let token = credentials.token()?.reveal();
        client::Error::unless_sendable("token", token, SEPARATOR)?;
        let message = format!("{begin}auth=Bearer {token}{SEPARATOR}{SEPARATOR}");
        Ok(Self {
            message: Secret::new(message),
            dummy,
            refused: None,
        })
    }
}

impl ClientHalf for Client {
    fn open(&mut self) -> Vec<u8> {
        self.message.reveal().into()
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, client::Error> {
        if self.refused.is_some() {
            return Err(client::Error::Unexpected);
        }
        self.refused = Some(client::Error::refused(challenge));
        Ok(self.dummy.into())
    }

    fn finish(&self) -> Result<(), client::Error> {
        match &self.refused {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
