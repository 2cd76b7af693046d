//! What the recorder costs: the same client talks to the same server, directly and
//! through the recorder, turn by turn.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Setting;
use super::contest::Figures;
use crate::process::Background;

/// Of one turn.
const ROUND_TRIPS: u32 = 2_000;
const MESSAGES: u32 = 500;

/// The time of a round trip.
pub(super) fn round_trips(setting: &Setting, durability: &str) -> Result<Figures> {
    hold(setting, durability, |address| {
        let mut client = Client::connect(address)?;
        let mut times = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let begun = Instant::now();
            client.say(b"NOOP\r\n")?;
            times.push(begun.elapsed());
        }
        client.say(b"QUIT\r\n")?;
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    })
}

/// The time of a message, over a connection that stays open.
pub(super) fn messages(setting: &Setting, durability: &str) -> Result<Figures> {
    let content = content();
    hold(setting, durability, |address| {
        let mut client = Client::connect(address)?;
        let begun = Instant::now();
        for _ in 0..MESSAGES {
            client.say(b"MAIL FROM:<a@bench.test>\r\n")?;
            client.say(b"RCPT TO:<b@bench.test>\r\n")?;
            client.say(b"DATA\r\n")?;
            client.say(&content)?;
        }
        let elapsed = begun.elapsed();
        client.say(b"QUIT\r\n")?;
        Ok(elapsed / MESSAGES)
    })
}

/// Does something through the recorder and directly, turn by turn.
fn hold(
    setting: &Setting,
    durability: &str,
    measure: impl Fn(&str) -> Result<Duration>,
) -> Result<Figures> {
    let directory = tempfile::tempdir_in(setting.directory.path())?;
    let ready = directory.path().join("ready");
    let server = serve()?;
    let mut command = Command::new(&setting.recorder);
    command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream", &server]);
    command.args(["--durability", durability, "--record"]);
    command.arg(directory.path().join("t.helo.jsonl"));
    command.arg("--ready-file").arg(&ready);
    let (process, addresses) = Background::start_ready("helo-recorder", &mut command, &ready)?;
    let proxy = addresses.first().context("the recorder listens nowhere")?;
    let mut figures = Figures::default();
    for _ in 0..setting.turns {
        figures.ours.push(measure(proxy)?.as_secs_f64() * 1e6);
        figures.peer.push(measure(&server)?.as_secs_f64() * 1e6);
    }
    process.stop()?;
    Ok(figures)
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

fn content() -> Vec<u8> {
    let line = b"a line of sixty-four octets, as long as lines of mail often are\r\n";
    let mut content = b"Subject: bench\r\n\r\n".to_vec();
    while content.len() < 4096 {
        content.extend_from_slice(line);
    }
    content.extend_from_slice(b".\r\n");
    content
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
