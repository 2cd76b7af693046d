//! A file of dialogues.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver::clock::Clock;
use shared::direction::Direction::{Client, Server};
use shared::recording::{Line, Transcript};

/// A file of dialogues with one server.
pub(crate) struct File {
    /// Without its folder.
    pub(crate) name: String,
    /// The first line: which sections, and what they are about.
    pub(crate) about: String,
    /// For the server, as on its command line.
    pub(crate) options: String,
    /// What is said.
    pub(crate) dialogues: Vec<Dialogue>,
}

/// One session.
pub(crate) struct Dialogue {
    /// What it shows.
    pub(crate) title: String,
    /// What happens.
    pub(crate) turns: Vec<Turn>,
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The client says this.
    Client(Vec<u8>),
    /// What the client says next comes in one read at its line ends: where the
    /// server must not have answered a line before it sees the next one.
    AtOnce,
    /// The server answers with these lines; see [`crate`] for `…`.
    Server(Vec<String>),
    /// The TLS handshake; at the beginning: TLS from the first octet.
    Tls,
    /// The server has closed the connection.
    Close,
    /// This is the content of the last message.
    Content(Vec<u8>),
    /// So many messages were kept.
    Messages(usize),
}

impl File {
    /// Where the folders are.
    pub(crate) fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
    }

    /// The files of a folder, by name.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let entries = fs::read_dir(Self::root().join(folder)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n## ");
        let head = parts.next().unwrap();
        let about = head.lines().next().unwrap();
        let about = about.strip_prefix("# ").expect("a first line").to_owned();
        let options = head.lines().filter_map(|line| line.strip_prefix("#! "));
        let options = options.collect::<Vec<_>>().join(" ");
        let opening = head.lines().filter(|line| !line.starts_with('#'));
        let opening = opening.collect::<Vec<_>>().join("\n");
        let dialogue = |part: &str| {
            let (title, body) = part.split_once('\n').unwrap();
            let what = format!("{}: {title}", path.display());
            Dialogue::parse(title, &format!("{opening}\n{body}"), &what)
        };
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            about,
            options,
            dialogues: parts.map(dialogue).collect(),
        }
    }
}

impl Dialogue {
    /// Reads one; `what` is it called if that fails.
    pub(crate) fn parse(title: &str, text: &str, what: &str) -> Self {
        let transcript: Transcript = expand(text)
            .parse()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut turns = Vec::new();
        for line in transcript.lines() {
            match line {
                Line::Said(Client, bytes) | Line::Content(bytes) => match turns.last_mut() {
                    Some(Turn::Client(said)) => said.extend_from_slice(bytes),
                    _ => turns.push(Turn::Client(bytes.clone())),
                },
                Line::Said(Server, bytes) => {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let lines = text.split_terminator("\r\n").map(str::to_owned);
                    match turns.last_mut() {
                        Some(Turn::Server(said)) => said.extend(lines),
                        _ => turns.push(Turn::Server(lines.collect())),
                    }
                }
                Line::Event(event) if event == "tls" => turns.push(Turn::Tls),
                Line::Event(event) if event == "at once" => turns.push(Turn::AtOnce),
                Line::Event(event) if event == "close" => turns.push(Turn::Close),
                Line::Fact(fact) => turns.push(Turn::of_fact(fact, what)),
                Line::Comment(_) | Line::Blank => {}
                other => panic!("{what}: {other:?} means nothing here"),
            }
        }
        Self {
            title: title.to_owned(),
            turns,
        }
    }

    /// How many octets the client says.
    pub(crate) fn octets(&self) -> usize {
        let said = self.turns.iter().map(|turn| match turn {
            Turn::Client(bytes) => bytes.len(),
            _ => 0,
        });
        said.sum()
    }
}

impl Turn {
    fn of_fact(fact: &str, what: &str) -> Self {
        match fact.split_once(' ').unwrap_or((fact, "")) {
            ("content", text) => Self::Content(shared::escape::unescape(text).unwrap()),
            ("messages", count) => Self::Messages(count.parse().unwrap()),
            _ => panic!("{what}: {fact} means nothing here"),
        }
    }
}

/// Undoes `{text*count}` and `{+seconds}`.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let found = after.split_once('}').and_then(|(inside, after)| {
            let expanded = repeated(inside).or_else(|| time_to_come(inside))?;
            Some((expanded, after))
        });
        out += before;
        rest = if let Some((expanded, after)) = found {
            out += &expanded;
            after
        } else {
            out.push('{');
            after
        };
    }
    out + rest
}

fn repeated(inside: &str) -> Option<String> {
    let (text, count) = inside.rsplit_once('*')?;
    Some(text.repeat(count.parse().ok()?))
}

fn time_to_come(inside: &str) -> Option<String> {
    let seconds = inside.strip_prefix('+')?.strip_suffix('s')?.parse().ok()?;
    Some((Clock::start().now() + Duration::from_secs(seconds)).to_string())
}
