//! Whom a search of the user directory looks at.

use homeserver_core::{RoomSn, UserSn};

use crate::{Database, StorageError, params};

/// A user, as the directory shows them.
#[derive(Clone, Debug)]
pub struct UserListing {
    /// The user.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: String,
    /// The profile's `displayname`, a JSON text.
    pub display_name: Option<String>,
    /// The profile's `avatar_url`, a JSON text.
    pub avatar_url: Option<String>,
}

/// Selects from `$from`, which calls the users `u` and ends in a WHERE clause, the users with `$1` in the ID or the display name,
/// and users whose display name has other characters than ASCII's.
macro_rules! listing_query {
    ($from:literal) => {
        concat!(
            "SELECT u.user_sn, u.user_id, n.value, p.value FROM ",
            $from,
            " AND (LOWER(u.user_id) LIKE $1 ESCAPE '!' OR LOWER(n.value) LIKE $1 ESCAPE '!' ",
            "OR OCTET_LENGTH(n.value) <> LENGTH(n.value)) AND a.deactivated_at IS NULL"
        )
    };
}

fn read_listing(row: &crate::Row<'_>) -> Result<UserListing, StorageError> {
    Ok(UserListing { user_sn: row.get(0)?, user_id: row.get(1)?, display_name: row.get(2)?, avatar_url: row.get(3)? })
}

/// The pattern that finds `text`, in which ASCII letters are small, anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

impl Database {
    /// Users joined to one of these rooms with `text` in the user ID or the JSON of the display name, whatever the case of
    /// ASCII letters, or with other characters in the display name. Looks at no more than `limit` places in rooms, by the index on a room's memberships.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn listings_in_rooms(
        &self,
        text: &str,
        rooms: &[i64],
        limit: i64,
    ) -> Result<Vec<UserListing>, StorageError> {
        let sql = listing_query!(
            "(SELECT DISTINCT user_sn FROM (SELECT user_sn FROM memberships WHERE room_sn IN LIST($2) AND membership = 1 \
             LIMIT $3) AS places) AS joined JOIN users u ON u.user_sn = joined.user_sn \
             LEFT JOIN profile_fields n ON n.user_sn = u.user_sn AND n.field = 'displayname' \
             LEFT JOIN profile_fields p ON p.user_sn = u.user_sn AND p.field = 'avatar_url' \
             LEFT JOIN accounts a ON a.user_sn = u.user_sn WHERE TRUE"
        );
        self.query(sql, params![&pattern(text), rooms, limit], read_listing).await
    }

    /// The user who is `count` users behind `after`, if there is one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn user_behind(&self, after: UserSn, count: i64) -> Result<Option<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM users WHERE user_sn > $1 ORDER BY user_sn LIMIT 1 OFFSET $2";
        self.query_optional(sql, params![after, count.saturating_sub(1)], |row| row.get(0)).await
    }

    /// Users behind `after`, up to and including `until`, with `text` in the user ID or the JSON of the display name, whatever
    /// the case of ASCII letters, or with other characters in the display name. Looks at every user in between, by the primary key.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn listings_between(
        &self,
        text: &str,
        after: UserSn,
        until: UserSn,
    ) -> Result<Vec<UserListing>, StorageError> {
        let sql = listing_query!(
            "users u LEFT JOIN profile_fields n ON n.user_sn = u.user_sn AND n.field = 'displayname' \
             LEFT JOIN profile_fields p ON p.user_sn = u.user_sn AND p.field = 'avatar_url' \
             LEFT JOIN accounts a ON a.user_sn = u.user_sn WHERE u.user_sn > $2 AND u.user_sn <= $3"
        );
        self.query(sql, params![&pattern(text), after, until], read_listing).await
    }

    /// Which of these users are joined to which rooms: the first `limit` places, by the index on a user's memberships.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_rooms_of(&self, users: &[i64], limit: i64) -> Result<Vec<(UserSn, RoomSn)>, StorageError> {
        let sql = "SELECT user_sn, room_sn FROM memberships WHERE user_sn IN LIST($1) AND membership = 1 LIMIT $2";
        self.query(sql, params![users, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_text_stand_for_themselves() {
        assert_eq!(pattern("50% of_all!"), "%50!% of!_all!!%");
    }
}
