//! The receipts that other servers are told of.

use homeserver_core::Position;

use super::{Receipt, read_receipt};
use crate::{Database, StorageError, params};

impl Database {
    /// The newest `limit` receipts that other servers are told of, of users with an account here, in these rooms after `after` and up to
    /// `until`; the oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn own_receipts(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Receipt>, StorageError> {
        let sql = receipt_query!(
            "(SELECT x.* FROM receipts x WHERE x.room_sn IN LIST($1) AND x.position > $2 AND x.position <= $3 \
             AND x.receipt_type = 1 AND EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = x.user_sn) \
             ORDER BY x.position DESC LIMIT $4)",
            "ORDER BY r.position"
        );
        self.query(sql, params![rooms, after, until, limit], read_receipt).await
    }
}
