//! A client's side of a dialogue.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::LIMIT;

/// A connection whose reads and writes do not wait for ever.
pub fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    tcp.set_write_timeout(Some(LIMIT)).unwrap();
    tcp
}

/// Reads until the lines that came so far end a reply, and returns it.
pub fn reply(tcp: &mut impl Read) -> String {
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
pub fn say(tcp: &mut (impl Read + Write), line: &str) -> String {
    tcp.write_all(line.as_bytes()).unwrap();
    reply(tcp)
}

/// Everything that still comes, and whether it ended in order.
pub fn drain(tcp: &mut impl Read) -> (Vec<u8>, std::io::Result<()>) {
    let mut rest = Vec::new();
    let end = tcp.read_to_end(&mut rest).map(drop);
    (rest, end)
}

/// A whole session: true if all went well.
pub fn is_served(address: SocketAddr, sender: &str, recipient: &str) -> bool {
    let mut tcp = connect(address);
    reply(&mut tcp).starts_with("220")
        && say(&mut tcp, "EHLO client.test\r\n").starts_with("250")
        && say(&mut tcp, &format!("MAIL FROM:<{sender}>\r\n")).starts_with("250")
        && say(&mut tcp, &format!("RCPT TO:<{recipient}>\r\n")).starts_with("250")
        && say(&mut tcp, "DATA\r\n").starts_with("354")
        && say(&mut tcp, "Subject: x\r\n\r\nx\r\n.\r\n").starts_with("250")
        && say(&mut tcp, "QUIT\r\n").starts_with("221")
}
