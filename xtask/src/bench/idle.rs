//! Many clients that say EHLO and then nothing: the memory they cost.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::Setting;
use super::contest::Figures;
use super::server::Server;
use crate::interrupt;

const CLIENTS: u64 = 10_000;

/// Of the sink.
pub(super) fn sink(setting: &Setting) -> Result<Figures> {
    measure(setting, &["sink"])
}

/// Of `run`, with a policy and everything.
pub(super) fn run(setting: &Setting) -> Result<Figures> {
    measure(setting, &["run", "--max-connections", "20000"])
}

fn measure(setting: &Setting, arguments: &[&str]) -> Result<Figures> {
    raise_descriptor_limit(CLIENTS + 100)?;
    let server = Server::start_ours(setting, arguments)?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        interrupt::check()?;
        clients.push(client(&server.address)?);
    }
    let peak = server.peak_mib()?;
    drop(clients);
    server.stop()?;
    Ok(Figures {
        ours: vec![peak],
        ..Figures::default()
    })
}

fn raise_descriptor_limit(wanted: u64) -> Result<()> {
    let mut limits = getrlimit(Resource::Nofile);
    if let Some(most) = limits.maximum {
        ensure!(
            most >= wanted,
            "this process may have {most} open files, and needs {wanted}"
        );
    }
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).context("asking for more open files")
}

/// Reads the greeting, says EHLO, and reads the reply.
fn client(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let mut chunk = [0; 1024];
    stream.read(&mut chunk).context("reading the greeting")?;
    stream.write_all(b"EHLO bench.test\r\n")?;
    let count = stream
        .read(&mut chunk)
        .context("reading the reply to EHLO")?;
    ensure!(chunk.starts_with(b"250") && count > 0, "EHLO was refused");
    Ok(stream)
}
