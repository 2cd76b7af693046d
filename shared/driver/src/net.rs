//! Binding, connecting, and entering another network namespace.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on an address. An IPv6 address means IPv6 alone, so that `[::]` and
/// `0.0.0.0` can be listened on side by side.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    bind(address).with_context(|| match address.port() {
        port @ 1..1024 => format!(
            "cannot listen on {address} (port {port} needs root or CAP_NET_BIND_SERVICE; \
             port 0 takes a free one)"
        ),
        _ => format!("cannot listen on {address} (port 0 takes a free one)"),
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects, from a source address if one is given, within a time limit.
pub async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    match tokio::time::timeout(limit, socket.connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", limit.as_secs_f32()),
        )),
    }
}

/// Moves this thread into a network namespace: by the name `ip netns` gave it, by
/// the number of a process in it, or by a path.
///
/// Call it before any other thread exists: threads made later inherit it.
pub fn enter_namespace(name: &str) -> Result<()> {
    let path = if name.contains('/') {
        name.to_owned()
    } else if name.bytes().all(|octet| octet.is_ascii_digit()) {
        format!("/proc/{name}/ns/net")
    } else {
        format!("/run/netns/{name}")
    };
    let file = File::open(Path::new(&path))
        .with_context(|| format!("no network namespace '{name}' (tried {path})"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter the network namespace '{name}' (needs root)"))
}

/// Makes the close of a connection a reset, to pass on that the other one was.
pub fn reset_on_close(tcp: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO))
}
