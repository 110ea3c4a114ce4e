//! Tells other servers on the same database that this one runs, and counts them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use homeserver_core::Clock;
use storage::{Database, Engine, Node, StorageError};
use tasks::{loops::Loops, queue::node_name};
use tokio::sync::watch;

/// How often a server says that it runs, and how long others believe it.
const SAID_EVERY: Duration = Duration::from_secs(5);
const BELIEVED_FOR: Duration = Duration::from_secs(30);

/// This server, as others see it.
pub(crate) struct ThisNode {
    database: Database,
    node: Arc<Node>,
    count: watch::Receiver<NodeCount>,
}

/// How many servers run on the database, this one included.
pub(crate) type NodeCount = NonZeroU32;

impl ThisNode {
    /// Tells others that this server runs, again and again in one of its `loops`. `None` on SQLite, where a server is alone.
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
        let (counted, count) = watch::channel(NodeCount::MIN.saturating_add(at_most(others.len())));
        if !others.is_empty() {
            let names: Vec<_> = others.into_iter().map(|node| node.holder).collect();
            tracing::info!(others = names.join(", "), "other servers run on this database");
        }
        let (renewed, counted) = ((database.clone(), node.clone()), Arc::new(counted));
        loops.spawn("node", move || {
            let (clock, (database, node), counted) = (clock.clone(), renewed.clone(), counted.clone());
            async move {
                loop {
                    if let Err(error) = renew(&database, &node, clock.as_ref(), &counted).await {
                        tracing::debug!(%error, "other servers were not told that this one runs");
                    }
                    tokio::time::sleep(SAID_EVERY).await;
                }
            }
        });
        Ok(Some(Self { database: database.clone(), node, count }))
    }

    /// How many servers run on the database. A server that was killed is counted until nobody believes any longer that it runs.
    pub(crate) fn count(&self) -> watch::Receiver<NodeCount> {
        self.count.clone()
    }

    /// Tells others that this server runs no longer.
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

async fn renew(
    database: &Database,
    node: &Node,
    clock: &dyn Clock,
    counted: &watch::Sender<NodeCount>,
) -> Result<(), StorageError> {
    let now = clock.now();
    database.renew_node(node, now, now.plus(BELIEVED_FOR)).await?;
    let count = NodeCount::new(at_most(database.nodes(now).await?.len())).unwrap_or(NodeCount::MIN);
    counted.send_if_modified(|known| std::mem::replace(known, count) != count);
    Ok(())
}

fn at_most(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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
