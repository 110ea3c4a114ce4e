//! Telling other servers on the same database that this one runs.

use std::{sync::Arc, time::Duration};

use homeserver_core::Clock;
use storage::{Database, Engine, Node, StorageError};
use tasks::{loops::Loops, queue::node_name};

/// How often it is said, and how long it is believed.
const SAID_EVERY: Duration = Duration::from_secs(5);
const BELIEVED_FOR: Duration = Duration::from_secs(30);

/// This server, as others see it.
pub(crate) struct ThisNode {
    database: Database,
    node: Arc<Node>,
}

impl ThisNode {
    /// Tells others, in one of the server's `loops`. On SQLite there are none.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be written.
    pub(crate) async fn enter(
        database: &Database,
        clock: Arc<dyn Clock>,
        loops: &Loops,
    ) -> Result<Option<Self>, StorageError> {
        if database.engine() == Engine::Sqlite {
            return Ok(None);
        }
        let now = clock.now();
        let others = database.nodes(now).await?;
        let node = Arc::new(database.enter_node(node_name(), now, now.plus(BELIEVED_FOR)).await?);
        if !others.is_empty() {
            let names: Vec<_> = others.into_iter().map(|node| node.holder).collect();
            tracing::info!(others = names.join(", "), "other servers run on this database");
        }
        let renewed = (database.clone(), node.clone());
        loops.spawn("node", move || {
            let (clock, (database, node)) = (clock.clone(), renewed.clone());
            async move {
                loop {
                    let now = clock.now();
                    if let Err(error) = database.renew_node(&node, now, now.plus(BELIEVED_FOR)).await {
                        tracing::debug!(%error, "other servers were not told that this one runs");
                    }
                    tokio::time::sleep(SAID_EVERY).await;
                }
            }
        });
        Ok(Some(Self { database: database.clone(), node }))
    }

    /// Tells others that it runs no longer. Its clients go to them.
    pub(crate) async fn leave(&self) {
        let left = async {
            self.database.end_presence_claims().await?;
            self.database.leave_node(&self.node).await
        };
        if let Err(error) = left.await {
            tracing::warn!(%error, "other servers were not told that this one stops");
        }
    }
}

/// Checks that no server runs on the database.
///
/// # Errors
/// [`StorageError::InUse`] if one does.
pub(crate) async fn check_none(database: &Database, clock: &dyn Clock) -> Result<(), StorageError> {
    let nodes = database.nodes(clock.now()).await?;
    if nodes.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = nodes.into_iter().map(|node| node.holder).collect();
    Err(StorageError::InUse(format!(
        "{} runs on it: stop all servers first. One that was killed is forgotten after {} s",
        names.join(", "),
        BELIEVED_FOR.as_secs()
    )))
}
