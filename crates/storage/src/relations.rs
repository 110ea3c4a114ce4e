//! What events relate to: edits, references, threads, reactions and whatever else clients make up.
//!
//! A row has the ID of the event that is related to, because that event may come later. Rows are written with their events, are in the
//! order of the timeline, and go when their event is redacted.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#relationship-types>

mod bundling;
mod old;
mod threads;

use homeserver_core::{EventSn, RoomSn, TimelineOrder, TypeSn, UserSn};

pub use self::bundling::{Reference, RelationKind, RelationSum};
pub use self::old::OldRelations;
pub use self::threads::ThreadPlace;
use crate::append::relations::kept_relation;
use crate::events::{StoredEvent, event_query, read_event};
use crate::{Database, StorageError, Tx, params};

/// Which of the events that relate to an event are read.
#[derive(Clone, Copy, Debug)]
pub struct RelationsOf<'a> {
    /// The room.
    pub room_sn: RoomSn,
    /// The ID of the event that they relate to.
    pub target_id: &'a str,
    /// The kind of the relation; all if absent.
    pub rel_type: Option<&'a str>,
    /// The type of the events; all if absent.
    pub type_sn: Option<TypeSn>,
    /// Those at places after this.
    pub after: TimelineOrder,
    /// Those at places up to this.
    pub until: TimelineOrder,
}

/// An event that relates to another one.
#[derive(Clone, Debug)]
pub struct RelatedEvent {
    /// Its number.
    pub event_sn: EventSn,
    /// Its event ID.
    pub event_id: String,
    /// Its place in the timeline.
    pub order: TimelineOrder,
    /// How it relates.
    pub rel_type: Box<str>,
    /// Its type.
    pub type_sn: TypeSn,
}

/// How an event has to be related to, for a filter.
#[derive(Clone, Copy, Debug)]
pub struct RelatedBy<'a> {
    /// By one of these users; by anybody if absent.
    pub senders: Option<&'a [i64]>,
    /// In one of these ways; in any if absent.
    pub rel_types: Option<&'a [String]>,
}

impl Database {
    /// The first `limit` events that relate to an event, the newest first or the oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn relations(
        &self,
        of: &RelationsOf<'_>,
        is_newest_first: bool,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let newest = event_query!(
            "WHERE e.standing IN (0, 5) AND e.event_sn IN (SELECT x.event_sn FROM relations x WHERE x.target_id = $1 AND x.room_sn = $2 \
             AND x.timeline_order > $3 AND x.timeline_order <= $4 AND (CAST($5 AS TEXT) IS NULL OR x.rel_type = $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR x.type_sn = $6) ORDER BY x.timeline_order DESC LIMIT $7)"
        );
        let oldest = event_query!(
            "WHERE e.standing IN (0, 5) AND e.event_sn IN (SELECT x.event_sn FROM relations x WHERE x.target_id = $1 AND x.room_sn = $2 \
             AND x.timeline_order > $3 AND x.timeline_order <= $4 AND (CAST($5 AS TEXT) IS NULL OR x.rel_type = $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR x.type_sn = $6) ORDER BY x.timeline_order LIMIT $7)"
        );
        let RelationsOf { room_sn, target_id, rel_type, type_sn, after, until } = *of;
        let parameters = params![target_id, room_sn, after, until, rel_type, type_sn, limit];
        let mut events = self.query(if is_newest_first { newest } else { oldest }, parameters, read_event).await?;
        events.sort_unstable_by_key(|event| event.order);
        if is_newest_first {
            events.reverse();
        }
        Ok(events)
    }

    /// The newest `limit` events that relate to any of some events of a room, the newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn related_events(
        &self,
        room_sn: RoomSn,
        targets: &[String],
        limit: i64,
    ) -> Result<Vec<RelatedEvent>, StorageError> {
        let sql = "SELECT x.event_sn, e.event_id, x.timeline_order, x.rel_type, x.type_sn FROM relations x \
                   JOIN events e ON e.event_sn = x.event_sn WHERE x.target_id IN LIST($1) AND x.room_sn = $2 \
                   AND e.standing IN (0, 5) ORDER BY x.timeline_order DESC LIMIT $3";
        self.query(sql, params![targets, room_sn, limit], |row| {
            Ok(RelatedEvent {
                event_sn: row.get(0)?,
                event_id: row.get(1)?,
                order: row.get(2)?,
                rel_type: row.get(3)?,
                type_sn: row.get(4)?,
            })
        })
        .await
    }

    /// Whether a user has annotated an event already with an event of this type that says the same.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_annotated(
        &self,
        room_sn: RoomSn,
        target_id: &str,
        (sender_sn, type_sn): (UserSn, TypeSn),
        key: &str,
    ) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM relations WHERE target_id = $1 AND room_sn = $2 AND rel_type = 'm.annotation' \
                   AND sender_sn = $3 AND type_sn = $4 AND annotation_key = $5 LIMIT 1";
        let parameters = params![target_id, room_sn, sender_sn, type_sn, key];
        Ok(self.query_optional(sql, parameters, |_| Ok(())).await?.is_some())
    }

    /// Which of some events of a room are related to as a filter wants.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn events_related_by(
        &self,
        room_sn: RoomSn,
        events: &[String],
        by: RelatedBy<'_>,
    ) -> Result<Vec<String>, StorageError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT DISTINCT target_id FROM relations WHERE target_id IN LIST($1) AND room_sn = $2 \
                   AND ($3 OR sender_sn IN LIST($4)) AND ($5 OR rel_type IN LIST($6))";
        let RelatedBy { senders, rel_types } = by;
        let parameters = params![
            events,
            room_sn,
            senders.is_none(),
            senders.unwrap_or_default(),
            rel_types.is_none(),
            rel_types.unwrap_or_default()
        ];
        self.query(sql, parameters, |row| row.get(0)).await
    }
}

impl Tx {
    /// Takes back what an event says of its relation.
    pub(crate) async fn remove_relation(
        &mut self,
        room_sn: RoomSn,
        target_id: &str,
        event_sn: EventSn,
    ) -> Result<(), StorageError> {
        let sql = "DELETE FROM relations WHERE target_id = $1 AND room_sn = $2 AND event_sn = $3";
        self.execute(sql, params![target_id, room_sn, event_sn]).await?;
        let sql = "UPDATE thread_roots SET latest_order = COALESCE((SELECT MAX(x.timeline_order) FROM relations x \
                   WHERE x.target_id = $1 AND x.room_sn = $2 AND x.rel_type = 'm.thread'), 0) \
                   WHERE room_sn = $2 AND root_id = $1";
        if self.execute(sql, params![target_id, room_sn]).await? == 0 {
            return Ok(());
        }
        let sql = "DELETE FROM thread_roots WHERE room_sn = $2 AND root_id = $1 AND NOT EXISTS \
                   (SELECT 1 FROM relations x WHERE x.target_id = $1 AND x.room_sn = $2 AND x.rel_type = 'm.thread')";
        self.execute(sql, params![target_id, room_sn]).await.map(drop)
    }

    /// Removes what the events of a room say of their relations.
    pub(crate) async fn purge_relations(&mut self, room_sn: RoomSn, events: &[i64]) -> Result<u64, StorageError> {
        let sql = "SELECT client_json FROM events WHERE event_sn IN LIST($1)";
        let texts: Vec<Vec<u8>> = self.query(sql, params![events], |row| row.get(0)).await?;
        let targets = texts.iter().filter_map(|json| Some(kept_relation(json)?.event_id.into_owned()));
        let targets: Vec<String> = targets.collect();
        let sql = "DELETE FROM relations WHERE target_id IN LIST($1) AND room_sn = $2";
        self.execute(sql, params![&targets, room_sn]).await
    }
}
