//! The TLS handshake of a session, and breaking it off on purpose.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;

use super::wait::{has_timed_out, within};
use super::{Due, Loop, Policy, ServeError, Service};
use crate::handshake::Break;
use crate::journal::Ended;
use crate::stream::Stream;
use crate::tls::Facts;

impl Loop<'_> {
    pub(super) async fn start_tls(
        &mut self,
        policy: &mut impl Policy,
    ) -> Result<Option<Ended>, ServeError> {
        let ended = self.handshake(policy).await?;
        if ended.is_none() {
            self.session.tls_ready(self.service.clock.now());
        }
        Ok(ended)
    }

    pub(super) async fn handshake(
        &mut self,
        policy: &mut impl Policy,
    ) -> Result<Option<Ended>, ServeError> {
        self.record_batch()?;
        let mut config = self.service.tls.clone();
        let mut breaks = None;
        if let Some(wrong) = policy.shaking_hands() {
            self.record_strike(&wrong.strike)?;
            Box::pin(self.pause(wrong.strike.delay)).await?;
            if let Some(end) = wrong.strike.end {
                let ended = Box::pin(self.end(end)).await?;
                return Ok(ended.or(Some(Ended::SERVER)));
            }
            config = wrong.config.or(config);
            breaks = wrong.breaks;
        }
        if breaks == Some(Break::Hang) {
            return Box::pin(self.ignore_handshake()).await.map(Some);
        }
        let config = config.ok_or_else(|| io::Error::other("TLS without a certificate"))?;
        let (facts, handshake) = shake_hands(self.stream, self.service, config, breaks).await;
        self.journal.tls(self.service.clock.now(), 'c', &facts)?;
        if has_timed_out(&handshake) {
            policy.gave_up(Due::Handshake);
        }
        if breaks.is_some() && handshake.is_err() && !has_timed_out(&handshake) {
            return Ok(Some(Ended::SERVER));
        }
        handshake?;
        policy.tls_started(&facts, self.stream);
        Ok(None)
    }
}

/// The handshake within its time limit, and what it showed.
pub(super) async fn shake_hands(
    stream: &mut Stream,
    service: &Service,
    config: Arc<ServerConfig>,
    breaks: Option<Break>,
) -> (Facts, io::Result<()>) {
    let handshake = stream.shake_hands(config, breaks);
    let handshake = within(service.waits.handshake, &service.ending, handshake).await;
    let facts = match &handshake {
        Ok(()) => {
            let sni = stream.server_name().map(str::to_owned);
            Facts::of(stream, sni, "none".into())
        }
        Err(error) => Facts::failed(None, error),
    };
    (facts, handshake)
}
