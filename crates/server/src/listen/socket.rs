//! TCP and unix sockets, and their connections.

use std::{fmt, io, net::SocketAddr, os::fd::AsFd as _};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::either::Either;

/// A connection. One type serves both kinds, so that the code for connections is compiled once.
pub(super) type Accepted = Either<TcpStream, UnixStream>;

/// The address of the other end. A unix socket has none: behind it is a proxy, which sends the client's address.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("a unix socket"),
        }
    }
}

/// A socket whose connections wait in the system's queue until somebody accepts them.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Where a socket is.
#[derive(Clone)]
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    /// The path, or what else is known of it.
    Unix(String),
}

impl Socket {
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.display().to_string());
                Ok(ListenAddress::Unix(path.unwrap_or_else(|| "(without a path)".to_owned())))
            }
        }
    }

    pub(super) fn duplicate(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener.as_fd().try_clone_to_owned()?.into())?),
            Self::Unix(listener) => Self::Unix(UnixListener::from_std(listener.as_fd().try_clone_to_owned()?.into())?),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Either::Left(stream), Peer(Some(address))))
            }
            Self::Unix(listener) => Ok((Either::Right(listener.accept().await?.0), Peer(None))),
        }
    }

    /// The connections that the system has made already. It is asked itself, because the runtime may not know of them yet.
    pub(super) fn into_waiting(self) -> io::Result<Waiting> {
        Ok(match self {
            Self::Tcp(listener) => Waiting::Tcp(listener.into_std()?),
            Self::Unix(listener) => Waiting::Unix(listener.into_std()?),
        })
    }
}

/// A socket that waits for nobody any more.
pub(super) enum Waiting {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Waiting {
    /// The next connection, if there is one: otherwise the error is [`io::ErrorKind::WouldBlock`].
    pub(super) fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Either::Left(TcpStream::from_std(stream)?), Peer(Some(address))))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Either::Right(UnixStream::from_std(stream)?), Peer(None)))
            }
        }
    }
}

/// Without it an answer that is written in two parts waits for the client's acknowledgement of the first.
pub(super) fn send_at_once(stream: &Accepted) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.set_nodelay(true),
        Either::Right(_) => Ok(()),
    }
}

/// Looks at what was received while it stays in the system's buffer; waits until there is something.
pub(super) async fn peek(stream: &Accepted, into: &mut [u8]) -> io::Result<usize> {
    match stream {
        Either::Left(stream) => stream.peek(into).await,
        Either::Right(stream) => {
            let peek = || Ok(recv(stream, &mut *into, RecvFlags::PEEK)?.0);
            stream.async_io(Interest::READABLE, peek).await
        }
    }
}
