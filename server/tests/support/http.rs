//! The HTTP API, asked by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;
use testkit::talk;

use super::Server;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The lines of its header, names in lower case.
    pub header: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.header.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON, which it says it is.
    pub fn json(&self) -> Value {
        let media_type = self.field("content-type").unwrap();
        assert!(
            media_type.ends_with("json"),
            "{media_type}: {}",
            self.text()
        );
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    /// Starts it with the API and these options.
    pub fn with_api(dir: &Path, options: &[&str]) -> Self {
        Self::start(dir, &[&["--http", "127.0.0.1:0"], options].concat())
    }

    /// Where its API is.
    pub fn http(&self) -> SocketAddr {
        let url = self.endpoints.last().unwrap();
        url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Asks with these header lines besides Host, and takes the whole answer.
    pub fn ask(&self, method: &str, path: &str, header: &[&str]) -> Answer {
        let mut lines = vec![format!("Host: {}", self.http())];
        lines.extend(header.iter().map(|&line| line.to_owned()));
        ask_with(self.http(), method, path, &lines)
    }

    /// Asks with a body.
    pub fn tell(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut tcp = talk::connect(self.http());
        let (host, length) = (self.http(), body.len());
        write!(
            tcp,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut reader = BufReader::new(tcp);
        let mut answer = head(&mut reader);
        reader.read_to_end(&mut answer.body).unwrap();
        answer
    }

    /// Gets something that is there.
    pub fn get(&self, path: &str) -> Answer {
        let answer = self.ask("GET", path, &[]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    }

    /// Gets something that is JSON.
    pub fn json(&self, path: &str) -> Value {
        self.get(path).json()
    }
}

/// Delivers a message in a session of its own.
pub fn deliver(server: &Server, from: &str, to: &str, content: &str) {
    let mut tcp = server.after(&[
        "EHLO c.test",
        &format!("MAIL FROM:{from}"),
        &format!("RCPT TO:{to}"),
        "DATA",
    ]);
    let verdict = talk::say(&mut tcp, &format!("{content}\r\n.\r\n"));
    assert!(verdict.starts_with("250"), "{verdict}");
    assert!(talk::say(&mut tcp, "QUIT\r\n").starts_with("221"));
}

/// Asks with these header lines, and takes the whole answer.
pub fn ask_with(address: SocketAddr, method: &str, path: &str, header: &[String]) -> Answer {
    let mut tcp = talk::connect(address);
    let header = header.join("\r\n");
    let request = format!("{method} {path} HTTP/1.1\r\n{header}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(tcp);
    let mut answer = head(&mut reader);
    reader.read_to_end(&mut answer.body).unwrap();
    answer
}

/// Reads the header of an answer.
pub fn head(reader: &mut BufReader<TcpStream>) -> Answer {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let status_line = line();
    let status = status_line.split(' ').nth(1).expect(&status_line);
    let status = status.parse().unwrap();
    let mut header = Vec::new();
    loop {
        let field = line();
        let Some((name, value)) = field.split_once(": ") else {
            break;
        };
        header.push((name.to_lowercase(), value.to_owned()));
    }
    Answer {
        status,
        header,
        body: Vec::new(),
    }
}

/// What happens, as it comes.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Follows what happens from now on.
    pub fn follow(server: &Server) -> Self {
        let mut tcp = talk::connect(server.http());
        write!(
            tcp,
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        .unwrap();
        Self::of(tcp)
    }

    /// Reads the answer that comes there, up to where it follows.
    pub fn of(tcp: TcpStream) -> Self {
        let mut reader = BufReader::new(tcp);
        let answer = head(&mut reader);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-type"), Some("text/event-stream"));
        let mut events = Self(reader);
        assert_eq!(events.lines(), [": following"]);
        events
    }

    /// The next event: its name and its data.
    pub fn next(&mut self) -> (String, Value) {
        let lines = self.lines();
        let field = |name: &str| {
            let found = lines.iter().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
        };
        let data = serde_json::from_str(field("data: ")).unwrap();
        (field("event: ").to_owned(), data)
    }

    /// The lines of the next event, of the chunks they come in.
    fn lines(&mut self) -> Vec<String> {
        let mut event = String::new();
        while !event.ends_with("\n\n") {
            let mut size = String::new();
            self.0.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).unwrap();
            event.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
        event.trim_end().lines().map(str::to_owned).collect()
    }
}
