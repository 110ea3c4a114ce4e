//! What administrators are told of destinations.

use std::sync::Arc;
use std::time::Duration;

use federation::Reachability;
use homeserver_core::{Position, Timestamp};
use ruma::ServerName;
use storage::{Database, DestinationFilter, DestinationRecord, StorageError};

/// The most destinations of a page.
const MAX_LIMIT: u32 = 1_000;

/// What administrators are told of destinations, by any node.
pub struct Destinations {
    database: Database,
    reachability: Arc<Reachability>,
}

/// Which destinations an administrator wants to see.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// A part of their names; all have the empty one.
    pub containing: &'a str,
    /// How many are skipped.
    pub from: u32,
    /// How many are wanted.
    pub limit: u32,
    /// Whether the last one by its name comes first.
    pub is_backwards: bool,
}

/// Some of the destinations, in the order of their names.
#[derive(Clone, Debug)]
pub struct DestinationPage {
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
    /// How many there are in all.
    pub total: u64,
    /// How many are to be skipped for the next page, if there is one.
    pub next: Option<u32>,
}

/// What is known of a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestinationStatus {
    /// The server.
    pub server_name: String,
    /// Since when it has not been reached, and until when it is left alone; `None` if it was reached.
    pub failing: Option<Failing>,
    /// Up to where in the log it has everything.
    pub sent_up_to: Position,
}

/// That a destination is not reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// When it was last tried.
    pub last_attempt_at: Timestamp,
    /// For how long it is left alone after that.
    pub pause: Duration,
}

impl Destinations {
    /// Destinations in `database`.
    #[must_use]
    pub fn new(database: Database, reachability: Arc<Reachability>) -> Self {
        Self { database, reachability }
    }

    /// Some of the destinations.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn page(&self, request: PageRequest<'_>) -> Result<DestinationPage, StorageError> {
        let PageRequest { containing, from, limit, is_backwards } = request;
        let limit = limit.min(MAX_LIMIT);
        let filter = DestinationFilter { containing, skip: from.into(), limit: limit.into(), is_backwards };
        let records = self.database.list_destinations(filter).await?;
        let total = u64::try_from(self.database.count_destinations(containing).await?).unwrap_or_default();
        let head = self.database.outbox_head().await?;
        let destinations: Vec<_> = records.into_iter().map(|record| status(record, head)).collect();
        let next = from.saturating_add(u32::try_from(destinations.len()).unwrap_or(u32::MAX));
        let has_more = u64::from(next) < total && !destinations.is_empty();
        Ok(DestinationPage { destinations, total, next: has_more.then_some(next) })
    }

    /// One destination, if it is known.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn one(&self, server: &ServerName) -> Result<Option<DestinationStatus>, StorageError> {
        let head = self.database.outbox_head().await?;
        Ok(self.database.destination(server.as_str()).await?.map(|record| status(record, head)))
    }

    /// The rooms that are or were shared with a destination, with the last event of each, in the order of their IDs.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn rooms(&self, server: &ServerName) -> Result<Vec<(String, Position)>, StorageError> {
        self.database.rooms_of_destination(server.as_str()).await
    }

    /// Has a destination tried again at once that is left alone.
    pub async fn reset_connection(&self, server: &ServerName) {
        self.reachability.forgive(server).await;
    }
}

fn status(record: DestinationRecord, head: Position) -> DestinationStatus {
    let failing = record.failing.map(|failing| {
        let pause = Reachability::pause_of(&failing);
        let before = failing.next_attempt_at.0.saturating_sub(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        Failing { since: failing.failing_since, last_attempt_at: Timestamp(before).max(failing.failing_since), pause }
    });
    DestinationStatus { server_name: record.server_name, failing, sent_up_to: record.sent_up_to.unwrap_or(head) }
}
