//! Whether the server of a configuration does its work, for containers and scripts.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use config::{Bind, Config, Listener, Resource};
use http::{Request, StatusCode, header::HOST};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{CommandResult, load, print};
use crate::runtime;

/// More than the server takes to find out that its database does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Whether it can serve now; servers that do not tell that apart know only the second.
const PATHS: [&str; 2] = ["/health/ready", "/health"];

pub(super) fn run(file: Option<PathBuf>) -> CommandResult {
    let config = load(file.as_ref())?.config;
    let bind = listener(&config).ok_or(
        "no listener can be asked: it takes one without TLS, with the resource \"health\", and with an address or a unix socket",
    )?;
    let answered = runtime::build(1)?.block_on(async { timeout(ANSWER_LIMIT, ask(&bind)).await });
    let status = answered.map_err(|_| format!("{bind} has not answered in {} s", ANSWER_LIMIT.as_secs()))?;
    match status.map_err(|error| format!("{bind} does not answer: {error}"))? {
        StatusCode::OK => print("The server is healthy.\n"),
        status => Err(format!("{bind} answers {status}").into()),
    }
}

/// The first listener that can be asked from here without anything else than its configuration.
fn listener(config: &Config) -> Option<Bind> {
    let is_plain = |listener: &&Listener| listener.tls.is_none() && listener.resources.contains(&Resource::Health);
    config.listeners.iter().filter(is_plain).find_map(|listener| match &listener.bind {
        Bind::Tcp(address) if address.port() != 0 => Some(Bind::Tcp(reachable(*address))),
        Bind::Unix(path) => Some(Bind::Unix(path.clone())),
        Bind::Tcp(_) | Bind::Systemd(_) => None,
    })
}

/// The address of this machine, where a listener is on all of them.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(bind: &Bind) -> io::Result<StatusCode> {
    let mut status = StatusCode::NOT_FOUND;
    for path in PATHS {
        status = match bind {
            Bind::Tcp(address) => get(path, TcpStream::connect(address).await?).await?,
            Bind::Unix(socket) => get(path, UnixStream::connect(socket).await?).await?,
            Bind::Systemd(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        if status != StatusCode::NOT_FOUND {
            break;
        }
    }
    Ok(status)
}

async fn get(path: &str, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<StatusCode> {
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let asked = tokio::select! {
        answer = sender.send_request(request) => answer,
        ended = connection => return Err(ended.map_or_else(io::Error::other, |()| io::ErrorKind::UnexpectedEof.into())),
    };
    Ok(asked.map_err(io::Error::other)?.status())
}

#[cfg(test)]
mod tests {
    use super::listener;

    #[test]
    fn the_first_listener_that_can_be_asked_is() {
        for (listeners, expected) in [
            ("[{ bind = '0.0.0.0:8008' }]", Some("127.0.0.1:8008")),
            ("[{ bind = '[::]:8008' }]", Some("[::1]:8008")),
            ("[{ bind = '127.0.0.1:0' }, { bind = 'systemd:a' }, { bind = 'unix:/a' }]", Some("unix:/a")),
            ("[{ bind = '127.0.0.1:1', resources = ['client'] }]", None),
            ("[{ bind = '127.0.0.1:1', tls = { certificate = 'a', private_key = 'b' } }]", None),
        ] {
            let config = config::load(None, [("SYNAPSE_RUST__LISTENERS", listeners)]).unwrap().config;
            assert_eq!(listener(&config).map(|bind| bind.to_string()).as_deref(), expected, "{listeners}");
        }
    }
}
