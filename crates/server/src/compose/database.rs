use std::sync::Arc;

use config::Config;
use homeserver_core::{Clock, MemoryBudget};
use storage::{Database, DatabaseOptions, ServerLock, StorageError};

use super::foundation::configure_memory;
use crate::{StartError, identity};

/// Takes the right to run a server on the configured database.
pub(crate) async fn lock(config: &Config, clock: Arc<dyn Clock>) -> Result<ServerLock, StartError> {
    ServerLock::take(&database_options(config, clock)).await.map_err(|error| cannot_open(config, error))
}

/// Opens the database for a command.
pub(super) async fn open_database(config: &Config, clock: Arc<dyn Clock>) -> Result<Database, StartError> {
    let database = Database::open(&database_options(config, clock)).await;
    let database = database.map_err(|error| cannot_open(config, error))?;
    identity::check_name(config, &database).await?;
    Ok(database)
}

/// The database of the configuration. `clock` measures the age of cache entries.
pub(super) fn database_options(config: &Config, clock: Arc<dyn Clock>) -> DatabaseOptions {
    let pool = config.pool();
    let memory = MemoryBudget::new(config.caches.memory_budget.bytes(), clock);
    configure_memory(&memory, config);
    DatabaseOptions {
        url: config.database_url().reveal().to_owned(),
        min_connections: pool.min_connections,
        max_connections: pool.max_connections,
        connect_timeout: pool.connect_timeout,
        idle_timeout: pool.idle_timeout,
        max_lifetime: pool.max_lifetime,
        memory,
        synchronous: match config.database.synchronous {
            config::Synchronous::Full => storage::Synchronous::Full,
            config::Synchronous::Normal => storage::Synchronous::Normal,
        },
    }
}

pub(super) fn cannot_open(config: &Config, error: StorageError) -> StartError {
    StartError::Database { url: config.database_url(), error }
}
