//! Two sinks under the same client, turn by turn.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Setting;
use super::calm::{CALM, Moment};
use super::pin::Processors;
use super::rows::{Metric, Pins, Sink, Source};
use super::server::Server;
use crate::process::capture;

/// What is compared, and under what load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) ours: Sink,
    pub(super) peer: Sink,
    pub(super) source: Source,
    pub(super) sessions: u32,
    /// Octets of a message, about.
    pub(super) size: u32,
    pub(super) pins: Pins,
    pub(super) metric: Metric,
}

/// The figures of the turns: ours, and the peer's if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) ours: Vec<f64>,
    pub(super) peer: Vec<f64>,
    /// How many processors others used meanwhile, where that was noted.
    pub(super) others: Vec<f64>,
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
struct Run {
    messages: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
    /// Processors that others used meanwhile.
    others: f64,
}

/// Messages of the first, short run, which says how many a real one needs.
const FIRST: u64 = 300;

/// Each session sends so many messages at least, or the run would measure how fast
/// connections are made.
const OF_A_SESSION: u64 = 20;

/// One turn: ours and the peer's.
type Turn = (Run, Run);

/// Measures both, turn by turn. Turns that others have disturbed are made again, as
/// often as there are turns.
pub(super) fn hold(setting: &Setting, scene: &Scene) -> Result<Figures> {
    let enough = |sink| enough(setting, scene, sink);
    let (of_ours, of_peer) = (enough(scene.ours)?, enough(scene.peer)?);
    let (mut turns, mut calm): (Vec<Turn>, _) = (Vec::new(), 0);
    let most = setting.turns * 2;
    while calm < setting.turns && turns.len() < most {
        let ours = run(setting, scene, scene.ours, of_ours)?;
        let peer = run(setting, scene, scene.peer, of_peer)?;
        calm += usize::from(is_calm(&(ours, peer)));
        turns.push((ours, peer));
    }
    if calm >= FEWEST.min(setting.turns) {
        turns.retain(is_calm);
    }
    let figures = |side: fn(&Turn) -> &Run, of: &dyn Fn(&Run) -> f64| {
        turns.iter().map(|turn| of(side(turn))).collect()
    };
    Ok(Figures {
        ours: figures(|turn| &turn.0, &|run| scene.figure(run)),
        peer: figures(|turn| &turn.1, &|run| scene.figure(run)),
        others: turns.iter().map(disturbance).collect(),
    })
}

/// So many calm turns tell more than all of them.
const FEWEST: usize = 3;

fn is_calm(turn: &Turn) -> bool {
    disturbance(turn) <= CALM
}

fn disturbance(turn: &Turn) -> f64 {
    turn.0.others.max(turn.1.others)
}

/// How many messages a run of the wanted length needs.
fn enough(setting: &Setting, scene: &Scene, sink: Sink) -> Result<u64> {
    let sessions = u64::from(scene.sessions);
    let (first, each) = if scene.is_bulk() {
        (sessions, 1)
    } else {
        (FIRST.max(sessions), OF_A_SESSION)
    };
    let tried = run(setting, scene, sink, first)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is an estimate"
    )]
    let wanted = (tried.messages as f64 / tried.seconds * setting.seconds) as u64;
    Ok(wanted.clamp(sessions * each, MOST))
}

/// No run is longer than that many messages.
const MOST: u64 = 2_000_000;

fn run(setting: &Setting, scene: &Scene, sink: Sink, messages: u64) -> Result<Run> {
    let processors = Processors::of(scene.pins)?;
    let server = processors.server(|| Server::start(setting, sink))??;
    let before = server.cpu_seconds()?;
    let mut client = source(setting, scene, &server.address, messages)?;
    let (moment, begun) = (Moment::now()?, Instant::now());
    let output = processors.client(|| capture(&mut client))??;
    let elapsed = begun.elapsed().as_secs_f64();
    ensure!(output.status.success(), "the client failed: {client:?}");
    let seconds = match scene.source {
        Source::Postfix => elapsed,
        // It knows when all sessions were there.
        Source::LockStep | Source::Pipelining => String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .context("reading what the load says")?,
    };
    let cpu_seconds = server.cpu_seconds()? - before;
    let run = Run {
        messages,
        seconds,
        cpu_seconds,
        peak_mib: server.peak_mib()?,
        others: moment.others_since(cpu_seconds)?,
    };
    server.stop()?;
    Ok(run)
}

fn source(setting: &Setting, scene: &Scene, address: &str, messages: u64) -> Result<Command> {
    let numbers = [
        ("-s", u64::from(scene.sessions)),
        ("-m", messages),
        ("-l", u64::from(scene.size)),
    ];
    let mut command = match scene.source {
        Source::Postfix => {
            let mut command = setting.peers.postfix()?.command("smtp-source");
            command.args(["-d", "-M", "bench.test", "-f", "a@bench.test"]);
            command.args(["-t", "b@bench.test"]);
            command
        }
        Source::LockStep | Source::Pipelining => {
            let mut command = Command::new(&setting.load);
            command.arg("bench-load");
            if scene.source == Source::Pipelining {
                command.arg("--pipelining");
            }
            command
        }
    };
    for (option, number) in numbers {
        command.arg(option).arg(number.to_string());
    }
    command.arg(address);
    Ok(command)
}

impl Scene {
    fn is_bulk(&self) -> bool {
        self.size > 1 << 20
    }

    fn figure(&self, run: &Run) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no run has so many messages")]
        let messages = run.messages as f64;
        match self.metric {
            Metric::Cpu => run.cpu_seconds / messages * 1e6,
            Metric::Rate => messages / run.seconds,
            Metric::Throughput => messages * f64::from(self.size) / run.seconds / 1e6,
            Metric::Memory => run.peak_mib,
        }
    }
}
