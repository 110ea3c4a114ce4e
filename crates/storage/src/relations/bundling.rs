//! What is told of an event's relations together with the event.

use homeserver_core::{RoomSn, TimelineOrder, UserSn};

use crate::events::{StoredEvent, event_query, order_of, read_event};
use crate::{Database, StorageError, params};

/// The relations that are told together with the event that they are to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelationKind {
    /// `m.replace`: an edit.
    Replace,
    /// `m.reference`.
    Reference,
    /// `m.thread`: an event in the thread that begins with the event.
    Thread,
}

impl RelationKind {
    fn parse(rel_type: &str) -> Result<Self, StorageError> {
        match rel_type {
            "m.replace" => Ok(Self::Replace),
            "m.reference" => Ok(Self::Reference),
            "m.thread" => Ok(Self::Thread),
            other => Err(StorageError::Corrupt(format!("a relation of kind {other} was not asked for"))),
        }
    }
}

/// What one user's events are to an event.
#[derive(Clone, Debug)]
pub struct RelationSum {
    /// The room of those events.
    pub room_sn: RoomSn,
    /// The ID of the event that they relate to.
    pub target_id: Box<str>,
    /// How they relate.
    pub kind: RelationKind,
    /// Who sent them.
    pub sender_sn: UserSn,
    /// How many there are.
    pub count: i64,
    /// The place of the last of them.
    pub latest: TimelineOrder,
}

/// An event that refers to another one.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The room of the event.
    pub room_sn: RoomSn,
    /// The ID of the event that it refers to.
    pub target_id: Box<str>,
    /// The ID of the event that refers.
    pub event_id: Box<str>,
    /// Who sent it.
    pub sender_sn: UserSn,
    /// Its place in the timeline.
    pub order: TimelineOrder,
}

impl Database {
    /// What relates to some events, at places up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn relation_sums(
        &self,
        targets: &[String],
        until: TimelineOrder,
    ) -> Result<Vec<RelationSum>, StorageError> {
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT room_sn, target_id, rel_type, sender_sn, COUNT(*), MAX(timeline_order) FROM relations \
                   WHERE target_id IN LIST($1) AND timeline_order <= $2 \
                   AND rel_type IN ('m.replace', 'm.reference', 'm.thread') \
                   GROUP BY room_sn, target_id, rel_type, sender_sn";
        self.query(sql, params![targets, until], |row| {
            Ok(RelationSum {
                room_sn: row.get(0)?,
                target_id: row.get(1)?,
                kind: RelationKind::parse(&row.get::<String>(2)?)?,
                sender_sn: row.get(3)?,
                count: row.get(4)?,
                latest: row.get(5)?,
            })
        })
        .await
    }

    /// The newest few edits that these users made of each of some events, at places up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn newest_edits(
        &self,
        targets: &[String],
        senders: &[i64],
        until: TimelineOrder,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(
            "WHERE e.standing IN (0, 5) AND e.event_sn IN (SELECT ranked.event_sn FROM (SELECT event_sn, ROW_NUMBER() OVER \
             (PARTITION BY target_id, room_sn, sender_sn ORDER BY timeline_order DESC) AS nth FROM relations \
             WHERE target_id IN LIST($1) AND rel_type = 'm.replace' AND sender_sn IN LIST($2) \
             AND timeline_order <= $3) ranked WHERE ranked.nth <= 8)"
        );
        self.query(sql, params![targets, senders, until], read_event).await
    }

    /// The oldest `limit` events that refer to each of some events, at places up to `until`, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn references(
        &self,
        targets: &[String],
        until: TimelineOrder,
        limit: i64,
    ) -> Result<Vec<Reference>, StorageError> {
        let sql = "SELECT x.room_sn, x.target_id, e.event_id, x.sender_sn, x.timeline_order FROM \
                   (SELECT room_sn, target_id, event_sn, sender_sn, timeline_order, ROW_NUMBER() OVER \
                   (PARTITION BY target_id, room_sn ORDER BY timeline_order) AS nth FROM relations \
                   WHERE target_id IN LIST($1) AND rel_type = 'm.reference' AND timeline_order <= $2) x \
                   JOIN events e ON e.event_sn = x.event_sn WHERE x.nth <= $3 AND e.standing IN (0, 5) ORDER BY x.timeline_order";
        self.query(sql, params![targets, until, limit], |row| {
            Ok(Reference {
                room_sn: row.get(0)?,
                target_id: row.get(1)?,
                event_id: row.get(2)?,
                sender_sn: row.get(3)?,
                order: row.get(4)?,
            })
        })
        .await
    }

    /// The events of a room's timeline at some places.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn events_at(&self, room_sn: RoomSn, places: &[i64]) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(concat!(
            "WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " IN LIST($2) AND e.standing IN (0, 5)"
        ));
        self.query(sql, params![room_sn, places], read_event).await
    }
}
