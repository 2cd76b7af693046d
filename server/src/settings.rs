//! What the options mean, checked.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use driver::tls::ServerConfig;
use ipnet::IpNet;
use shared::address::Domain;

use crate::config::{Limits, ListenSpec, Options, Protocol, RelayPolicy, TlsMode};
use crate::inbox::Inbox;
use crate::policy::persona::{self, Persona};
use crate::store::Store;

/// Everything a session needs to know, shared by all.
#[derive(Debug)]
pub struct Site {
    /// The name the server calls itself.
    pub hostname: Domain,
    /// The domains it is the final destination for.
    pub local_domains: Vec<Domain>,
    /// The domains it would relay for.
    pub relay_domains: Vec<Domain>,
    /// Its users, in lower case.
    pub users: Vec<String>,
    /// Clients that may send to foreign domains.
    pub trusted: Vec<IpNet>,
    /// In which way it is wrong.
    pub persona: &'static Persona,
    /// Where mail for users goes.
    pub store: Store,
    /// Where mail for foreign domains goes.
    pub witness: Store,
    /// What a client may do.
    pub limits: Limits,
    /// Whose XCLIENT is believed.
    pub xclient_hosts: Vec<IpNet>,
    /// Whose XFORWARD is believed.
    pub xforward_hosts: Vec<IpNet>,
    /// EHLO keywords that are left out, and what they stand for with them.
    pub hidden: Vec<String>,
    /// EHLO lines that are added, or take the place of the keyword's own.
    pub advertised: Vec<String>,
    /// What is only tolerated is refused.
    pub strict: bool,
    /// The listeners, in the order of the options.
    pub ports: Vec<Port>,
    /// For STARTTLS and implicit TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// What was received.
    pub inbox: Inbox,
}

/// The terms on which one listener serves.
#[derive(Clone, Debug)]
pub struct Port {
    /// How it is called.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// When TLS begins.
    pub tls: TlsMode,
    /// No transaction without TLS.
    pub require_tls: bool,
    /// Who may send to foreign domains.
    pub relay_policy: RelayPolicy,
}

/// The options, checked; nothing is made or opened yet but keys.
#[derive(Debug)]
pub struct Settings {
    /// As given.
    pub options: Options,
    persona: &'static Persona,
    ports: Vec<Port>,
    tls: Option<Arc<ServerConfig>>,
}

impl Site {
    /// Makes the places for mail, where they are missing.
    pub fn prepare_stores(&self) -> Result<()> {
        self.store.prepare().context("preparing --store")?;
        self.witness.prepare().context("preparing --witness")
    }
}

impl Settings {
    /// Checks the options.
    pub fn resolve(options: Options) -> Result<Self> {
        let Some(persona) = persona::named(&options.persona) else {
            bail!(
                "no persona '{}' (see: helo-server personas)",
                options.persona
            );
        };
        if options.listen.is_empty() {
            bail!("there is nothing to listen on");
        }
        let ports: Vec<Port> = options
            .listen
            .iter()
            .map(|spec| Port::new(spec, &options))
            .collect();
        let wants_tls = ports.iter().any(|port| port.tls != TlsMode::None);
        let tls = match (&options.tls_cert, &options.tls_key) {
            _ if !wants_tls => None,
            (Some(chain), Some(key)) => Some(driver::tls::loaded(chain, key)?),
            (None, None) => Some(driver::tls::minted(&names_for_certificate(&options))?),
            _ => bail!("tls-cert and tls-key belong together"),
        };
        Ok(Self {
            options,
            persona,
            ports,
            tls,
        })
    }

    /// What sessions need; no place for mail is made yet.
    pub fn site(&self) -> Site {
        let options = &self.options;
        let local_domains = if options.local_domain.is_empty() {
            vec![options.hostname.clone()]
        } else {
            options.local_domain.clone()
        };
        let users = options.user.iter().map(|user| user.to_lowercase());
        Site {
            hostname: options.hostname.clone(),
            local_domains,
            relay_domains: options.relay_domain.clone(),
            users: users.collect(),
            trusted: options.mynetworks.clone(),
            persona: self.persona,
            store: Store::new(&options.store, &local_users(options)),
            witness: Store::new(&options.witness, &[]),
            limits: options.limits.clone().with_none_as_most(),
            xclient_hosts: options.xclient_hosts.clone(),
            xforward_hosts: options.xforward_hosts.clone(),
            hidden: options.hide.clone(),
            advertised: options.advertise.clone(),
            strict: options.strict,
            ports: self.ports.clone(),
            tls: self.tls.clone(),
            inbox: Inbox::default(),
        }
    }
}

impl Port {
    fn new(spec: &ListenSpec, options: &Options) -> Self {
        Self {
            name: spec.name.clone().unwrap_or_else(|| spec.place.to_string()),
            protocol: spec.protocol,
            tls: match spec.tls {
                TlsMode::StartTls if options.no_tls => TlsMode::None,
                mode => mode,
            },
            require_tls: spec.require_tls,
            relay_policy: spec.relay_policy.unwrap_or(options.relay_policy),
        }
    }
}

fn names_for_certificate(options: &Options) -> Vec<String> {
    let mut names: Vec<String> = std::iter::once(&options.hostname)
        .chain(&options.local_domain)
        .filter_map(|domain| domain.name().map(str::to_owned))
        .filter(|name| name.is_ascii())
        .collect();
    names.push("localhost".into());
    names.dedup();
    names
}

fn local_users(options: &Options) -> Vec<String> {
    let own = options.user.iter().map(|user| user.to_lowercase());
    own.chain(crate::policy::ALWAYS.map(str::to_owned))
        .collect()
}
