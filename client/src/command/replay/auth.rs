//! AUTH, performed anew: the mechanism is the recorded one, the credentials are the
//! user's, and what is compared is the last reply.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use driver::sasl::client::{Context, Credentials, Exchange as Sasl, Proof, Step};
use driver::sasl::message::decode_challenge;
use driver::sasl::{Channel, ClearText, Mechanism, Needs, Plus, Transfer, find};
use driver::talk::Broken;
use shared::command::{Secret, Verb, auth_mechanism};
use shared::recording::{Dialogue, Exchange, Said};
use shared::replay::{Difference, Level};
use shared::session::Heard;

use super::player::{Next, Player};
use crate::cli::Replay;
use crate::exit::{Failure, Status};
use crate::target::Target;

/// A secret beyond this is none.
const MOST: u64 = 64 * 1024;

/// No mechanism has more challenges than this.
const ROUNDS: usize = 8;

/// What the user gave, if anything: whether it is a password or a token is the
/// mechanism's.
pub(super) fn credentials(options: &Replay) -> Result<Option<Credentials>, Failure> {
    let Some(user) = options.auth_user.clone() else {
        return Ok(None);
    };
    let secret = match &options.auth_password_file {
        Some(path) => first_line(path).map_err(Failure::with(Status::Usage))?,
        None => std::env::var("HELO_PASSWORD").map_err(|_| {
            let why = "--auth-user needs --auth-password-file FILE, or HELO_PASSWORD";
            Failure::new(Status::Usage, anyhow!(why))
        })?,
    };
    Ok(Some(Credentials {
        user,
        authzid: None,
        proof: Proof::Password(Secret::new(secret)),
    }))
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let what = || format!("cannot read the password from {}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
        .with_context(what)?;
    let line = text.lines().next().unwrap_or_default();
    ensure!(text.len() as u64 <= MOST, "{}: it is too long", what());
    ensure!(!line.is_empty(), "{}: its first line is empty", what());
    Ok(line.to_owned())
}

/// A password is not shown to whoever listens on the way, though that was recorded.
pub(super) fn refuse_clear_text(
    dialogues: &[Dialogue],
    address: SocketAddr,
    target: &Target,
) -> Result<(), Failure> {
    if address.ip().to_canonical().is_loopback() || target.implicit_tls {
        return Ok(());
    }
    for dialogue in dialogues {
        let shown = dialogue.exchanges.iter().find(|exchange| {
            let mechanism = mechanism(&exchange.said);
            !exchange.in_tls && mechanism.is_some_and(|one| one.transfer == Transfer::ClearText)
        });
        if let Some(exchange) = shown {
            let (session, n) = (dialogue.session, exchange.n);
            return Err(Failure::new(
                Status::Unsafe,
                anyhow!(
                    "session {session} has AUTH without TLS (n={n}): it would show the password on the way to {address}"
                ),
            ));
        }
    }
    Ok(())
}

/// The mechanism of an AUTH command that can be performed.
fn mechanism(said: &Said) -> Option<&'static Mechanism> {
    match said {
        Said::Command {
            verb: Verb::Auth,
            line,
            ..
        } => find(&auth_mechanism(line)?),
        _ => None,
    }
}

/// Whether the recorded AUTH carried the first message itself.
fn had_initial(said: &Said) -> bool {
    let line: &[u8] = match said {
        Said::Command { line, .. } => line,
        _ => b"",
    };
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count()
        > 2
}

/// To whom the password might be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To this machine.
    Loopback,
    /// To the server whose certificate this is.
    Verified,
    /// To whoever answers.
    Unverified,
}

impl Way {
    /// Why this mechanism must not be used.
    fn forbids(self, mechanism: &Mechanism, channel: &Channel) -> Option<&'static str> {
        let clear_text = match self {
            Self::Loopback => ClearText::Anywhere,
            Self::Verified | Self::Unverified => ClearText::InTls,
        };
        let shows = mechanism.transfer == Transfer::ClearText;
        if !mechanism.fits(channel, clear_text) {
            Some("not said: this mechanism is not for such a connection")
        } else if shows && self == Self::Unverified {
            Some("not said: it shows the password, and the certificate does not verify (see --ca)")
        } else {
            None
        }
    }
}

/// The recorded client gave up.
fn was_cancelled(group: &[Exchange]) -> bool {
    let last = group.last().map(|last| &last.said);
    matches!(last, Some(Said::Sasl { line, .. }) if line.trim_ascii() == b"*")
}

impl Player<'_> {
    /// Performs AUTH, and compares the last reply.
    pub(super) async fn auth(&mut self, group: &[Exchange]) -> Result<Next, Broken> {
        let Some(first) = group.first() else {
            return Ok(Next::On);
        };
        let want = group.last().and_then(|last| last.answers.last());
        if want.is_none() {
            self.report.note("here the recorded client left");
            return Ok(Next::Stop);
        }
        let mut sasl = match self.begin(&first.said) {
            Ok(sasl) => sasl,
            Err(why) => {
                self.unanswered(Some(first), want, &why);
                return Ok(Next::Stop);
            }
        };
        self.said += group.len();
        match self.exchange(&mut sasl, group).await {
            Ok(heard) => {
                self.judge_auth(&sasl, group, &heard);
                // The server said more than it was asked for: nothing more is sure.
                let lost = heard.reply.is_none_or(|reply| {
                    reply.code().is_intermediate() || reply.code().number() == 421
                });
                Ok(if lost {
                    Next::Stop
                } else {
                    self.unless_stopped()
                })
            }
            Err(error) => self.missing(Some(first), want, error),
        }
    }

    fn begin(&self, said: &Said) -> Result<Sasl, String> {
        let none = || "there are no credentials for it".to_owned();
        let mechanism = mechanism(said).ok_or_else(none)?;
        let mut credentials = self.credentials.cloned().ok_or_else(none)?;
        if let (Needs::Token, Proof::Password(secret)) = (mechanism.needs, &credentials.proof) {
            credentials.proof = Proof::Token(secret.clone());
        }
        let channel = self.talk.stream().channel();
        let way = if self.is_loopback() {
            Way::Loopback
        } else if self.verified {
            Way::Verified
        } else {
            Way::Unverified
        };
        if let Some(why) = way.forbids(mechanism, &channel) {
            return Err(why.into());
        }
        let target = &self.options.target;
        let context = Context {
            channel,
            plus: Plus::of(&self.offered.auth_mechanisms()),
            server: Some((target.host.clone(), target.port)),
            nonce: None,
        };
        Sasl::begin(mechanism, &credentials, &context).map_err(|error| error.to_string())
    }

    /// Says all of it; what is heard last is no challenge, unless the server goes mad.
    async fn exchange(&mut self, sasl: &mut Sasl, group: &[Exchange]) -> Result<Heard, Broken> {
        let first = group.first().map(|first| &first.said);
        let name = first.and_then(mechanism).map_or("", |one| one.name);
        let cancelled = was_cancelled(group);
        let initial = if first.is_some_and(had_initial) && !cancelled {
            sasl.initial()
        } else {
            None
        };
        let mut line = match initial {
            Some(message) => format!("AUTH {name} {}\r\n", message.encode_initial()),
            None => format!("AUTH {name}\r\n"),
        };
        let mut rounds = 0;
        loop {
            self.talk.say(line.as_bytes(), self.options.timeout).await?;
            let heard = self.talk.hear(self.options.timeout).await?;
            let reply = heard.reply.as_ref();
            let challenge = reply.filter(|reply| reply.code().number() == 334);
            let Some(challenge) = challenge.filter(|_| rounds < ROUNDS) else {
                return Ok(heard);
            };
            rounds += 1;
            let step = decode_challenge(challenge.first_line().as_bytes());
            let step = step.map(|challenge| sasl.step(challenge.as_bytes()));
            line = match step {
                Ok(Step::Response(message)) if !cancelled => message.encode() + "\r\n",
                _ => "*\r\n".into(),
            };
        }
    }

    fn judge_auth(&mut self, sasl: &Sasl, group: &[Exchange], heard: &Heard) {
        let want = group.last().and_then(|last| last.answers.last());
        let accepted = heard
            .reply
            .as_ref()
            .is_some_and(|reply| reply.code().is_positive());
        let unproven = sasl.finish().err().filter(|_| accepted);
        let more = unproven.map(|error| Difference {
            field: "auth",
            want: "a server that knows the password".into(),
            got: error.to_string(),
            level: Level::Fail,
        });
        self.judge(group.first(), want, heard, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_to_nobody_unknown() {
        let forbids = |way: Way, name: &str, channel: &Channel| {
            let mechanism = find(name).unwrap();
            way.forbids(mechanism, channel).is_some()
        };
        for name in ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"] {
            assert!(!forbids(Way::Loopback, name, &Channel::Clear));
            assert!(forbids(Way::Verified, name, &Channel::Clear));
            assert!(!forbids(Way::Verified, name, &Channel::Tls));
            assert!(forbids(Way::Unverified, name, &Channel::Tls), "{name}");
        }
        assert!(!forbids(Way::Unverified, "SCRAM-SHA-256", &Channel::Clear));
        assert!(forbids(Way::Verified, "SCRAM-SHA-256-PLUS", &Channel::Tls));
    }
}
