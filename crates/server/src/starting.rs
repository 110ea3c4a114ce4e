//! Answering while the server starts, where that takes long: on a database that has to be migrated first.

use std::time::Duration;

use config::{Config, Resource};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    StartError,
    listen::{Accepting, Listening},
};

/// A start of usual length: clients that connect during it wait in the system's queue and notice nothing.
const USUAL: Duration = Duration::from_secs(2);
/// How long connections have to close after they were told to come back.
const GRACE: Duration = Duration::from_secs(1);

/// Does `work`; when it takes long, the listeners of `/health` meanwhile tell that the server is alive but not ready.
pub(crate) async fn answering<T>(
    config: &Config,
    listening: &[Listening],
    work: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    answering_after(USUAL, config, listening, work).await
}

async fn answering_after<T>(
    usual: Duration,
    config: &Config,
    listening: &[Listening],
    work: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(usual, work.as_mut()).await {
        return done;
    }
    let (started, connections) = (CancellationToken::new(), TaskTracker::new());
    let _ended = started.clone().drop_guard();
    let accepting = Accepting::new(config.server.max_connections as usize, started.clone(), GRACE, connections.clone());
    for listening in listening {
        let listener = config.listeners.get(listening.listener);
        if listener.is_some_and(|listener| listener.resources.contains(&Resource::Health)) {
            accepting.spawn(listening.duplicate().map_err(StartError::Runtime)?, api::ops::starting_router());
        }
    }
    tracing::info!("starting takes long: until it is done, health checks are answered");
    let done = work.await;
    started.cancel();
    connections.close();
    connections.wait().await;
    done
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
    };

    use tokio::sync::oneshot;

    use super::{Duration, Listening, answering_after};
    use crate::listen::{InheritedSockets, ListenAddress};

    fn status(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_start_is_alive_but_not_ready_and_its_listener_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[[listeners]]\nbind = '127.0.0.1:0'\n").unwrap();
        let loaded = config::load(Some(file.path()), std::iter::empty::<(String, String)>()).unwrap();
        let listening =
            Listening::bind_all(&loaded.config, &loaded.sources, &mut InheritedSockets::none()).await.unwrap();
        let ListenAddress::Tcp(address) = listening.first().unwrap().address.clone() else {
            panic!("not a TCP socket")
        };
        let (finish, finished) = oneshot::channel();
        let work = async { Ok(finished.await.unwrap()) };
        let asking = async {
            let ask = |path: &'static str| tokio::task::spawn_blocking(move || status(address, path));
            assert_eq!(ask("/health/live").await.unwrap(), "200");
            assert_eq!(ask("/health/ready").await.unwrap(), "503");
            assert_eq!(ask("/_matrix/client/versions").await.unwrap(), "503");
            finish.send(7).unwrap();
        };
        let started = answering_after(Duration::ZERO, &loaded.config, &listening, work);
        let (started, ()) = tokio::join!(started, asking);
        assert_eq!(started.unwrap(), 7);
        // Nobody accepts any more, but a new client is still connected and waits.
        assert!(TcpStream::connect(address).is_ok());
    }
}
