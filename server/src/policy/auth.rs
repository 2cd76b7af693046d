//! AUTH: who the client proves to be (RFC 4954).

use std::panic::resume_unwind;

use driver::sasl::message::{decode, decode_initial};
use driver::sasl::server::{Context, Exchange, Failure, Identity, Step, offered, select};
use driver::sasl::{Channel, ClearText, Mechanism, Message, Plus};
use shared::command::Secret;
use shared::reply::Reply;
use tokio::task::JoinError;

use super::SessionPolicy;
use crate::config::Protocol;
use crate::monitor::Limit;

/// What one session knows of who its client is.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// The exchange under way.
    exchange: Option<Exchange>,
    /// Who it is.
    pub(super) identity: Option<Identity>,
    failures: u32,
    /// What lies under the exchange.
    pub(super) channel: Channel,
    /// The names in the client's certificate, if it was verified.
    pub(super) certificate: Vec<String>,
}

impl SessionPolicy {
    /// The mechanisms that this client may use now, strongest first.
    fn mechanisms(&self) -> Vec<&'static Mechanism> {
        let Some(accounts) = &self.site.accounts else {
            return Vec::new();
        };
        let allowed = &self.site.mechanisms;
        let (allowed, clear_text) = if self.in_tls {
            (allowed.in_tls.as_ref(), ClearText::InTls)
        } else {
            // Who names PLAIN for connections in clear has it there.
            (allowed.in_clear.as_ref(), ClearText::Anywhere)
        };
        let fits = |one: &&'static Mechanism| match allowed {
            Some(names) => names.iter().any(|name| name.eq_ignore_ascii_case(one.name)),
            None => one.fits(&self.auth.channel, ClearText::InTls),
        };
        let all = offered(accounts, &self.context(&[]), clear_text);
        all.into_iter().filter(fits).collect()
    }

    /// The line of the EHLO reply; none where nothing can be proven. It stays when
    /// something was: it offers the AUTH parameter of MAIL, too.
    pub(super) fn auth_line(&self) -> Option<String> {
        let names: Vec<&str> = self.mechanisms().iter().map(|one| one.name).collect();
        (!names.is_empty() && self.port.protocol != Protocol::Lmtp)
            .then(|| format!("AUTH {}", names.join(" ")))
    }

    fn context(&self, names: &[&str]) -> Context {
        Context {
            channel: self.auth.channel.clone(),
            plus: Plus::of(names),
            certificate: self.auth.certificate.clone(),
            host: self.site.hostname.to_string(),
            nonce: None,
        }
    }

    /// The client may send mail that only known clients may send.
    pub(super) fn is_authenticated(&self) -> bool {
        self.auth.identity.is_some()
    }

    pub(super) async fn begin_auth(&mut self, name: &str, initial: Option<&Secret>) -> Reply {
        if self.auth.identity.is_some() {
            // RFC 4954 §4.
            return Reply::of(503, "5.5.1", "already authenticated");
        }
        let mechanisms = self.mechanisms();
        let Some(accounts) = self.site.accounts.clone().filter(|_| self.offers("AUTH")) else {
            return Reply::of(502, "5.5.1", "AUTH is not offered here");
        };
        let mechanism = match select(name, &mechanisms) {
            Ok(mechanism) => mechanism,
            Err(failure) => return failure.reply(),
        };
        let names: Vec<&str> = mechanisms.iter().map(|one| one.name).collect();
        let exchange = Exchange::begin(mechanism, accounts, &self.context(&names));
        // Here the secret is needed: to be compared.
        let initial = initial.map(|initial| decode_initial(initial.reveal().as_bytes()));
        match initial.transpose() {
            Ok(initial) => self.step(exchange, initial).await,
            Err(failure) => self.failed(failure).await,
        }
    }

    /// A line of the exchange under way.
    pub(super) async fn go_on_with_auth(&mut self, line: &[u8]) -> Reply {
        let Some(exchange) = self.auth.exchange.take() else {
            return Reply::of(503, "5.5.1", "no AUTH is under way");
        };
        match decode(line) {
            Ok(message) => self.step(exchange, Some(message)).await,
            Err(failure) => self.failed(failure).await,
        }
    }

    /// Takes a step where it holds up nobody: SCRAM hashes for a while, and the other
    /// sessions of this thread would wait for that.
    async fn step(&mut self, mut exchange: Exchange, message: Option<Message>) -> Reply {
        let turn = self.site.hashing.acquire().await;
        let stepped = tokio::task::spawn_blocking(move || {
            let step = exchange.step(message.as_ref().map(Message::as_bytes));
            (exchange, step)
        });
        let stepped = stepped.await;
        drop(turn);
        let (exchange, step) = match stepped.map_err(JoinError::try_into_panic) {
            Ok(stepped) => stepped,
            Err(Ok(panic)) => resume_unwind(panic),
            // The server has ended meanwhile.
            Err(Err(_)) => return Failure::Temporary.reply(),
        };
        match step {
            Step::Challenge(challenge) => {
                self.auth.exchange = Some(exchange);
                Reply::of(334, "", challenge.encode())
            }
            Step::Done(identity) => {
                self.auth.identity = Some(identity);
                Reply::of(235, "2.7.0", "authenticated")
            }
            Step::Failed(failure) => self.failed(failure).await,
        }
    }

    /// A failure costs time, and only so many are borne.
    async fn failed(&mut self, failure: Failure) -> Reply {
        if matches!(failure, Failure::Cancelled | Failure::NotOffered) {
            return failure.reply();
        }
        self.auth.failures += 1;
        tokio::time::sleep(self.site.limits.auth_delay.0).await;
        if self.auth.failures >= self.site.limits.max_auth_failures {
            self.site.monitor.tripped(Limit::AuthFailures);
            return Reply::of(421, "4.7.0", "too many failures of AUTH, closing");
        }
        failure.reply()
    }

    /// What was proven over another channel is proven no more (RFC 3207 §4.2).
    pub(super) fn forget_auth(&mut self, channel: Channel, certificate: Vec<String>) {
        self.auth = Auth {
            channel,
            certificate,
            failures: self.auth.failures,
            ..Auth::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::pin::pin;
    use std::sync::Arc;

    use driver::clock::Clock;
    use driver::socket::Endpoint;

    use super::*;
    use crate::config::Options;
    use crate::policy::Served;
    use crate::settings::Settings;

    #[tokio::test]
    async fn hashing_waits_for_its_turn_and_holds_up_nobody_else() {
        let mut users = tempfile::NamedTempFile::new().unwrap();
        users.write_all(b"anna:tea\n").unwrap();
        let options = Options {
            users: Some(users.path().to_owned()),
            ..Options::default()
        };
        let site = Arc::new(Settings::resolve(options).unwrap().site());
        let served = Served {
            listener: 0,
            client: Endpoint::Tcp("192.0.2.1:40000".parse().unwrap()),
            session: 1,
        };
        let mut policy = SessionPolicy::new(Arc::clone(&site), Clock::start(), served).unwrap();
        policy.hello("c.test", true);
        let all = u32::try_from(site.hashing.available_permits()).unwrap();
        let turns = site.hashing.acquire_many(all).await.unwrap();
        // n,,n=anna,r=fyko
        let first = Secret::new("biwsbj1hbm5hLHI9Znlrbw==".into());
        let mut answer = pin!(policy.begin_auth("SCRAM-SHA-256", Some(&first)));
        // Ten times as long as hashing takes.
        let a_while = std::time::Duration::from_millis(100);
        let early = tokio::time::timeout(a_while, &mut answer).await;
        assert!(early.is_err(), "it did not wait: {early:?}");
        drop(turns);
        let reply = answer.await.to_string();
        assert!(reply.starts_with("334 "), "{reply}");
        assert_eq!(site.hashing.available_permits(), all as usize);
    }
}
