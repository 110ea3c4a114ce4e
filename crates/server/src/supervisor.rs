//! What systemd is told about this process, by datagrams to the socket that it names in `NOTIFY_SOCKET`.
//!
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, net::SocketAddr, net::UnixDatagram},
    },
    process,
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use storage::Database;
use tokio::time::{interval, timeout};

/// How long a message may wait for room in the supervisor's queue.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// The service manager that started this process, if that was systemd.
#[derive(Clone)]
pub(crate) struct Supervisor {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names.
    pub(crate) fn from_environment() -> Self {
        Self::new(|name| env::var_os(name))
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = named.and_then(|name| match open(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
                None
            }
        });
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // It may be meant for the shell around us.
        let is_for_us = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_for_us && *usec > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// The server does its work, as the one-line `status` describes.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Supervisor::ready`] ends that.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=Reading the configuration again"));
    }

    /// The server has begun to stop.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Finishing requests in flight");
    }

    /// What it is doing before it is ready.
    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Tells, twice in the time that systemd allows, that the server is alive: that this runtime gets round to it, and that the
    /// writer answers. A database that is gone is an answer too: another start of the server would not bring it back.
    pub(crate) async fn keep_watchdog(self, database: Database) {
        let Some(allowed) = self.watchdog else { return };
        let mut ticks = interval(allowed / 2);
        loop {
            ticks.tick().await;
            match timeout(allowed / 4, database.write(async |_| Ok(()))).await {
                Ok(_) => self.send("WATCHDOG=1"),
                Err(_) => tracing::error!("the database's writer has not answered in {} ms", (allowed / 4).as_millis()),
            }
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        let (from, to) = &**socket;
        if let Err(error) = from.send_to_addr(message.as_bytes(), to) {
            tracing::warn!(%error, "the service manager could not be told how the server is doing");
        }
    }
}

/// The name is a path, or one in the abstract namespace if it begins with `@`.
fn open(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_LIMIT))?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        ffi::OsString,
        os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixDatagram},
        },
        process,
        time::Duration,
    };

    use super::Supervisor;

    fn supervisor<const N: usize>(variables: [(&str, String); N]) -> Supervisor {
        let variables = HashMap::from(variables);
        Supervisor::new(|name| variables.get(name).map(OsString::from))
    }

    #[test]
    fn a_name_with_an_at_sign_is_an_abstract_one() {
        let name = format!("synapse-rust-test-{}", process::id());
        let listening = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        listening.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        supervisor([("NOTIFY_SOCKET", format!("@{name}"))]).ready("Serving");
        let mut message = [0; 64];
        let size = listening.recv(&mut message).unwrap();
        assert_eq!(&message[..size], b"READY=1\nSTATUS=Serving");
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_our_business() {
        let watchdog = |pid: u32| {
            let variables = [("WATCHDOG_USEC", "2000000".to_owned()), ("WATCHDOG_PID", pid.to_string())];
            supervisor(variables).watchdog
        };
        assert_eq!(watchdog(process::id()), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(1), None);
        assert_eq!(supervisor([("WATCHDOG_USEC", "0".to_owned())]).watchdog, None);
        assert_eq!(supervisor([("WATCHDOG_USEC", "soon".to_owned())]).watchdog, None);
    }

    #[test]
    fn without_a_supervisor_nothing_is_said() {
        let nobody = supervisor([]);
        nobody.ready("Serving");
        nobody.stopping();
        let gone = supervisor([("NOTIFY_SOCKET", "/nowhere/notify".to_owned())]);
        gone.ready("Serving");
    }
}
