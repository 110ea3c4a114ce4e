//! What only one node at a time may do.
//!
//! A lease has a name, a holder, and a time until which it is held. The holder renews it; when the time has passed anybody may take
//! it. Each time it changes hands its *epoch* grows. A holder that was suspended may believe that it still has the lease, so whatever
//! it writes as the holder goes through [`Tx::require_lease`], in the same transaction: this is refused under another epoch, and
//! keeps others from taking the lease before the commit.
//!
//! Times are those of the nodes' clocks, which must agree but for a few seconds. Clocks that differ by more only make a lease change
//! hands too early or too late; what is written under it stays right.

use homeserver_core::Timestamp;

use crate::{Database, StorageError, Tx, params};

/// A lease that a node holds, or held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The name of the duty.
    pub name: String,
    /// The node that holds it.
    pub holder: String,
    /// Tells it from the leases of the same name before and after.
    pub epoch: i64,
}

/// A lease that is held, as other nodes see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldLease {
    /// The name of the duty.
    pub name: String,
    /// The node that holds it.
    pub holder: String,
    /// Until when, if it is not renewed.
    pub held_until: Timestamp,
}

const TAKE: &str = "INSERT INTO leases (name, holder, epoch, held_until) VALUES ($1, $2, 1, $4) ON CONFLICT (name) DO UPDATE \
                    SET epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END, \
                    holder = excluded.holder, held_until = excluded.held_until \
                    WHERE leases.held_until <= $3 OR leases.holder = excluded.holder RETURNING epoch";
const RENEW: &str = "UPDATE leases SET held_until = $4 WHERE name = $1 AND holder = $2 AND epoch = $3";
/// The row stays, and with it the epoch.
const RELEASE: &str = "UPDATE leases SET held_until = 0 WHERE name = $1 AND holder = $2 AND epoch = $3";
const REQUIRE: &str = "SELECT 1 FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3 FOR_UPDATE";

impl Database {
    /// Takes a lease until `until`, unless another holder has it. The holder itself keeps it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn take_lease(
        &self,
        name: String,
        holder: String,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StorageError> {
        self.write(async move |tx| {
            let epoch = tx.query_optional(TAKE, params![&name, &holder, now, until], |row| row.get(0)).await?;
            Ok(epoch.map(|epoch| Lease { name: name.clone(), holder: holder.clone(), epoch }))
        })
        .await
    }

    /// Holds on to a lease until `until`. Returns whether it was still held: it is, if it ran out but no other
    /// holder has taken it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn renew_lease(&self, lease: Lease, until: Timestamp) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            let Lease { name, holder, epoch } = &lease;
            Ok(tx.execute(RENEW, params![name, holder, *epoch, until]).await? > 0)
        })
        .await
    }

    /// Gives a lease back, so that others need not wait until it runs out.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), StorageError> {
        self.write(async move |tx| {
            let Lease { name, holder, epoch } = &lease;
            tx.execute(RELEASE, params![name, holder, *epoch]).await.map(drop)
        })
        .await
    }

    /// Gives all leases of a holder back.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn release_leases_of(&self, holder: String) -> Result<(), StorageError> {
        let sql = "UPDATE leases SET held_until = 0 WHERE holder = $1 AND held_until > 0";
        self.write(async move |tx| tx.execute(sql, params![&holder]).await.map(drop)).await
    }

    /// The leases that are held at `now` and whose names begin with `prefix`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn held_leases(&self, prefix: &str, now: Timestamp) -> Result<Vec<HeldLease>, StorageError> {
        let sql = "SELECT name, holder, held_until FROM leases WHERE held_until > $1 ORDER BY name";
        let read =
            |row: &crate::Row<'_>| Ok(HeldLease { name: row.get(0)?, holder: row.get(1)?, held_until: row.get(2)? });
        let mut held = self.query(sql, params![now], read).await?;
        held.retain(|lease| lease.name.starts_with(prefix));
        Ok(held)
    }

    /// Removes leases that were last held before `held_before`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_old_leases(&self, prefix: String, held_before: Timestamp) -> Result<u64, StorageError> {
        let find = "SELECT name, held_until FROM leases WHERE held_until < $1";
        let remove = "DELETE FROM leases WHERE name IN LIST($1) AND held_until < $2";
        let mut old: Vec<String> = self.query(find, params![held_before], |row| row.get(0)).await?;
        old.retain(|name| name.starts_with(&prefix));
        if old.is_empty() {
            return Ok(0);
        }
        self.write(async move |tx| tx.execute(remove, params![&old, held_before]).await).await
    }
}

impl Tx {
    /// Goes on only if the lease is held, and keeps others from taking it until the commit.
    ///
    /// # Errors
    /// [`StorageError::LeaseLost`] if another holder has taken it.
    pub async fn require_lease(&mut self, lease: &Lease) -> Result<(), StorageError> {
        let Lease { name, holder, epoch } = lease;
        let held = self.query_optional(REQUIRE, params![name, holder, *epoch], |_| Ok(())).await?;
        held.ok_or_else(|| StorageError::LeaseLost(name.clone()))
    }
}
