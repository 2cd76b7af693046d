//! The rules by which the server misbehaves, shared by all its sessions.
//!
//! Where there is no rule for a stage nobody takes the lock: a set of bits says so.

mod list;
mod plan;
mod shelf;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shared::address::Domain;
use shared::fault::engine::{Life, Shown};
use shared::fault::preset::Fault;
use shared::fault::{Action, Engine, Event, Fired, Rule, RuleId, Stage, Tally};
use shared::reply::Reply;
use shared::time::Timestamp;

pub(crate) use list::list;
pub(crate) use plan::{Files, Plan, Refusal, Saying, Work, encoded, first_code};
pub(crate) use shelf::Shelf;

/// The rules, and what they need.
pub struct Faults {
    state: Mutex<State>,
    /// The stages of all rules, as bits.
    watched: AtomicU32,
    reads_content: AtomicBool,
    /// Sessions that are open.
    open: AtomicU64,
    /// Until when no connection is taken, in nanoseconds.
    shut_until: AtomicU64,
    magic: Option<Domain>,
    shelf: Shelf,
    listeners: Vec<String>,
}

struct State {
    engine: Engine,
    /// The replies that `reply-lines` names.
    files: Files,
}

/// Who adds a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever started the server.
    Start,
    /// Whoever may use the API: no files are read for them.
    Api,
}

/// The most octets of a file with a reply, or with rules.
const FILE: u64 = 1 << 20;

impl Faults {
    /// No rules yet. What rules say of listeners must be one of these.
    pub fn new(
        seed: u64,
        magic: Option<Domain>,
        hosts: Vec<String>,
        listeners: Vec<String>,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                engine: Engine::new(seed),
                files: HashMap::new(),
            }),
            watched: AtomicU32::new(0),
            reads_content: AtomicBool::new(false),
            open: AtomicU64::new(0),
            shut_until: AtomicU64::new(0),
            magic,
            shelf: Shelf::new(hosts),
            listeners,
        }
    }

    /// Adds the rules of a fault.
    pub fn add(&self, fault: &Fault, life: Life, origin: Origin) -> Result<Vec<RuleId>> {
        for rule in &fault.rules {
            self.prepare(rule, origin)?;
        }
        let mut state = self.lock();
        let mut added = Vec::new();
        for rule in &fault.rules {
            let Some(id) = state.engine.add(&fault.name, rule.clone(), life) else {
                for id in added {
                    state.engine.remove(id);
                }
                bail!("there are {} rules already", shared::fault::engine::MOST);
            };
            added.push(id);
        }
        self.watch(&state.engine);
        Ok(added)
    }

    /// Puts these in place of all others; where one of them cannot be, nothing changes.
    pub fn replace(&self, faults: &[Fault], origin: Origin) -> Result<()> {
        let rules: usize = faults.iter().map(|fault| fault.rules.len()).sum();
        if rules > shared::fault::engine::MOST {
            bail!("there may be {} rules", shared::fault::engine::MOST);
        }
        for rule in faults.iter().flat_map(|fault| &fault.rules) {
            self.prepare(rule, origin)?;
        }
        let mut state = self.lock();
        state.engine.clear();
        for fault in faults {
            for rule in &fault.rules {
                state.engine.add(&fault.name, rule.clone(), Life::Stays);
            }
        }
        self.watch(&state.engine);
        Ok(())
    }

    /// Takes a rule away; false if there is none of that number.
    pub fn remove(&self, id: RuleId) -> bool {
        let mut state = self.lock();
        let removed = state.engine.remove(id);
        self.watch(&state.engine);
        removed
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.engine.clear();
        self.watch(&state.engine);
    }

    /// What all draws are made from.
    pub fn seed(&self) -> u64 {
        self.lock().engine.seed()
    }

    /// The rules, in order.
    pub fn rules(&self) -> Vec<Shown> {
        self.lock().engine.rules().collect()
    }

    /// Makes what a rule needs, so that nothing is missing when it fires.
    fn prepare(&self, rule: &Rule, origin: Origin) -> Result<()> {
        if let Some(listener) = &rule.when.listener
            && !self.listeners.contains(listener)
        {
            bail!(
                "there is no listener '{listener}' (there are {})",
                self.listeners.join(", ")
            );
        }
        for action in &rule.actions {
            match action {
                Action::ReplyLines(_) if origin == Origin::Api => {
                    bail!("reply-lines is taken at the start alone: it reads a file");
                }
                Action::ReplyLines(path) => {
                    let reply = reply_of(Path::new(path))?;
                    self.lock().files.insert(path.clone(), reply);
                }
                _ => {}
            }
        }
        self.shelf.prepare(&rule.actions)
    }

    fn watch(&self, engine: &Engine) {
        let bits = engine.stages().fold(0, |bits, stage| bits | stage.bit());
        self.watched.store(bits, Ordering::Release);
        self.reads_content
            .store(engine.reads_content(), Ordering::Release);
    }

    /// Some rule may fire there.
    pub(crate) fn watches(&self, stage: Stage) -> bool {
        let watched = self.watched.load(Ordering::Acquire);
        let any = Stage::Any.covers(stage) && watched & Stage::Any.bit() != 0;
        let magic = self.magic.is_some()
            && matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot);
        watched & stage.bit() != 0 || any || magic
    }

    /// Some rule looks at the content of messages.
    pub(crate) fn reads_content(&self) -> bool {
        self.reads_content.load(Ordering::Acquire)
    }

    /// What fires.
    pub(crate) fn fire(&self, event: Event<'_>, tally: &mut Tally) -> Option<Fired> {
        self.lock().engine.fire(event, tally)
    }

    /// The stages of all rules that have an argument.
    pub(crate) fn marks(&self, wanted: fn(Stage) -> bool) -> Vec<Stage> {
        let state = self.lock();
        let stages = state.engine.stages();
        stages.filter(|stage| wanted(*stage)).collect()
    }

    /// The reply in a file that a rule names.
    pub(crate) fn lines_of(&self, path: &str) -> Option<Reply> {
        self.lock().files.get(path).cloned()
    }

    /// The domain whose mailboxes ask for what is to happen to them.
    pub(crate) fn magic(&self) -> Option<&Domain> {
        self.magic.as_ref()
    }

    /// Certificates that are wrong.
    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// One more session is open, until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Present {
        self.open.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(self))
    }

    /// How many sessions are open.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes no connections for a time.
    pub(crate) fn shut(&self, now: Timestamp, period: Duration) {
        let until = (now + period).nanos();
        self.shut_until.fetch_max(until, Ordering::AcqRel);
    }

    /// No connection is taken now.
    pub(crate) fn is_shut(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let until = self.shut_until.load(Ordering::Acquire);
        until > 0 && now().nanos() < until
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("rules", &self.rules())
            .finish_non_exhaustive()
    }
}

/// A session that is open.
#[derive(Debug)]
pub(crate) struct Present(Arc<Faults>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The faults in a file: one a line, lines with `#` are left out.
pub fn read_scenario(path: &Path) -> Result<Vec<Fault>> {
    let text = text_of(path).with_context(|| format!("reading {}", path.display()))?;
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let rule = line.trim_start();
        if rule.is_empty() || rule.starts_with('#') {
            continue;
        }
        let indent = line.chars().count() - rule.chars().count();
        let fault: Result<Fault, _> = rule.parse();
        faults.push(fault.map_err(|error| {
            let (column, what) = place_of(&error);
            let (line, column) = (index + 1, column + indent);
            anyhow::anyhow!("{}:{line}:{column}: {what}", path.display())
        })?);
    }
    Ok(faults)
}

/// Where an error is, and what.
fn place_of(error: &shared::fault::preset::FaultError) -> (usize, String) {
    let said = error.to_string();
    let place = said.strip_prefix("column ").and_then(|rest| {
        let (column, what) = rest.split_once(": ")?;
        Some((column.parse().ok()?, what.to_owned()))
    });
    place.unwrap_or((1, said))
}

/// The reply in a file: lines with a code, as they are sent.
fn reply_of(path: &Path) -> Result<Reply> {
    let what = || format!("reading the reply in {}", path.display());
    let text = text_of(path).with_context(what)?;
    match Reply::parse(text.as_bytes()) {
        Some(reply) => Ok(reply),
        None => bail!(
            "{}: lines such as '220-text', and '220 text' as the last",
            what()
        ),
    }
}

/// The text of a file, unless it is too large.
pub(crate) fn text_of(path: &Path) -> Result<String> {
    let mut text = String::new();
    // Not by its size: a device has none, and no end.
    File::open(path)?.take(FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE {
        bail!("it has more than {FILE} octets");
    }
    Ok(text)
}
