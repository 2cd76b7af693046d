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

/// Connections that may wait to be accepted by several threads at once.
const SHARED_BACKLOG: i32 = 4096;

/// Listens on an address. An IPv6 address means IPv6 alone, so that `[::]` and
/// `0.0.0.0` can be listened on side by side.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    bind(address).map_err(|error| cannot_listen(address, error))
}

/// What was tried, what came of it, and what to do.
fn cannot_listen(address: SocketAddr, error: io::Error) -> anyhow::Error {
    let port = address.port();
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another program listens there; port 0 takes a free one)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this host has it)".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!(" (port {port} needs root or CAP_NET_BIND_SERVICE)")
        }
        _ => String::new(),
    };
    anyhow::Error::new(error).context(format!("cannot listen on {address}{advice}"))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
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
    Ok(socket)
}

/// Listens on one address by several sockets, one for each thread that accepts:
/// the kernel deals the connections out among them. What they accept has Nagle's
/// algorithm off already.
pub fn listen_shared(address: SocketAddr, sockets: usize) -> Result<Vec<std::net::TcpListener>> {
    bind_shared(address, sockets).map_err(|error| cannot_listen(address, error))
}

fn bind_shared(address: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = unbound(address)?;
    // Bound before it may be shared: otherwise a second program of the same user
    // would get half of the connections, instead of an error.
    first.bind(&address.into())?;
    let bound = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..sockets {
        let socket = unbound(address)?;
        if let [first] = all.as_slice() {
            first.set_reuse_port(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        all.push(socket);
    }
    for socket in &all {
        socket.set_tcp_nodelay(true)?;
        socket.listen(SHARED_BACKLOG)?;
    }
    Ok(all.into_iter().map(Into::into).collect())
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn several_sockets_share_a_port_and_nobody_else_does() {
        let shared = listen_shared("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = shared[0].local_addr().unwrap();
        for socket in &shared {
            assert_eq!(socket.local_addr().unwrap(), address);
        }
        for sockets in [1, 2] {
            let again = listen_shared(address, sockets).unwrap_err();
            assert!(format!("{again:#}").contains("in use"), "{again:#}");
        }
    }

    #[test]
    fn why_nobody_can_listen_there_comes_with_advice_that_fits() {
        let address = "192.0.2.1:25".parse().unwrap();
        for (kind, advice) in [
            (io::ErrorKind::AddrInUse, "another program"),
            (io::ErrorKind::AddrNotAvailable, "no interface"),
            (io::ErrorKind::PermissionDenied, "port 25 needs root"),
            (io::ErrorKind::OutOfMemory, "192.0.2.1:25: out of memory"),
        ] {
            let said = format!("{:#}", cannot_listen(address, kind.into()));
            assert!(said.contains(advice), "{said}");
        }
    }

    #[test]
    fn what_is_accepted_does_not_wait_to_send() {
        let shared = listen_shared("[::1]:0".parse().unwrap(), 1).unwrap();
        shared[0].set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(shared[0].local_addr().unwrap()).unwrap();
        let (accepted, _) = shared[0].accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
