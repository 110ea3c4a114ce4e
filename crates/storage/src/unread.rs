//! How many events a user has not read, by room and thread.
//!
//! For almost all users an event counts the same: what the default push rules make of it. So each thread has running totals
//! of that, which are the same for all of its readers, and a user's count is the total now less the total where the user
//! stopped reading. What is written for single users is where that is wrong for them:
//!
//! * *differences*: running totals of what an event was to a user more, or less, than to others, such as a mention or the
//!   user's own message. There is a row only for those events;
//! * *silences*: periods in which a user is not notified of what others are notified of, as in a room that is muted. A silence
//!   costs a row when it begins and when it ends, and nothing between.
//!
//! An event that has been redacted is not unread. The totals after it stay as they are; what it was to the user is taken off
//! when it is counted, with an index of what has been redacted.
//!
//! A message to a room of any size so writes a row or two, and a count is a few look-ups, however much is unread.

use std::sync::Arc;

use homeserver_core::{EventSn, Position, RoomSn, TimelineOrder, UserSn};

use crate::events::order_of;
use crate::{Database, StorageError, params};

mod redacted;

/// The thread number of the main timeline.
pub(crate) const MAIN_TIMELINE: i64 = 0;

/// What an event counts for a user who has not read it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Notice {
    /// Whether it counts.
    pub notify: bool,
    /// Whether it also counts as one that is highlighted.
    pub highlight: bool,
}

/// What an event counts for the members of its room who are users of this server. For its sender it counts nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Unread {
    /// The root of the thread that the event is in; `None` for the main timeline.
    pub thread: Option<EventSn>,
    /// What it counts for all users that are not named below.
    pub usual: Notice,
    /// Users that it does not notify although it notifies others, sorted.
    pub silent: Arc<[UserSn]>,
    /// Users for whom it counts neither the usual nor nothing, sorted.
    pub others: Vec<(UserSn, Notice)>,
    /// The sender, if that is a user of this server.
    pub local_sender: Option<UserSn>,
}

impl Unread {
    /// What the event is to a member of the room.
    #[must_use]
    pub fn notice_of(&self, user_sn: UserSn) -> Notice {
        if self.local_sender == Some(user_sn) || self.silent.binary_search(&user_sn).is_ok() {
            return Notice::default();
        }
        let other = self.others.binary_search_by_key(&user_sn, |(user_sn, _)| *user_sn).ok();
        other.and_then(|index| self.others.get(index)).map_or(self.usual, |(_, notice)| *notice)
    }
}

/// Running totals, or the difference of two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct UnreadTotals {
    /// Events that notify.
    pub notify: i64,
    /// Those of them that highlight.
    pub highlight: i64,
}

impl UnreadTotals {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { notify: self.notify + other.notify, highlight: self.highlight + other.highlight }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self { notify: self.notify - other.notify, highlight: self.highlight - other.highlight }
    }
}

impl From<Notice> for UnreadTotals {
    fn from(notice: Notice) -> Self {
        Self { notify: i64::from(notice.notify), highlight: i64::from(notice.highlight) }
    }
}

/// What a user has not read of a thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreadThread {
    /// The room.
    pub room_sn: RoomSn,
    /// The root of the thread and its event ID; `None` for the main timeline.
    pub thread: Option<(EventSn, Box<str>)>,
    /// Where the user has stopped reading: the events after that are counted.
    pub start: Position,
    /// How much.
    pub totals: UnreadTotals,
}

/// A count as the tables have it, silences not yet regarded.
struct Counted {
    unread: UnreadThread,
    differences: UnreadTotals,
    /// When the user's last silence in the room ends; zero if there was none.
    silent_until: i64,
    /// Whether some of what is counted has been redacted.
    has_redacted: bool,
}

/// The last value up to `$until` of a column of the table `x`, of whose rows `$of` chooses those of one thread.
macro_rules! last {
    ($column:literal, $of:literal, $until:literal) => {
        concat!(
            "COALESCE((SELECT x.",
            $column,
            " FROM ",
            $of,
            " AND x.event_sn <= ",
            $until,
            " ORDER BY x.event_sn DESC LIMIT 1), 0)"
        )
    };
}

/// What a column grew by after the start of `s` and up to `$3`.
macro_rules! growth {
    ($column:literal, $of:literal) => {
        concat!(last!($column, $of, "$3"), " - ", last!($column, $of, "s.start"))
    };
}

/// What the last event up to `$until` counts, of those whose place in the timeline of the room of `s` follows from their position.
macro_rules! last_countable {
    ($until:literal) => {
        concat!(
            "COALESCE((SELECT x.countable_total FROM events x WHERE x.room_sn = s.room_sn AND ",
            order_of!("x."),
            " < (",
            $until,
            " + 1) * 1048576 AND x.standing = 0 ORDER BY x.room_sn DESC, ",
            order_of!("x."),
            " DESC LIMIT 1), 0)"
        )
    };
}

macro_rules! usual_growth {
    ($column:literal) => {
        growth!($column, "unread_totals x WHERE x.room_sn = s.room_sn AND x.thread_sn = s.thread_sn")
    };
}

macro_rules! own_growth {
    ($column:literal) => {
        growth!(
            $column,
            "unread_differences x WHERE x.user_sn = $1 AND x.room_sn = s.room_sn AND x.thread_sn = s.thread_sn"
        )
    };
}

const COUNTS: &str = concat!(
    "WITH places AS (\
     SELECT f.room_sn, 0 AS thread_sn, f.position AS floor FROM unread_floors f \
     WHERE f.user_sn = $1 AND f.room_sn IN LIST($2) \
     UNION ALL SELECT t.room_sn, t.thread_sn, f.position FROM unread_floors f \
     JOIN room_threads t ON t.room_sn = f.room_sn AND t.last_event_sn > f.position \
     WHERE f.user_sn = $1 AND f.room_sn IN LIST($2)), \
     reads AS MATERIALIZED (SELECT p.room_sn, p.thread_sn, p.floor, COALESCE((SELECT MAX(r.event_sn) FROM receipts r \
     WHERE r.room_sn = p.room_sn AND r.user_sn = $1 AND r.thread_sn = p.thread_sn), 0) AS seen FROM places p), \
     s AS (SELECT room_sn, thread_sn, CASE WHEN seen > floor THEN seen ELSE floor END AS start FROM reads) \
     SELECT s.room_sn, s.thread_sn, (SELECT e.event_id FROM events e WHERE e.event_sn = s.thread_sn), s.start, \
     CASE WHEN s.thread_sn = 0 THEN ",
    last_countable!("$3"),
    " - ",
    last_countable!("s.start"),
    " ELSE ",
    usual_growth!("notify_total"),
    " END, ",
    usual_growth!("highlight_total"),
    ", ",
    own_growth!("notify_total"),
    ", ",
    own_growth!("highlight_total"),
    ", COALESCE((SELECT MAX(q.until) FROM unread_silences q WHERE q.user_sn = $1 AND q.room_sn = s.room_sn), 0), \
     EXISTS (SELECT 1 FROM events x WHERE x.room_sn = s.room_sn AND x.thread_sn = s.thread_sn \
     AND x.event_sn > s.start AND x.redacted_by <= $3 AND x.standing = 0) FROM s"
);

fn read_counted(row: &crate::Row<'_>) -> Result<Counted, StorageError> {
    let thread_id: Option<String> = row.get(2)?;
    let thread_sn: EventSn = row.get(1)?;
    Ok(Counted {
        unread: UnreadThread {
            room_sn: row.get(0)?,
            thread: thread_id.map(|thread_id| (thread_sn, thread_id.into_boxed_str())),
            start: row.get(3)?,
            totals: UnreadTotals { notify: row.get(4)?, highlight: row.get(5)? },
        },
        differences: UnreadTotals { notify: row.get(6)?, highlight: row.get(7)? },
        silent_until: row.get(8)?,
        has_redacted: row.get(9)?,
    })
}

impl Database {
    /// What a user has not read of these rooms at a position of the log: threads with nothing unread may be among it.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn unread(
        &self,
        user_sn: UserSn,
        rooms: &[i64],
        at: Position,
    ) -> Result<Vec<UnreadThread>, StorageError> {
        let counted = self.query(COUNTS, params![user_sn, rooms, at], read_counted).await?;
        let mut unread = Vec::with_capacity(counted.len());
        let mut with_redacted = Vec::new();
        for Counted { unread: mut thread, differences, silent_until, has_redacted } in counted {
            if silent_until > thread.start.0 && thread.totals != UnreadTotals::default() {
                let silenced = self.silenced(user_sn, &thread, at).await?;
                thread.totals = thread.totals.minus(silenced);
            }
            thread.totals = thread.totals.plus(differences);
            if has_redacted {
                with_redacted.push(unread.len());
            }
            unread.push(thread);
        }
        redacted::subtract(self, user_sn, &mut unread, &with_redacted, at).await?;
        Ok(unread)
    }

    /// How much of what usually notifies, and is counted up to `end`, was in silences of the user.
    async fn silenced(
        &self,
        user_sn: UserSn,
        thread: &UnreadThread,
        end: Position,
    ) -> Result<UnreadTotals, StorageError> {
        let start = thread.start;
        let sql = "SELECT since, until FROM unread_silences WHERE user_sn = $1 AND room_sn = $2 AND until > $3 AND since < $4";
        let silences: Vec<(i64, i64)> =
            self.query(sql, params![user_sn, thread.room_sn, start, end], |row| Ok((row.get(0)?, row.get(1)?))).await?;
        let mut silenced = UnreadTotals::default();
        for (since, until) in silences {
            if since <= start.0 && until >= end.0 {
                return Ok(thread.totals);
            }
            let first = self.usual_totals(thread, since.max(start.0)).await?;
            let last = self.usual_totals(thread, until.min(end.0)).await?;
            silenced = silenced.plus(last.minus(first));
        }
        Ok(silenced)
    }

    /// The usual totals of a thread up to a position.
    async fn usual_totals(&self, thread: &UnreadThread, until: i64) -> Result<UnreadTotals, StorageError> {
        let thread_sn = thread.thread.as_ref().map_or(MAIN_TIMELINE, |(sn, _)| sn.0);
        let sql = "SELECT notify_total, highlight_total FROM unread_totals \
                   WHERE room_sn = $1 AND thread_sn = $2 AND event_sn <= $3 ORDER BY event_sn DESC LIMIT 1";
        let read = |row: &crate::Row<'_>| Ok(UnreadTotals { notify: row.get(0)?, highlight: row.get(1)? });
        let totals = self.query_optional(sql, params![thread.room_sn, thread_sn, until], read).await?;
        let mut totals = totals.unwrap_or_default();
        if thread_sn == MAIN_TIMELINE {
            let sql = concat!(
                "SELECT countable_total FROM events WHERE room_sn = $1 AND ",
                order_of!(""),
                " <= $2 AND standing = 0 ORDER BY room_sn DESC, ",
                order_of!(""),
                " DESC LIMIT 1"
            );
            let until = TimelineOrder::end_of(Position(until));
            let notify = self.query_optional(sql, params![thread.room_sn, until], |row| row.get(0)).await?;
            totals.notify = notify.unwrap_or(0);
        }
        Ok(totals)
    }
}
