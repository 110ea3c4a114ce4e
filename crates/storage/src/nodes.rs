//! The servers that run on a database. Each holds a lease of its own, so that others know of it.

use homeserver_core::Timestamp;

use crate::leases::{HeldLease, Lease};
use crate::{Database, StorageError};

/// How the names of these leases begin.
const PREFIX: &str = "node ";

/// The lease by which others know that a server runs. Its holder is what the server is called.
pub struct Node(Lease);

impl Database {
    /// Tells others that this server, called `name`, runs, until `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn enter_node(&self, name: String, now: Timestamp, until: Timestamp) -> Result<Node, StorageError> {
        let lease = self.take_lease(format!("{PREFIX}{}", self.node()), name, now, until).await?;
        // No other server has its name.
        lease.map(Node).ok_or_else(|| StorageError::InUse("another server has the name of this one".to_owned()))
    }

    /// Tells others that this server still runs, until `until`, and finds out whether there are any. While there are none,
    /// writes wake no node: a server that starts looks often by itself until the others know of it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn renew_node(&self, node: &Node, now: Timestamp, until: Timestamp) -> Result<(), StorageError> {
        self.renew_lease(node.0.clone(), until).await?;
        let nodes = self.nodes(now).await?;
        self.note_other_nodes(nodes.iter().any(|other| other.name != self.node()));
        Ok(())
    }

    /// Tells others that this server runs no longer, and gives back what only one server may do.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn leave_node(&self, node: &Node) -> Result<(), StorageError> {
        self.release_lease(node.0.clone()).await?;
        self.release_leases_of(self.node().to_owned()).await
    }

    /// The servers that run on this database, this one included.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn nodes(&self, now: Timestamp) -> Result<Vec<HeldLease>, StorageError> {
        let mut nodes = self.held_leases(PREFIX, now).await?;
        for node in &mut nodes {
            node.name = node.name.split_off(PREFIX.len());
        }
        Ok(nodes)
    }

    /// Forgets servers that were last heard of before `heard_before`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn forget_old_nodes(&self, heard_before: Timestamp) -> Result<u64, StorageError> {
        self.remove_old_leases(PREFIX.to_owned(), heard_before).await
    }
}
