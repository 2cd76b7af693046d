//! Scripts in place of all that the server would decide itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use shared::script::Script;

use crate::config::{Options, StoreSpec, TlsMode, WitnessSpec};
use crate::fault::text_of;
use crate::settings::Port;

/// A script, and what it is called.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its file.
    pub name: String,
    /// What is in it.
    pub script: Arc<Script>,
}

/// The scripts that sessions are dealt in turn; none for a server that decides itself.
#[derive(Clone, Debug, Default)]
pub struct Scripts(Vec<Named>);

impl Scripts {
    /// Reads them, and checks that the rest of the options goes with them.
    pub fn read(options: &Options, ports: &[Port]) -> Result<Self> {
        if options.script.is_empty() {
            return Ok(Self::default());
        }
        if let Some(other) = other_than(options) {
            bail!("{other} does nothing with --script: the script says everything");
        }
        let scripts = options.script.iter().map(|path| read(path, ports));
        scripts.collect::<Result<_>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The script of a session, which are counted from 1.
    pub fn of(&self, session: u64) -> Option<&Named> {
        let count = u64::try_from(self.0.len()).ok()?;
        let index = session.saturating_sub(1).checked_rem(count)?;
        self.0.get(usize::try_from(index).ok()?)
    }
}

/// An option that a script leaves nothing to.
fn other_than(options: &Options) -> Option<&'static str> {
    let honest = Options::default();
    [
        (!options.fault.is_empty(), "--fault"),
        (options.scenario.is_some(), "--scenario"),
        (!options.rule.is_empty(), "a rule"),
        (options.magic_domain.is_some(), "--magic-domain"),
        (options.persona != honest.persona, "--persona"),
        (options.store != honest.store, "--store"),
        (options.witness != WitnessSpec(StoreSpec::Null), "--witness"),
    ]
    .into_iter()
    .find_map(|(given, name)| given.then_some(name))
}

fn read(path: &Path, ports: &[Port]) -> Result<Named> {
    let text = text_of(path).with_context(|| format!("reading --script {}", path.display()))?;
    let script: Script = text
        .parse()
        .map_err(|error: shared::recording::TranscriptError| at(path, error.line, error.what))?;
    if let Some(line) = script.tls_at()
        && let Some(port) = ports.iter().find(|port| port.tls != TlsMode::StartTls)
    {
        let name = &port.name;
        let what = match port.tls {
            TlsMode::Implicit => format!("the listener {name} is inside TLS already"),
            _ => format!("the listener {name} has no TLS"),
        };
        return Err(at(path, line, &what));
    }
    Ok(Named {
        name: path.display().to_string(),
        script: Arc::new(script),
    })
}

fn at(path: &Path, line: usize, what: &str) -> anyhow::Error {
    anyhow::anyhow!("{}:{line}: {what}", path.display())
}
