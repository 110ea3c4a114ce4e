//! A relay in front of PostgreSQL that can be cut, so that the database is gone for one server alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// How the relay treats what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// It passes everything on.
    Open,
    /// Connections are refused, and those there were are closed.
    Cut,
    /// Connections stay, but nothing is passed on: a network that swallows packets.
    Silent,
    /// What comes from the database is swallowed, and the connection closed with the first answer to a COMMIT.
    CutBeforeAnswerToCommit,
}

pub(crate) struct Relay {
    url: Url,
    address: SocketAddr,
    line: watch::Sender<Line>,
    commits: Arc<AtomicU64>,
    accepting: Option<JoinHandle<()>>,
    database: String,
}

impl Relay {
    /// A relay to the database at `url`.
    pub(crate) async fn new(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let database = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        url.set_port(Some(address.port())).unwrap();
        let mut relay = Self {
            url,
            address,
            line: watch::Sender::new(Line::Open),
            commits: Arc::default(),
            accepting: None,
            database,
        };
        relay.accept(listener);
        relay
    }

    /// The database's URL by way of the relay.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// How many answers to a COMMIT did not get through.
    pub(crate) fn swallowed_commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Sets the state of the line.
    pub(crate) async fn set(&mut self, line: Line) {
        self.line.send_replace(line);
        if line == Line::Cut {
            if let Some(accepting) = self.accepting.take() {
                accepting.abort();
                // Its listener is closed when it has ended.
                let _ = accepting.await;
            }
        } else if self.accepting.is_none() {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.accept(listener);
        }
    }

    fn accept(&mut self, listener: TcpListener) {
        let (database, line, commits) = (self.database.clone(), self.line.clone(), self.commits.clone());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, database.clone(), line.subscribe(), commits.clone()));
            }
        }));
    }
}

async fn relay(client: TcpStream, database: String, line: watch::Receiver<Line>, commits: Arc<AtomicU64>) {
    let Ok(database) = TcpStream::connect(database).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_database, to_database) = database.into_split();
    // Either direction's end closes both.
    tokio::select! {
        () = requests(from_client, to_database, line.clone()) => {}
        () = answers(from_database, to_client, line, commits) => {}
    }
}

/// Waits while the line is silent; `false` once it is cut.
async fn passes(line: &mut watch::Receiver<Line>) -> bool {
    let line = line.wait_for(|line| *line != Line::Silent).await;
    line.is_ok_and(|line| *line != Line::Cut)
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut cut = line.clone();
        let length = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = cut.wait_for(|line| *line == Line::Cut) => return,
        };
        if length == 0 || !passes(&mut line).await || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    commits: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut cut = line.clone();
        let length = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = cut.wait_for(|line| *line == Line::Cut) => return,
        };
        let answer = &buffer[..length];
        // The tag of a CommandComplete message.
        let is_commit = answer.windows(7).any(|window| window == b"COMMIT\0");
        if is_commit && *line.borrow() == Line::CutBeforeAnswerToCommit {
            commits.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if length == 0 || !passes(&mut line).await || to.write_all(answer).await.is_err() {
            return;
        }
    }
}
