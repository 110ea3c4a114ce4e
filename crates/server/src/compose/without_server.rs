//! What the commands of an operator need, which run without a server or beside one.

use std::sync::Arc;

use ::accounts::{
    Accounts,
    rate_limits::RateLimits,
    registration::Registration,
    sessions::{SessionOptions, Sessions},
};
use ::rooms::RoomCheck;
use config::Config;
use homeserver_core::{Clock, SystemClock};
use storage::{Database, Interned, ServerLock};
use tasks::queue::JobQueue;

use super::{
    accounts::{password_hashing, registration_options},
    database::{cannot_open, lock, open_database},
    heavy_work, jobs,
};
use crate::{StartError, nodes};

/// Makes the check of rooms, and opens its database.
pub(crate) async fn room_check(config: &Config) -> Result<(RoomCheck, Database), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = open_database(config, clock).await?;
    let interned = Arc::new(Interned::new(database.clone()));
    Ok((RoomCheck::new(database.clone(), interned), database))
}

/// The components that change accounts for an operator.
pub(crate) struct AccountCommands {
    pub(crate) accounts: Accounts,
    pub(crate) registration: Registration,
    pub(crate) database: Database,
}

/// Makes them.
pub(crate) async fn account_commands(config: &Config) -> Result<AccountCommands, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = open_database(config, clock.clone()).await?;
    let interned = Arc::new(Interned::new(database.clone()));
    let sessions = Arc::new(Sessions::new(database.clone(), interned, clock.clone(), SessionOptions::default()));
    let (name, options) = (config.server.name.clone(), registration_options(config));
    let passwords = Some(password_hashing(config, heavy_work::password_hashing_alone(config))?);
    // A command schedules jobs; a server runs them.
    let queue = Arc::new(JobQueue::new(database.clone(), clock.clone(), jobs::options(config)));
    let rate_limits = Arc::new(RateLimits::new(database.clone(), name.clone(), |_| None));
    let accounts = Accounts::new(
        database.clone(),
        clock.clone(),
        name.clone(),
        passwords.clone(),
        sessions.clone(),
        queue,
        rate_limits,
    );
    let registration = Registration::new(database.clone(), clock, name, options, passwords, sessions);
    Ok(AccountCommands { accounts, registration, database })
}

/// Opens the database for a command that changes the server's keys, and checks that no server runs on it.
pub(crate) async fn keys(config: &Config) -> Result<(Database, ServerLock), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lock = lock(config, clock.clone()).await?;
    let database = open_database(config, clock.clone()).await?;
    nodes::check_none(&database, &*clock).await.map_err(|error| cannot_open(config, error))?;
    Ok((database, lock))
}
