//! Sockets that the service manager has opened, and hands over to the process that it starts.
//!
//! They stay open while the server restarts: a client that connects in the meantime waits, and is not refused.
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>

use std::{env, io, os::fd::AsFd};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::{TcpListener, UnixListener};

use super::socket::Socket;

/// The sockets that this process was started with. Each is taken by one listener, `bind = "systemd:NAME"`.
pub struct InheritedSockets {
    sockets: ListenFd,
    /// One for each socket. Without names from the service manager there are only numbers.
    names: Vec<Option<String>>,
    is_taken: Vec<bool>,
}

impl InheritedSockets {
    /// Of a server that listens only where it is told to.
    pub fn none() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new(), is_taken: Vec::new() }
    }

    /// The sockets that the environment names. Call it once, before there are other threads: it removes the names from the
    /// environment, so that no child process takes them for its own.
    pub fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let mut names = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned);
        let names: Vec<_> = (0..sockets.len()).map(|_| names.next()).collect();
        Self { sockets, is_taken: vec![false; names.len()], names }
    }

    /// All sockets of this name; a number names one by its place, counted from zero.
    pub(super) fn take(&mut self, name: &str) -> io::Result<Vec<Socket>> {
        let by_name = |index: &usize| self.names.get(*index).is_some_and(|of| of.as_deref() == Some(name));
        let mut wanted: Vec<_> = (0..self.names.len()).filter(by_name).collect();
        if let Ok(number) = name.parse::<usize>()
            && wanted.is_empty()
            && number < self.names.len()
        {
            wanted.push(number);
        }
        if wanted.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, self.what_there_is()));
        }
        wanted.into_iter().map(|index| self.take_one(index)).collect()
    }

    fn take_one(&mut self, index: usize) -> io::Result<Socket> {
        // Whichever of both it is not is an error, and leaves it there.
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(index) {
            self.has_taken(index);
            must_listen(&listener)?;
            listener.set_nonblocking(true)?;
            return Ok(Socket::Tcp(TcpListener::from_std(listener)?));
        }
        match self.sockets.take_unix_listener(index) {
            Ok(Some(listener)) => {
                self.has_taken(index);
                must_listen(&listener)?;
                listener.set_nonblocking(true)?;
                Ok(Socket::Unix(UnixListener::from_std(listener)?))
            }
            Ok(None) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another listener has this socket")),
            Err(_) => Err(not_a_listener()),
        }
    }

    fn has_taken(&mut self, index: usize) {
        if let Some(taken) = self.is_taken.get_mut(index) {
            *taken = true;
        }
    }

    /// The names, or else the numbers, of the sockets that no listener has taken.
    pub(crate) fn left(&self) -> Vec<String> {
        let left = self.names.iter().zip(&self.is_taken).enumerate().filter(|(_, (_, is_taken))| !**is_taken);
        left.map(|(index, (name, _))| name.clone().unwrap_or_else(|| index.to_string())).collect()
    }

    fn what_there_is(&self) -> String {
        if self.names.is_empty() {
            return "the service manager has handed over no socket".to_owned();
        }
        let names = self.names.iter().enumerate();
        let names: Vec<_> = names.map(|(index, name)| name.clone().unwrap_or_else(|| index.to_string())).collect();
        format!("the service manager has handed over only {}", names.join(", "))
    }
}

/// A socket that is a connection already (`Accept=yes`) would fail with every attempt to accept one.
fn must_listen(socket: &impl AsFd) -> io::Result<()> {
    if socket_acceptconn(socket)? { Ok(()) } else { Err(not_a_listener()) }
}

fn not_a_listener() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "expected a stream socket that listens, with Accept=no")
}

#[cfg(test)]
mod tests {
    use super::InheritedSockets;

    #[tokio::test]
    async fn a_listener_without_its_socket_says_what_there_is() {
        let error = InheritedSockets::none().take("client").err().unwrap();
        assert_eq!(error.to_string(), "the service manager has handed over no socket");
    }
}
