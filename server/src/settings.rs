//! What the options mean, checked.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use driver::sasl::{Accounts, NameCase};
use driver::tls::{Clients, ServerConfig};
use ipnet::IpNet;
use shared::address::Domain;
use shared::fault::draw::draw;
use shared::fault::engine::Life;
use tokio::sync::Semaphore;

use crate::api::{Guard, Token};
use crate::config::{
    ClientAuth, HeloRule, Limits, LineEndings, ListenSpec, Mailboxes, Options, Protocol,
    ProxyHeader, Recipients, RelayPolicy, StoreSpec, TlsMode,
};
use crate::fault::{Faults, Origin, read_scenario};
use crate::inbox::{Inbox, Received};
use crate::monitor::{Keep, Monitor};
use crate::policy::persona::{self, Persona};
use crate::script::Scripts;
use crate::store::Keeper;

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
    /// Which mailboxes the local domains have.
    pub recipients: Known,
    /// The reverse-paths that are taken; none for all of them.
    pub senders: Option<Mailboxes>,
    /// What a client may call itself.
    pub helo: HeloRule,
    /// Who may prove to be whom; none if nobody can.
    pub accounts: Option<Arc<Accounts>>,
    /// By which mechanisms.
    pub mechanisms: Mechanisms,
    /// Whose turn it is to hash a password: one processor is left to all others.
    pub hashing: Semaphore,
    /// Clients that may send to foreign domains.
    pub trusted: Vec<IpNet>,
    /// In which way it is wrong.
    pub persona: &'static Persona,
    /// Keeps mail where it is to go.
    pub keeper: Keeper,
    /// What becomes of bare CR and LF.
    pub line_endings: LineEndings,
    /// What a client may do.
    pub limits: Limits,
    /// Whose PROXY header is believed.
    pub proxy_hosts: Vec<IpNet>,
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
    /// The rules by which it misbehaves.
    pub faults: Arc<Faults>,
    /// What it plays instead of deciding anything.
    pub scripts: Scripts,
    /// What was received.
    pub inbox: Inbox,
    /// What is known of the running server.
    pub monitor: Monitor,
}

/// Which mailboxes the local domains have.
#[derive(Clone, Debug)]
pub enum Known {
    /// Those of the users.
    Users,
    /// Any.
    Any,
    /// These, and those that every domain must have.
    Listed(Mailboxes),
}

/// The AUTH mechanisms that were chosen; none for those that are safe.
#[derive(Clone, Debug, Default)]
pub struct Mechanisms {
    /// Without TLS.
    pub in_clear: Option<Vec<String>>,
    /// Inside TLS.
    pub in_tls: Option<Vec<String>>,
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
    /// Which PROXY header must come first.
    pub proxy: ProxyHeader,
    /// No transaction without TLS.
    pub require_tls: bool,
    /// No transaction without AUTH.
    pub require_auth: bool,
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
    accounts: Option<Arc<Accounts>>,
    recipients: Known,
    senders: Option<Mailboxes>,
    faults: Arc<Faults>,
    scripts: Scripts,
    /// Who may use the HTTP API.
    pub guard: Guard,
}

impl Site {
    /// Takes note of a message that was kept.
    pub fn take_note(&self, received: Received) {
        self.monitor.kept(&self.inbox.add(received));
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
        if let (StoreSpec::Mbox(store), StoreSpec::Mbox(witness)) =
            (&options.store, &options.witness.0)
            && std::path::absolute(store)? == std::path::absolute(witness)?
        {
            bail!("store and witness cannot be the same mbox");
        }
        let ports: Vec<Port> = options
            .listen
            .iter()
            .map(|spec| Port::new(spec, &options))
            .collect();
        let tls = tls(&options, &ports)?;
        let accounts = accounts(&options)?.map(Arc::new);
        for name in mechanisms_named(&options) {
            if driver::sasl::find(name).is_none() {
                bail!("there is no AUTH mechanism '{name}'");
            }
        }
        let recipients = match &options.recipients {
            Recipients::Users => Known::Users,
            Recipients::Any => Known::Any,
            Recipients::Listed(path) => Known::Listed(Mailboxes::read(path)?),
        };
        let senders = options
            .senders
            .as_deref()
            .map(Mailboxes::read)
            .transpose()?;
        let guard = guard(&options)?;
        let scripts = Scripts::read(&options, &ports)?;
        let faults = Arc::new(faults(&options, &ports)?);
        Ok(Self {
            options,
            persona,
            ports,
            tls,
            accounts,
            recipients,
            senders,
            faults,
            scripts,
            guard,
        })
    }

    /// The names of all mailboxes.
    fn mailboxes(&self) -> Vec<String> {
        let own = self.options.user.iter().map(|user| user.to_lowercase());
        own.chain(account_names(self.accounts.as_deref()))
            .chain(crate::policy::ALWAYS.map(str::to_owned))
            .chain(match self.recipients {
                Known::Users => None,
                Known::Any | Known::Listed(_) => Some(crate::policy::CATCH_ALL.to_owned()),
            })
            .collect()
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
        let limits = options.limits.clone().with_none_as_most();
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Site {
            hostname: options.hostname.clone(),
            local_domains,
            relay_domains: options.relay_domain.clone(),
            users: users
                .chain(account_names(self.accounts.as_deref()))
                .collect(),
            recipients: self.recipients.clone(),
            senders: self.senders.clone(),
            helo: options.helo,
            accounts: self.accounts.clone(),
            mechanisms: Mechanisms {
                in_clear: options.auth_mechs.clone(),
                in_tls: options.auth_mechs_tls.clone(),
            },
            hashing: Semaphore::new(processors.saturating_sub(1).max(1)),
            trusted: options.mynetworks.clone(),
            persona: self.persona,
            keeper: Keeper::new(options, &self.mailboxes()),
            line_endings: options.line_endings,
            inbox: Inbox::new(in_memory(&options.store), limits.max_memory.0),
            limits,
            proxy_hosts: options.proxy_hosts.clone(),
            xclient_hosts: options.xclient_hosts.clone(),
            xforward_hosts: options.xforward_hosts.clone(),
            hidden: options.hide.clone(),
            advertised: options.advertise.clone(),
            strict: options.strict,
            ports: self.ports.clone(),
            tls: self.tls.clone(),
            faults: Arc::clone(&self.faults),
            scripts: self.scripts.clone(),
            monitor: Monitor::new(match options.api.http {
                Some(_) => Keep::Sessions,
                None => Keep::Counts,
            }),
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
            proxy: spec.proxy,
            require_tls: spec.require_tls,
            require_auth: spec.require_auth,
            relay_policy: spec.relay_policy.unwrap_or(options.relay_policy),
        }
    }
}

/// Mail is nobody's business but those who may see it: what is not on loopback is
/// not served to whoever comes.
fn guard(options: &Options) -> Result<Guard> {
    let api = &options.api;
    if let (Some(address), None) = (api.http, &api.http_token_file)
        && !address.ip().to_canonical().is_loopback()
    {
        bail!("--http {address} is not loopback: it needs --http-token-file");
    }
    let token = api.http_token_file.as_deref().map(Token::read);
    Ok(Guard {
        token: token.transpose()?,
        hosts: api.http_host.clone(),
    })
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

/// The certificate and what is asked of clients, if any listener has TLS.
fn tls(options: &Options, ports: &[Port]) -> Result<Option<Arc<ServerConfig>>> {
    if ports.iter().all(|port| port.tls == TlsMode::None) {
        return Ok(None);
    }
    let clients = match (options.tls_client_auth, &options.tls_ca) {
        (ClientAuth::None, _) => Clients::Unknown,
        (_, None) => bail!("tls-client-auth needs tls-ca"),
        (ClientAuth::Request, Some(ca)) => Clients::MayShow(ca),
        (ClientAuth::Require, Some(ca)) => Clients::MustShow(ca),
    };
    let config = match (&options.tls_cert, &options.tls_key) {
        (Some(chain), Some(key)) => driver::tls::loaded(chain, key, clients)?,
        (None, None) => driver::tls::minted(&names_for_certificate(options), clients)?,
        _ => bail!("tls-cert and tls-key belong together"),
    };
    Ok(Some(config))
}

/// The rules, with what they need.
fn faults(options: &Options, ports: &[Port]) -> Result<Faults> {
    // Whoever wants the same again is told it, and names it.
    let drawn = || draw([driver::clock::wall().nanos(), 0, 0, 0]);
    let names = ports.iter().map(|port| port.name.clone()).collect();
    let faults = Faults::new(
        options.seed.unwrap_or_else(drawn),
        options.magic_domain.clone(),
        names_for_certificate(options),
        names,
    );
    for spec in &options.fault {
        let added = faults.add(spec.fault(), Life::Stays, Origin::Start);
        added.with_context(|| format!("--fault {spec}"))?;
    }
    for rule in &options.rule {
        let added = faults.add(&rule.fault(), Life::Stays, Origin::Start);
        added.with_context(|| format!("the rule '{}'", rule.rule()))?;
    }
    if let Some(path) = &options.scenario {
        for fault in read_scenario(path)? {
            let added = faults.add(&fault, Life::Stays, Origin::Start);
            added.with_context(|| format!("--scenario {}", path.display()))?;
        }
    }
    Ok(faults)
}

/// Who may log in; none if nobody can.
fn accounts(options: &Options) -> Result<Option<Accounts>> {
    if options.users.is_none() && options.tokens.is_none() && !options.auth_any {
        return Ok(match options.tls_client_auth {
            ClientAuth::None => None,
            // A certificate is proof enough for EXTERNAL.
            ClientAuth::Request | ClientAuth::Require => Some(Accounts::new(NameCase::Ignored)?),
        });
    }
    let mut accounts = Accounts::new(NameCase::Ignored)?;
    if let Some(path) = &options.users {
        accounts.read_passwords(path)?;
    }
    if let Some(path) = &options.tokens {
        accounts.read_tokens(path)?;
    }
    if options.auth_any {
        accounts.accept_any();
    }
    Ok(Some(accounts))
}

fn mechanisms_named(options: &Options) -> impl Iterator<Item = &String> {
    let lists = [&options.auth_mechs, &options.auth_mechs_tls];
    lists.into_iter().flatten().flatten()
}

/// Who has an account has a mailbox, too.
fn account_names(accounts: Option<&Accounts>) -> impl Iterator<Item = String> {
    let names = accounts.into_iter().flat_map(Accounts::users);
    names.map(|name| local_part(name).to_lowercase())
}

/// Many log in by their whole mailbox.
fn local_part(name: &str) -> &str {
    name.rsplit_once('@')
        .map_or(name, |(local_part, _)| local_part)
}

/// How many messages are kept in memory.
fn in_memory(store: &StoreSpec) -> usize {
    match store {
        StoreSpec::Memory(count) => *count,
        StoreSpec::Eml(_) | StoreSpec::Maildir(_) | StoreSpec::Mbox(_) | StoreSpec::Null => 0,
    }
}
