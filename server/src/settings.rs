//! What the options mean, checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use driver::tls::ServerConfig;
use ipnet::IpNet;
use shared::address::Domain;

use crate::cli::{RelayPolicy, Run};
use crate::policy::persona::{self, Persona};
use crate::store::Store;

/// Everything a session needs to know, shared by all.
#[derive(Debug)]
pub struct Site {
    /// The name the server calls itself.
    pub hostname: Domain,
    /// The domains it is the final destination for.
    pub local_domains: Vec<Domain>,
    /// Its users, in lower case.
    pub users: Vec<String>,
    /// Clients that may send to foreign domains.
    pub trusted: Vec<IpNet>,
    /// Everybody may.
    pub relay_policy: RelayPolicy,
    /// In which way it is wrong.
    pub persona: &'static Persona,
    /// Where mail for users goes.
    pub store: Store,
    /// Where mail for foreign domains goes.
    pub witness: Store,
    /// The largest message, in octets.
    pub max_size: u64,
    /// The most recipients of one message.
    pub max_recipients: usize,
    /// STARTTLS is offered.
    pub offers_tls: bool,
}

/// The options, checked.
#[derive(Debug)]
pub struct Settings {
    /// As given, for what concerns sockets and files.
    pub run: Box<Run>,
    /// For the sessions.
    pub site: Arc<Site>,
    /// For STARTTLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// How long a client may be silent.
    pub patience: Duration,
}

impl Settings {
    /// Checks the options.
    pub fn resolve(run: Box<Run>) -> Result<Self> {
        let Some(persona) = persona::named(&run.persona) else {
            bail!("no persona '{}' (see: helo-server personas)", run.persona);
        };
        let tls = match (&run.tls_cert, &run.tls_key) {
            _ if run.no_tls => None,
            (Some(chain), Some(key)) => Some(driver::tls::loaded(chain, key)?),
            _ => Some(driver::tls::minted(&names_for_certificate(&run))?),
        };
        let site = Site {
            hostname: run.hostname.clone(),
            local_domains: if run.local_domain.is_empty() {
                vec![run.hostname.clone()]
            } else {
                run.local_domain.clone()
            },
            users: run.user.iter().map(|user| user.to_lowercase()).collect(),
            trusted: run.mynetworks.clone(),
            relay_policy: run.relay_policy,
            persona,
            store: Store::open(run.maildir.as_deref(), &local_users(&run))
                .context("preparing --maildir")?,
            witness: Store::open(run.witness.as_deref(), &[]).context("preparing --witness")?,
            max_size: run.max_size,
            max_recipients: run.max_recipients,
            offers_tls: tls.is_some(),
        };
        Ok(Self {
            site: Arc::new(site),
            tls,
            patience: Duration::from_secs(run.timeout.max(1)),
            run,
        })
    }
}

fn names_for_certificate(run: &Run) -> Vec<String> {
    let mut names: Vec<String> = std::iter::once(&run.hostname)
        .chain(&run.local_domain)
        .filter_map(|domain| domain.name().map(str::to_owned))
        .filter(|name| name.is_ascii())
        .collect();
    names.push("localhost".into());
    names.dedup();
    names
}

fn local_users(run: &Run) -> Vec<String> {
    let own = run.user.iter().map(|user| user.to_lowercase());
    own.chain(crate::policy::ALWAYS.map(str::to_owned))
        .collect()
}
