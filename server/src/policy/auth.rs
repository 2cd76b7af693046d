//! AUTH: who the client proves to be (RFC 4954).

use driver::sasl::message::{decode, decode_initial};
use driver::sasl::server::{Context, Exchange, Failure, Identity, Step, offered, select};
use driver::sasl::{Channel, ClearText, Mechanism, Message, Plus};
use shared::command::Secret;
use shared::reply::Reply;

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
        let mut exchange = Exchange::begin(mechanism, accounts, &self.context(&names));
        // Here the secret is needed: to be compared.
        let initial = initial.map(|initial| decode_initial(initial.reveal().as_bytes()));
        let step = match initial.transpose() {
            Ok(initial) => exchange.step(initial.as_ref().map(Message::as_bytes)),
            Err(failure) => Step::Failed(failure),
        };
        self.auth.exchange = Some(exchange);
        self.after_step(step).await
    }

    /// A line of the exchange under way.
    pub(super) async fn go_on_with_auth(&mut self, line: &[u8]) -> Reply {
        let Some(exchange) = &mut self.auth.exchange else {
            return Reply::of(503, "5.5.1", "no AUTH is under way");
        };
        let step = match decode(line) {
            Ok(message) => exchange.step(Some(message.as_bytes())),
            Err(failure) => Step::Failed(failure),
        };
        self.after_step(step).await
    }

    async fn after_step(&mut self, step: Step) -> Reply {
        match step {
            Step::Challenge(challenge) => Reply::of(334, "", challenge.encode()),
            Step::Done(identity) => {
                self.auth.exchange = None;
                let reply = Reply::of(235, "2.7.0", "authenticated");
                self.auth.identity = Some(identity);
                reply
            }
            Step::Failed(failure) => {
                self.auth.exchange = None;
                self.failed(failure).await
            }
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
