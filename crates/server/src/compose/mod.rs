//! The composition root: every component is made here, one after the other, and given exactly what it needs.
//!
//! Each domain has a file, which makes its components and applies a new configuration to them. To add a component, make it in the file of
//! its domain; if handlers use it, declare it in the list of that domain in `api::state`.

mod accounts;
mod application;
mod database;
mod email;
mod encryption;
mod federation;
mod foundation;
mod heavy_work;
mod jobs;
mod log;
mod media;
mod observing;
mod operations;
mod rate_limits;
mod replication;
mod rooms;
mod sync;
mod without_server;

use std::sync::Arc;

use api::{ApiState, Components};
use config::Config;
use homeserver_core::Clock;
use storage::ServerLock;
use tokio_util::sync::CancellationToken;

pub(crate) use self::application::Application;
use self::{
    accounts::AccountsParts, federation::FederationParts, foundation::Foundation, log::LogParts, media::MediaParts,
    operations::OperationsParts, rooms::RoomsParts,
};
pub(crate) use self::{
    database::lock,
    email::Email,
    without_server::{AccountCommands, account_commands, keys, room_check},
};
use crate::StartError;

/// What the components are made of.
pub(crate) struct Needs<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clock: Arc<dyn Clock>,
    /// The right to run on the database.
    pub(crate) lock: ServerLock,
    /// Cancelled when the server stops: requests that wait for something to happen then answer at once.
    pub(crate) stopping: CancellationToken,
}

/// Makes every component.
pub(crate) async fn compose(needs: Needs<'_>) -> Result<Application, StartError> {
    let Needs { config, clock, lock, stopping } = needs;
    let foundation = Foundation::new(config, clock, stopping).await?;
    let federation = FederationParts::new(config, &foundation)?;
    // Before everything else that follows the log: a reader of the newer parts finds what these have in memory.
    let log = LogParts::follow(config, &foundation).await?;
    let accounts = AccountsParts::new(config, &foundation)?;
    let rooms = RoomsParts::new(config, &foundation, &log, &accounts);
    let media = MediaParts::new(config, &foundation, &federation);
    let encryption = encryption::components(&foundation, &log, &federation);
    let sync = sync::components(config, &foundation, &log, &encryption).await?;
    let replication = replication::components(config, &foundation, &rooms, &federation, (&log, &sync, &encryption))?;
    let operations = OperationsParts::new(config, &foundation, &log);
    jobs::start(config, &foundation, &accounts, &rooms, &media, (&federation, &replication.receiving)).await?;
    let state = ApiState::new(Components {
        operations: operations.components.clone(),
        accounts: accounts.components.clone(),
        encryption,
        rooms: rooms.components.clone(),
        sync,
        media: media.components.clone(),
        federation: federation.components.clone(),
        replication: replication.clone(),
    });
    let is_federated = config.federation.enabled;
    Ok(Application { state, foundation, operations, log, accounts, rooms, media, federation, is_federated, lock })
}
