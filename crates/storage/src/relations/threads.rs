//! The threads of rooms.

use homeserver_core::{EventSn, RoomSn, TimelineOrder, UserSn};

use crate::{Database, StorageError, params};

/// Where a thread is in the list of its room's threads.
#[derive(Clone, Copy, Debug)]
pub struct ThreadPlace {
    /// The number of its root.
    pub root_sn: EventSn,
    /// The place of its last event.
    pub latest: TimelineOrder,
}

impl Database {
    /// Up to `limit` threads of a room whose last event is at a place up to `until`, the newest first, as far as their roots are known
    /// here. With a user: only those in which that user has sent an event.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn threads(
        &self,
        room_sn: RoomSn,
        until: TimelineOrder,
        participant: Option<UserSn>,
        limit: i64,
    ) -> Result<Vec<ThreadPlace>, StorageError> {
        let all = "SELECT e.event_sn, t.latest_order FROM thread_roots t JOIN events e ON e.event_id = t.root_id \
                   WHERE t.room_sn = $1 AND t.latest_order <= $2 AND e.room_sn = t.room_sn AND e.standing IN (0, 5) \
                   ORDER BY t.room_sn DESC, t.latest_order DESC LIMIT $3";
        let of_user = "SELECT e.event_sn, t.latest_order FROM thread_roots t JOIN events e ON e.event_id = t.root_id \
                       WHERE t.room_sn = $1 AND t.latest_order <= $2 AND e.room_sn = t.room_sn \
                       AND e.standing IN (0, 5) AND (e.sender_sn = $4 OR EXISTS (SELECT 1 FROM relations x \
                       WHERE x.target_id = t.root_id AND x.room_sn = t.room_sn AND x.rel_type = 'm.thread' \
                       AND x.sender_sn = $4)) ORDER BY t.room_sn DESC, t.latest_order DESC LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok(ThreadPlace { root_sn: row.get(0)?, latest: row.get(1)? });
        match participant {
            None => self.query(all, params![room_sn, until, limit], read).await,
            Some(user_sn) => self.query(of_user, params![room_sn, until, limit, user_sn], read).await,
        }
    }
}
