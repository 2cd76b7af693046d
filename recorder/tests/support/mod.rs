//! What the tests of the recorder share: the program itself, peers in threads,
//! and ways to wait for an event instead of for a time.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail, and each of them uses a part of this"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shared::direction::Direction;
use shared::recording::{Record, Recording};

/// The longest any event may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Polls until there is something.
pub fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until something holds.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// Numbers that only look random, the same for the same seed.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a new seed, or the one of `HELO_SEED`; it is printed, to repeat a run.
    pub fn new() -> Self {
        let given = std::env::var("HELO_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now();
            let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_secs() << 20 ^ u64::from(now.subsec_nanos())
        });
        println!("HELO_SEED={seed}");
        Self(seed)
    }

    /// Another row of numbers, that this one decides.
    pub fn fork(&mut self) -> Self {
        Self(self.roll())
    }

    /// The next one (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }

    /// So many octets of any value.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_le_bytes()[3]).collect()
    }

    /// A host name that means nothing.
    pub fn name(&mut self) -> String {
        format!("h{:012x}.test", self.roll() & 0xffff_ffff_ffff)
    }
}

/// The recorder, running.
pub struct Recorder {
    child: Child,
    dir: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its recording.
    pub file: PathBuf,
}

impl Recorder {
    /// Starts it in a directory, in front of that server.
    pub fn start(dir: &Path, upstream: SocketAddr, options: &[&str]) -> Self {
        Self::start_as(
            &[env!("CARGO_BIN_EXE_helo-recorder")],
            dir,
            upstream,
            options,
        )
    }

    /// Starts what that command line, with the recorder's options appended, starts.
    pub fn start_as(program: &[&str], dir: &Path, upstream: SocketAddr, options: &[&str]) -> Self {
        let (file, ready) = (dir.join("t.helo.jsonl"), dir.join("ready"));
        let _ = fs::remove_file(&ready);
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .args(["proxy", "--listen", "127.0.0.1:0"])
            .args(["--upstream", &upstream.to_string()])
            .arg("--record")
            .arg(&file)
            .arg("--ready-file")
            .arg(&ready)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let address = until("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(dir.join("stderr")).unwrap_or_default();
                panic!("the recorder ended at once, {status}: {said}");
            }
            fs::read_to_string(&ready).ok()
        });
        Self {
            child,
            dir: dir.to_owned(),
            address: address.trim().parse().unwrap(),
            file,
        }
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        tcp.set_write_timeout(Some(LIMIT)).unwrap();
        tcp
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, without a chance to do anything about it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        until("the end of the recorder", || self.child.try_wait().unwrap())
    }

    /// What it said on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    /// What it has recorded so far.
    pub fn recording(&self) -> Recording {
        Recording::parse(&fs::read(&self.file).unwrap()).unwrap()
    }

    /// Waits for the `close` record of a session.
    pub fn closed(&self, session: u64) -> Record {
        until("the end of the session in the recording", || {
            self.recording()
                .records()
                .iter()
                .find(|record| record.session() == Some(session) && record.kind() == "close")
                .cloned()
        })
    }

    /// How much memory it has resident, in KiB.
    pub fn resident(&self) -> u64 {
        resident(self.pid(), "VmRSS:")
    }

    /// How much memory it had resident at most, in KiB.
    pub fn resident_at_most(&self) -> u64 {
        resident(self.pid(), "VmHWM:")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs the recorder to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helo-recorder"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// `check` on a file: its status and what it says.
pub fn check(file: &Path) -> (i32, String) {
    let output = run(&["check".as_ref(), file.as_os_str()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), said)
}

/// A server in threads: each connection is given to a function, with its number.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

impl Upstream {
    /// Listens on a free port.
    pub fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counts, serve) = ((Arc::clone(&begun), Arc::clone(&ended)), Arc::new(serve));
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let Ok(tcp) = tcp else { return };
                let _ = tcp.set_nodelay(true);
                let number = counts.0.fetch_add(1, Ordering::SeqCst);
                let (serve, ended) = (Arc::clone(&serve), Arc::clone(&counts.1));
                std::thread::spawn(move || {
                    serve(tcp, number);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            ended,
            begun,
        }
    }

    /// An honest one.
    pub fn honest() -> Self {
        Self::start(|tcp, _| {
            smtp(tcp, "220 up.test ESMTP\r\n", &mut Vec::new());
        })
    }

    /// How many connections it has had.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until every connection it took is done with.
    pub fn idle(&self) {
        until_true("the end of the connections to the upstream", || {
            self.ended.load(Ordering::SeqCst) == self.begun.load(Ordering::SeqCst)
        });
    }
}

/// Serves a connection to its end, and logs every octet that came.
pub fn smtp(mut tcp: TcpStream, greeting: &str, log: &mut Vec<u8>) {
    let _ = tcp.write_all(greeting.as_bytes());
    let (mut chunk, mut done, mut in_data) = (vec![0; 16 * 1024], 0, false);
    loop {
        let Ok(count @ 1..) = tcp.read(&mut chunk) else {
            return;
        };
        log.extend_from_slice(&chunk[..count]);
        let mut replies = Vec::new();
        while let Some(length) = log[done..].iter().position(|&octet| octet == b'\n') {
            let line = log[done..=done + length].to_ascii_uppercase();
            done += length + 1;
            if in_data {
                if line == b".\r\n" {
                    in_data = false;
                    replies.extend_from_slice(b"250 2.0.0 kept\r\n");
                }
                continue;
            }
            let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                b"EHLO" => b"250-up.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                b"DATA" => {
                    in_data = true;
                    b"354 go ahead\r\n"
                }
                b"QUIT" => b"221 2.0.0 bye\r\n",
                b"AUTH" => b"334 VXNlcm5hbWU6\r\n",
                _ => b"250 2.0.0 ok\r\n",
            };
            replies.extend_from_slice(reply);
            if line.starts_with(b"QUIT") {
                let _ = tcp.write_all(&replies);
                let _ = tcp.shutdown(Shutdown::Write);
                replies.clear();
            }
        }
        // Where the other side is gone, what it said before is still to be read.
        let _ = tcp.write_all(&replies);
    }
}

/// Reads until the lines that came so far end a reply, and returns it.
pub fn reply(tcp: &mut TcpStream) -> String {
    let (mut text, mut octet) = (Vec::new(), [0]);
    loop {
        match tcp.read(&mut octet) {
            Ok(1) => text.push(octet[0]),
            other => panic!(
                "{other:?} after {:?}",
                String::from_utf8_lossy(&text).into_owned()
            ),
        }
        let last = text
            .rsplitn(3, |&octet| octet == b'\n')
            .nth(1)
            .unwrap_or_default();
        if text.ends_with(b"\n") && last.get(3) != Some(&b'-') {
            return String::from_utf8(text).unwrap();
        }
    }
}

/// Says something, and returns the reply to it.
pub fn say(tcp: &mut TcpStream, line: &str) -> String {
    tcp.write_all(line.as_bytes()).unwrap();
    reply(tcp)
}

/// Everything that still comes, and whether it ended in order.
pub fn drain(tcp: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut rest = Vec::new();
    let end = tcp.read_to_end(&mut rest).map(drop);
    (rest, end)
}

/// A whole session over a recorder: true if all went well.
pub fn is_served(recorder: &Recorder, name: &str) -> bool {
    let mut tcp = recorder.connect();
    reply(&mut tcp).starts_with("220")
        && say(&mut tcp, &format!("EHLO {name}\r\n")).starts_with("250")
        && say(&mut tcp, &format!("MAIL FROM:<a@{name}>\r\n")).starts_with("250")
        && say(&mut tcp, &format!("RCPT TO:<b@{name}>\r\n")).starts_with("250")
        && say(&mut tcp, "DATA\r\n").starts_with("354")
        && say(&mut tcp, "Subject: x\r\n\r\nx\r\n.\r\n").starts_with("250")
        && say(&mut tcp, "QUIT\r\n").starts_with("221")
}

/// What a recording has of the session of the client with that address.
pub fn session_of(recording: &Recording, client: SocketAddr) -> Option<u64> {
    let client = client.to_string();
    recording
        .records()
        .iter()
        .find(|record| record.kind() == "open" && record.text("c") == Some(&client))
        .and_then(Record::session)
}

/// The two payloads of a session: what the client said, and what the server did.
pub fn payloads(recording: &Recording, session: u64) -> (Vec<u8>, Vec<u8>) {
    (
        recording.payload(session, Direction::Client),
        recording.payload(session, Direction::Server),
    )
}

/// A directory of its own for a test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
