//! Opening a database.

use std::sync::Arc;

use homeserver_core::Position;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Inner, OpenDatabase, POSITION};
use crate::dialect::Dialect;
use crate::domain::Domain;
use crate::log::publisher::Publisher;
use crate::log::{Writing, following};
use crate::observing::{DatabaseObserver, Watch};
use crate::options::{DatabaseOptions, Target};
use crate::postgres_readers::PostgresReaders;
use crate::readers::{ReadConnections, Readers};
use crate::sqlite::{self, SqliteReaders};
use crate::writer::{QUEUE_LENGTH, Writer, WriterSource};
use crate::{Engine, StorageError, migrations, postgres};

/// Letters of the name of a process that has opened the database.
const NODE_LENGTH: usize = 12;

/// What kind of process opens a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opener {
    /// A server, which keeps in memory what the log tells. It follows the log for as long as the database is open.
    Server,
    /// A command beside it.
    Command,
}

impl<D: Domain> OpenDatabase<D> {
    /// Opens the database, creates or migrates its schema, and warms its connections. Tells `observer` what happens.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be reached, or its schema is newer than this program.
    pub async fn open(
        domain: D,
        options: &DatabaseOptions,
        observer: Option<Arc<dyn DatabaseObserver>>,
        opener: Opener,
    ) -> Result<Self, StorageError> {
        let watch = Arc::new(Watch::new(observer));
        let (connections, mut source, engine) = connect(options, &watch).await?;
        let dialect = Arc::new(Dialect::new(engine, watch.clone()));
        migrations::migrate(&mut source, D::SCHEMA, &dialect).await?;

        let readers = Arc::new(Readers { connections, dialect: dialect.clone(), watch: watch.clone() });
        let end = readers.query(POSITION, &[], |row| row.get(0)).await?.into_iter().next().unwrap_or(Position::START);
        let node: Arc<str> = homeserver_core::random_string(NODE_LENGTH).into();
        let is_server = opener == Opener::Server;
        // Beside the server of a SQLite database there are only commands, and those do not follow.
        let writing = match engine {
            Engine::Sqlite if is_server => Writing::Nothing,
            _ => Writing::Down,
        };
        let publisher = Arc::new(Publisher::new(&readers, node, writing, end, is_server));
        let closing = CancellationToken::new();
        if is_server {
            tokio::spawn(following::follow(publisher.clone(), source.listen_at(), closing.clone()));
        }
        let (writes, queue) = mpsc::channel(QUEUE_LENGTH);
        let runtime = tokio::runtime::Handle::current();
        let writer = Writer { domain, source, dialect, publisher: publisher.clone(), watch, runtime };
        let thread = std::thread::Builder::new()
            .name("synapse-writer".to_owned())
            .spawn({
                let closing = closing.clone();
                move || writer.serve_or_abort(queue, &closing)
            })
            .map_err(|error| StorageError::Unavailable(format!("cannot start the writer's thread: {error}")))?;
        let inner = Inner {
            readers,
            memory: options.memory.clone(),
            writes: RwLock::new(Some(writes)),
            publisher,
            closing,
            under_way: Arc::new(()),
            writer: Mutex::new(Some(thread)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

async fn connect(
    options: &DatabaseOptions,
    watch: &Arc<Watch>,
) -> Result<(ReadConnections, WriterSource, Engine), StorageError> {
    Ok(match options.target()? {
        Target::Sqlite(path) => {
            let source = WriterSource::Sqlite(Some(sqlite::connect_writer(&path, options)?));
            let readers = SqliteReaders::open(&path, options, watch.clone())?;
            (ReadConnections::Sqlite(readers), source, Engine::Sqlite)
        }
        Target::Postgres(target) => {
            let pool = postgres::connect(*target, options).await?;
            let readers = PostgresReaders::new(pool.clone());
            (ReadConnections::Postgres(readers), WriterSource::Postgres(pool), Engine::Postgres)
        }
    })
}
