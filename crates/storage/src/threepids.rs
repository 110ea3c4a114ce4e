//! Third-party identifiers of this server's users.

use homeserver_core::{Timestamp, UserSn};

use crate::{Database, StorageError, Tx, params};

/// A third-party identifier that a user has proven to be theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserThreepid {
    /// What kind of address it is: `email`.
    pub medium: String,
    /// The address in its canonical form.
    pub address: String,
    /// When the user proved that it is theirs.
    pub validated_at: Timestamp,
    /// When it became part of the account.
    pub added_at: Timestamp,
}

const OWNER: &str = "SELECT user_sn FROM user_threepids WHERE medium = $1 AND address = $2";

impl Database {
    /// A user's third-party identifiers, in the order in which they were added.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn user_threepids(&self, user_sn: UserSn) -> Result<Vec<UserThreepid>, StorageError> {
        let sql = "SELECT medium, address, validated_at, added_at FROM user_threepids WHERE user_sn = $1 \
                   ORDER BY added_at, address";
        self.query(sql, params![user_sn], |row| {
            Ok(UserThreepid {
                medium: row.get(0)?,
                address: row.get(1)?,
                validated_at: row.get(2)?,
                added_at: row.get(3)?,
            })
        })
        .await
    }

    /// Whose a third-party identifier is.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn threepid_owner(&self, medium: &str, address: &str) -> Result<Option<UserSn>, StorageError> {
        self.query_optional(OWNER, params![medium, address], |row| row.get(0)).await
    }

    /// The user ID of whose a third-party identifier is.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn threepid_owner_id(&self, medium: &str, address: &str) -> Result<Option<String>, StorageError> {
        let sql = "SELECT u.user_id FROM user_threepids t JOIN users u ON u.user_sn = t.user_sn \
                   WHERE t.medium = $1 AND t.address = $2";
        self.query_optional(sql, params![medium, address], |row| row.get(0)).await
    }

    /// Takes a third-party identifier from a user. Returns whether they had it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_threepid(
        &self,
        user_sn: UserSn,
        medium: String,
        address: String,
    ) -> Result<bool, StorageError> {
        let sql = "DELETE FROM user_threepids WHERE user_sn = $1 AND medium = $2 AND address = $3";
        self.write(async move |tx| Ok(tx.execute(sql, params![user_sn, &medium, &address]).await? > 0)).await
    }
}

impl Tx {
    /// Whose a third-party identifier is.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn threepid_owner(&mut self, medium: &str, address: &str) -> Result<Option<UserSn>, StorageError> {
        self.query_optional(OWNER, params![medium, address], |row| row.get(0)).await
    }

    /// Gives a third-party identifier to a user; if the user has it already, it counts as proven again. Returns whether it is
    /// the user's: an identifier of another user is not taken away.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn add_threepid(&mut self, user_sn: UserSn, threepid: &UserThreepid) -> Result<bool, StorageError> {
        let sql = "INSERT INTO user_threepids (medium, address, user_sn, validated_at, added_at) \
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (medium, address) \
                   DO UPDATE SET validated_at = excluded.validated_at WHERE user_threepids.user_sn = excluded.user_sn";
        let UserThreepid { medium, address, validated_at, added_at } = threepid;
        Ok(self.execute(sql, params![medium, address, user_sn, *validated_at, *added_at]).await? > 0)
    }

    /// Takes all third-party identifiers from a user.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub(crate) async fn delete_threepids(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        self.execute("DELETE FROM user_threepids WHERE user_sn = $1", params![user_sn]).await.map(drop)
    }
}
