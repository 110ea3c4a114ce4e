//! The servers that are sent something, as administrators see them.

use homeserver_core::Position;

use crate::servers::FailingServer;
use crate::{Database, Row, StorageError, params};

/// A server that shares or shared rooms with this one, or was asked in vain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestinationRecord {
    /// The server.
    pub server_name: String,
    /// What is known if it was not reached when it was last asked.
    pub failing: Option<FailingServer>,
    /// Up to where in the log it has everything, if it is behind.
    pub sent_up_to: Option<Position>,
}

/// Which servers are listed.
#[derive(Clone, Copy, Debug)]
pub struct DestinationFilter<'a> {
    /// A part of their names; everything is a part of itself, and nothing of all.
    pub containing: &'a str,
    /// How many are skipped,
    pub skip: i64,
    /// and how many are listed at most.
    pub limit: i64,
    /// Whether the last one by its name comes first.
    pub is_backwards: bool,
}

/// The servers that are listed, as a condition on `servers s`.
macro_rules! destination_query {
    ($columns:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM servers s LEFT JOIN failing_servers f ON f.server_sn = s.server_sn \
             LEFT JOIN destinations d ON d.server_sn = s.server_sn WHERE (f.server_sn IS NOT NULL OR d.server_sn IS NOT NULL \
             OR EXISTS (SELECT 1 FROM room_servers x WHERE x.server_sn = s.server_sn)) ",
            $condition
        )
    };
}

macro_rules! destination_page {
    ($order:literal) => {
        destination_query!("s.server_name, f.failures, f.failing_since, f.next_attempt_at, d.sent_up_to", $order)
    };
}

fn read_destination(row: &Row<'_>) -> Result<DestinationRecord, StorageError> {
    let server_name: String = row.get(0)?;
    let failing = match row.get::<Option<i64>>(1)? {
        None => None,
        Some(failures) => Some(FailingServer {
            server_name: server_name.clone(),
            failures,
            failing_since: row.get(2)?,
            next_attempt_at: row.get(3)?,
        }),
    };
    Ok(DestinationRecord { server_name, failing, sent_up_to: row.get(4)? })
}

impl Database {
    /// Servers that share or shared rooms with this one, or were asked in vain, in the order of their names.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn list_destinations(
        &self,
        filter: DestinationFilter<'_>,
    ) -> Result<Vec<DestinationRecord>, StorageError> {
        let DestinationFilter { containing, skip, limit, is_backwards } = filter;
        let sql = match is_backwards {
            false => destination_page!("AND instr(s.server_name, $1) > 0 ORDER BY s.server_name LIMIT $2 OFFSET $3"),
            true => {
                destination_page!("AND instr(s.server_name, $1) > 0 ORDER BY s.server_name DESC LIMIT $2 OFFSET $3")
            }
        };
        self.query(sql, params![containing, limit, skip], read_destination).await
    }

    /// How many such servers there are with that part in their names.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn count_destinations(&self, containing: &str) -> Result<i64, StorageError> {
        let sql = destination_query!("COUNT(*)", "AND instr(s.server_name, $1) > 0");
        Ok(self.query_optional(sql, params![containing], |row| row.get(0)).await?.unwrap_or_default())
    }

    /// One such server.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn destination(&self, server: &str) -> Result<Option<DestinationRecord>, StorageError> {
        self.query_optional(destination_page!("AND s.server_name = $1"), params![server], read_destination).await
    }

    /// The rooms in which a server has or once had members, with the last event of each, in the order of their IDs.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_of_destination(&self, server: &str) -> Result<Vec<(String, Position)>, StorageError> {
        let sql = "SELECT r.room_id, h.last_event_sn FROM servers s JOIN room_servers x ON x.server_sn = s.server_sn \
                   JOIN rooms r ON r.room_sn = x.room_sn JOIN room_heads h ON h.room_sn = x.room_sn \
                   WHERE s.server_name = $1 ORDER BY r.room_id";
        self.query(sql, params![server], |row| Ok((row.get(0)?, row.get(1)?))).await
    }
}
