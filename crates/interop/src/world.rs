//! The two servers.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use tempfile::TempDir;

use crate::authority;
use crate::person::Person;
use crate::process::Server;
use crate::{own_server, synapse};

/// Both servers, running.
pub(crate) struct World {
    /// This server.
    pub(crate) own: Server,
    /// Synapse.
    pub(crate) synapse: Server,
    people: AtomicU32,
    folder: TempDir,
}

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Own,
    Synapse,
}

impl Side {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Own => Self::Synapse,
            Self::Synapse => Self::Own,
        }
    }
}

impl World {
    /// Starts both.
    pub(crate) async fn start(program: &Path, python: &Path, database: Option<&str>) -> Result<Self> {
        let folder = TempDir::new()?;
        let tls = authority::make(folder.path())?;
        let (own_folder, synapse_folder) = (folder.path().join("own"), folder.path().join("synapse"));
        for folder in [&own_folder, &synapse_folder] {
            std::fs::create_dir(folder)?;
        }
        let [one, two, three, four] = free_ports()?;
        let own = own_server::prepare(program, &own_folder, &tls, (one, two), database)?;
        let synapse = synapse::prepare(python, &synapse_folder, &tls, (three, four))?;
        let mut world = Self { own, synapse, people: AtomicU32::new(0), folder };
        world.own.start().await?;
        world.synapse.start().await?;
        Ok(world)
    }

    /// Stops both.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.own.stop().await?;
        self.synapse.stop().await
    }

    /// Leaves the logs and databases of both servers where they are, and returns that folder.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// One of the servers.
    pub(crate) const fn server(&mut self, side: Side) -> &mut Server {
        match side {
            Side::Own => &mut self.own,
            Side::Synapse => &mut self.synapse,
        }
    }

    /// Somebody new on a server.
    pub(crate) async fn person(&self, side: Side) -> Result<Person> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let server = match side {
            Side::Own => &self.own,
            Side::Synapse => &self.synapse,
        };
        Person::register(&server.url, &server.name, &format!("person{number}")).await
    }

    /// Somebody new on this side, and somebody on the other.
    pub(crate) async fn pair(&self, side: Side) -> Result<(Person, Person)> {
        Ok((self.person(side).await?, self.person(side.other()).await?))
    }
}

/// Ports that nobody uses at the moment.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held at the same time, so that no two are the same.
    let listeners = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
