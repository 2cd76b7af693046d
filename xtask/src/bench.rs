//! `cargo xtask bench`: what the recorder costs.
//!
//! The same client talks to the same server, directly and through the recorder,
//! turn by turn, so that a machine whose speed drifts drifts for both. A ratio is
//! worth more than a time; neither is a test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, root};
use crate::process::Background;

/// Round trips of one turn, and turns.
const ROUND_TRIPS: usize = 2_000;
const TURNS: usize = 5;

/// Messages sent for the throughput.
const MESSAGES: usize = 2_000;

/// Measures, and prints.
pub(crate) fn run() -> Result<()> {
    crate::interrupt::listen()?;
    cargo(&["build", "--release", "--workspace", "--bins", "--locked"])?;
    let recorder = root().join("target/release/helo-recorder");
    let directory = tempfile::Builder::new().prefix("helo-bench-").tempdir()?;
    let server = serve()?;
    for durability in ["buffered", "written", "synced"] {
        measure(&recorder, directory.path(), &server, durability)?;
    }
    Ok(())
}

fn measure(recorder: &Path, directory: &Path, server: &str, durability: &str) -> Result<()> {
    let ready = directory.join(format!("{durability}.ready"));
    let recording = directory.join(format!("{durability}.helo.jsonl"));
    let mut command = Command::new(recorder);
    command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", server]);
    command
        .args(["--durability", durability])
        .arg("--record")
        .arg(&recording);
    command.arg("--ready-file").arg(&ready);
    let (process, addresses) = Background::start_ready("helo-recorder", &mut command, &ready)?;
    let proxy = addresses.first().context("the recorder listens nowhere")?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        direct.extend(round_trips(server)?);
        through.extend(round_trips(proxy)?);
    }
    let begun = Instant::now();
    messages(proxy)?;
    let elapsed = begun.elapsed();
    process.stop()?;
    let lines = std::fs::read_to_string(&recording)?.lines().count();
    let of_messages = lines.saturating_sub(TURNS * (ROUND_TRIPS * 2 + 4));
    let (direct, through) = (median(&mut direct), median(&mut through));
    println!(
        "{durability:<9} round trip {:>6.1} µs direct, {:>6.1} µs through the recorder (+{:.1} µs, {:.2}x); \
         {:.0} messages/s, {:.0} records/s over one connection",
        micros(direct),
        micros(through),
        micros(through.saturating_sub(direct)),
        through.as_secs_f64() / direct.as_secs_f64(),
        per_second(MESSAGES, elapsed),
        per_second(of_messages, elapsed),
    );
    Ok(())
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from) / elapsed.as_secs_f64()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A client in lock-step.
struct Client {
    reader: BufReader<TcpStream>,
    line: String,
}

impl Client {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            reader: BufReader::new(stream),
            line: String::new(),
        };
        client.hear()?;
        client.say(b"EHLO bench.test\r\n")?;
        Ok(client)
    }

    fn hear(&mut self) -> Result<()> {
        loop {
            self.line.clear();
            let count = self.reader.read_line(&mut self.line)?;
            ensure!(count > 0, "the server hung up");
            if self.line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        self.hear()
    }
}

fn round_trips(address: &str) -> Result<Vec<Duration>> {
    let mut client = Client::connect(address)?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        client.say(b"NOOP\r\n")?;
        times.push(begun.elapsed());
    }
    client.say(b"QUIT\r\n")?;
    Ok(times)
}

fn messages(address: &str) -> Result<()> {
    let mut client = Client::connect(address)?;
    let mut content = b"Subject: bench\r\n\r\n".to_vec();
    while content.len() < 4096 {
        content.extend_from_slice(
            b"a line of sixty-four octets, as long as lines of mail often are\r\n",
        );
    }
    content.extend_from_slice(b".\r\n");
    for _ in 0..MESSAGES {
        client.say(b"MAIL FROM:<a@bench.test>\r\n")?;
        client.say(b"RCPT TO:<b@bench.test>\r\n")?;
        client.say(b"DATA\r\n")?;
        client.say(&content)?;
    }
    client.say(b"QUIT\r\n")
}

/// The least server that there can be: it says 250, or 354 to DATA.
fn serve() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 bench ESMTP\r\n")?;
    let (mut line, mut in_data) = (Vec::new(), false);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let reply: &[u8] = match (in_data, &line[..]) {
            (true, b".\r\n") => {
                in_data = false;
                b"250 ok\r\n"
            }
            (true, _) => continue,
            (false, b"DATA\r\n") => {
                in_data = true;
                b"354 go on\r\n"
            }
            (false, b"QUIT\r\n") => b"221 bye\r\n",
            (false, _) => b"250 ok\r\n",
        };
        reader.get_mut().write_all(reply)?;
    }
}
