//! The promise of the stores: whoever was told 250 finds the message there, whenever
//! the server is killed; and what is there is whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use shared::codec::encode_dots;
use support::mail::{Mail, mbox};
use support::{Server, TO_ANNA};
use tempfile::TempDir;
use testkit::talk::is_served;
use testkit::{Dice, scratch};

/// How often the server is killed.
const KILLS: usize = 100;

/// A message, and whether its client was told that it is kept.
type Sent = (Vec<u8>, bool);

#[test]
fn who_was_told_250_finds_an_eml_file_at_100_kills() {
    let (_dir, mail, sent) = kill("eml");
    let kept = mail.contents();
    judge("eml", &kept, &sent, 0);
    // Each has its account, and the account tells the truth.
    let accounts = mail.accounts();
    assert!(accounts.len() >= kept.len());
    for path in mail.names("eml") {
        let account = fs::read(path.with_extension("json")).unwrap();
        let account: serde_json::Value = serde_json::from_slice(&account).unwrap();
        assert_eq!(account["octets"], fs::metadata(&path).unwrap().len());
    }
}

#[test]
fn who_was_told_250_finds_a_file_in_the_maildir_at_100_kills() {
    let (_dir, mail, sent) = kill("maildir");
    judge("maildir", &mail.contents(), &sent, 0);
}

#[test]
fn who_was_told_250_finds_the_message_in_the_mbox_at_100_kills() {
    let (_dir, mail, sent) = kill("mbox");
    let messages = mbox(&fs::read(mail.place()).unwrap());
    let kept: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let content = message.splitn(5, |&octet| octet == b'\n').nth(4);
            content.unwrap_or_default().to_vec()
        })
        .collect();
    // In a single file, a kill may leave part of a message that nobody was told of.
    judge("mbox", &kept, &sent, KILLS);
}

/// Kills servers that keep mail in one place, and tells what was sent to them.
fn kill(form: &'static str) -> (TempDir, Mail, Vec<Sent>) {
    let dir = scratch();
    let mail = Mail::new(form, dir.path());
    let mut dice = Dice::new();
    let mut sent = Vec::new();
    for _ in 0..KILLS {
        let options = [mail.store(), "--spill=16K".into()];
        let options = options.each_ref().map(String::as_str);
        let mut server = Server::start(dir.path(), &options);
        let address = server.address;
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let mut dice = dice.fork();
                std::thread::spawn(move || messages(address, &mut dice))
            })
            .collect();
        // The instant is what is random here: nothing is waited for.
        std::thread::sleep(Duration::from_micros(dice.roll() % 60_000));
        server.kill();
        for client in clients {
            sent.extend(client.join().unwrap());
        }
    }
    // It goes on after all of that.
    let options = mail.store();
    let server = Server::start(dir.path(), &[&options]);
    assert!(is_served(server.address, "a@c.test", "anna@local.test"));
    sent.push((b"Subject: x\r\n\r\nx\r\n".to_vec(), true));
    (dir, mail, sent)
}

/// Sends messages one after the other until the server is gone.
fn messages(address: SocketAddr, dice: &mut Dice) -> Vec<Sent> {
    let mut sent = Vec::new();
    let _ = session(address, dice, &mut sent);
    sent
}

fn session(address: SocketAddr, dice: &mut Dice, sent: &mut Vec<Sent>) -> io::Result<()> {
    let mut tcp = TcpStream::connect(address)?;
    // Where the server is gone already, another program may have its port.
    tcp.set_read_timeout(Some(testkit::wait::LIMIT))?;
    tcp.set_nodelay(true)?;
    hear(&mut tcp, "220")?;
    say(&mut tcp, TO_ANNA[0], "250")?;
    loop {
        for (line, code) in TO_ANNA[1..].iter().zip(["250", "250", "354"]) {
            say(&mut tcp, line, code)?;
        }
        let mut content = Vec::new();
        let size = 1 << dice.below(18);
        while content.len() < size {
            content.extend_from_slice(format!("From {:x}\r\n", dice.roll()).as_bytes());
        }
        let mut wire = Vec::new();
        encode_dots(&content, &mut wire);
        sent.push((content, false));
        tcp.write_all(&wire)?;
        hear(&mut tcp, "250")?;
        sent.last_mut().unwrap().1 = true;
    }
}

fn say(tcp: &mut TcpStream, line: &str, code: &str) -> io::Result<()> {
    tcp.write_all(format!("{line}\r\n").as_bytes())?;
    hear(tcp, code)
}

/// Reads a reply, which must have that code.
fn hear(tcp: &mut TcpStream, code: &str) -> io::Result<()> {
    let mut reply = Vec::new();
    loop {
        let mut octet = [0];
        tcp.read_exact(&mut octet)?;
        reply.push(octet[0]);
        let mut lines = reply.rsplitn(3, |&octet| octet == b'\n');
        let whole = lines.next() == Some(b"");
        if whole && lines.next().unwrap().get(3) != Some(&b'-') {
            assert!(reply.starts_with(code.as_bytes()), "{reply:?}");
            return Ok(());
        }
    }
}

/// What was told is there, once; what is there was sent, and all but so many whole.
fn judge(form: &str, kept: &[Vec<u8>], sent: &[Sent], most_torn: usize) {
    let mut copies: HashMap<&[u8], usize> = sent.iter().map(|(one, _)| (&one[..], 0)).collect();
    let mut torn = 0;
    for content in kept {
        match copies.get_mut(&content[..]) {
            Some(count) => *count += 1,
            None => torn += 1,
        }
    }
    let told = sent.iter().filter(|(_, told)| *told).count();
    let untold = kept.len() - torn - told.min(kept.len() - torn);
    println!(
        "{form}: {KILLS} kills, {} messages sent, {told} told to be kept, {untold} more kept, \
         {torn} torn",
        sent.len()
    );
    for (content, told) in sent {
        let count = copies[&content[..]];
        let wanted = if *told { 1..=1 } else { 0..=1 };
        let begins = content[..content.len().min(40)].escape_ascii();
        assert!(wanted.contains(&count), "{count} of {begins}, told: {told}");
    }
    assert!(torn <= most_torn, "{torn} are not what was sent");
    assert!(told > KILLS, "hardly anything was kept");
    assert!(untold > 0, "no kill came between keeping and telling");
}
