//! A load client for the rows: sessions that stay open, one thread, as little work
//! beside sending and counting replies as there can be.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// What to send, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    address: SocketAddr,
    /// Sessions at a time
    #[arg(short)]
    sessions: u32,
    /// Messages in all
    #[arg(short)]
    messages: u64,
    /// Octets of each
    #[arg(short = 'l')]
    size: usize,
    /// Send together what may be sent together (RFC 2920)
    #[arg(long)]
    pipelining: bool,
}

const ENVELOPE: &[&[u8]] = &[
    b"MAIL FROM:<a@bench.test>\r\n",
    b"RCPT TO:<b@bench.test>\r\n",
    b"DATA\r\n",
];

/// What is sent at once, and how many replies are waited for then.
#[derive(Debug)]
struct Turn {
    bytes: Vec<u8>,
    replies: usize,
    /// The last of them accepts a message.
    delivers: bool,
}

/// What every session says, after EHLO.
#[derive(Debug)]
struct Script {
    /// Up to the first message.
    opening: Vec<Turn>,
    /// A message, and the way to the next one.
    message: Vec<Turn>,
}

impl Script {
    fn new(load: &Load) -> Self {
        let content = content(load.size);
        let turn = |bytes: &[u8], replies| Turn {
            bytes: bytes.to_vec(),
            replies,
            delivers: false,
        };
        let delivery = |bytes: Vec<u8>, replies| Turn {
            bytes,
            replies,
            delivers: true,
        };
        if load.pipelining {
            let next = [content, ENVELOPE.concat()].concat();
            return Self {
                opening: vec![turn(&ENVELOPE.concat(), ENVELOPE.len())],
                message: vec![delivery(next, 1 + ENVELOPE.len())],
            };
        }
        let mut message: Vec<Turn> = ENVELOPE.iter().map(|line| turn(line, 1)).collect();
        message.push(delivery(content, 1));
        Self {
            opening: Vec::new(),
            message,
        }
    }

    /// The turn of that number, counted from the first after EHLO.
    fn turn(&self, number: usize) -> Option<&Turn> {
        match number.checked_sub(self.opening.len()) {
            None => self.opening.get(number),
            Some(of_message) => self.message.get(of_message % self.message.len()),
        }
    }
}

fn content(size: usize) -> Vec<u8> {
    let mut content = b"Subject: bench\r\n\r\n".to_vec();
    let line = [&[b'X'; 78][..], b"\r\n"].concat();
    while content.len() < size {
        content.extend_from_slice(&line);
    }
    content.extend_from_slice(b".\r\n");
    content
}

/// One session.
struct Session {
    stream: TcpStream,
    /// The number of the turn that is under way.
    turn: usize,
    /// Octets of it that were sent.
    sent: usize,
    /// Replies it still waits for.
    replies: usize,
    line: ReplyLine,
}

/// The line of a reply that is coming.
#[derive(Clone, Copy, Debug, Default)]
struct ReplyLine {
    octets: usize,
    refused: bool,
    continues: bool,
}

/// Sends everything, and prints how many seconds it took once all sessions were
/// there.
pub(crate) fn run(load: &Load) -> Result<()> {
    let script = Script::new(load);
    let mut sessions = Vec::new();
    for _ in 0..load.sessions {
        sessions.push(Session::open(load.address)?);
    }
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    for (index, session) in sessions.iter().enumerate() {
        session.stream.set_nonblocking(true)?;
        epoll::add(
            &poll,
            &session.stream,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
    }
    let begun = Instant::now();
    let mut left = load.messages;
    for session in &mut sessions {
        session.begin(&script)?;
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    while left > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let (data, ready) = (event.data, event.flags);
            let index = usize::try_from(data.u64())?;
            let session = sessions.get_mut(index).context("no such session")?;
            left = left.saturating_sub(session.go_on(&script, &mut buffer)?);
            // Room to send is asked for only by who has none.
            let mut wanted = EventFlags::IN;
            wanted.set(EventFlags::OUT, session.is_sending(&script));
            if (wanted | ready).contains(EventFlags::OUT) {
                epoll::modify(&poll, &session.stream, data, wanted)?;
            }
        }
    }
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}

impl Session {
    /// Connects, and says EHLO.
    fn open(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            stream: stream.try_clone()?,
            turn: 0,
            sent: 0,
            replies: 1,
            line: ReplyLine::default(),
        };
        let mut chunk = [0; 4096];
        for said in [&b""[..], b"EHLO bench.test\r\n"] {
            stream.write_all(said)?;
            session.replies = 1;
            while session.replies > 0 {
                let count = stream.read(&mut chunk)?;
                ensure!(count > 0, "the server hung up");
                session.count(chunk.get(..count).unwrap_or_default())?;
            }
        }
        session.stream = stream;
        Ok(session)
    }

    fn begin(&mut self, script: &Script) -> Result<()> {
        self.sent = 0;
        self.replies = script.turn(self.turn).map_or(0, |turn| turn.replies);
        self.send(script)
    }

    /// Sends and reads what can be sent and read now; how many messages that made.
    fn go_on(&mut self, script: &Script, buffer: &mut [u8]) -> Result<u64> {
        self.send(script)?;
        let count = match self.stream.read(buffer) {
            Ok(0) => bail!("the server hung up"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        self.count(buffer.get(..count).unwrap_or_default())?;
        if self.replies > 0 {
            return Ok(0);
        }
        let delivered = script.turn(self.turn).is_some_and(|turn| turn.delivers);
        self.turn += 1;
        self.begin(script)?;
        Ok(u64::from(delivered))
    }

    fn send(&mut self, script: &Script) -> Result<()> {
        let turn = script.turn(self.turn).context("there is no such turn")?;
        while let Some(rest) = turn.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_sending(&self, script: &Script) -> bool {
        script
            .turn(self.turn)
            .is_some_and(|turn| self.sent < turn.bytes.len())
    }

    /// Counts the replies in what was read; each must be positive.
    fn count(&mut self, read: &[u8]) -> Result<()> {
        for &octet in read {
            let line = &mut self.line;
            match line.octets {
                0 => line.refused = !matches!(octet, b'2' | b'3'),
                3 => line.continues = octet == b'-',
                _ => {}
            }
            line.octets += 1;
            if octet == b'\n' {
                ensure!(!line.refused, "the server refused something");
                if !line.continues {
                    self.replies = self.replies.saturating_sub(1);
                }
                *line = ReplyLine::default();
            }
        }
        Ok(())
    }
}
