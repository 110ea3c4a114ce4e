//! What is not unread any more because it has been redacted.

use homeserver_core::{Position, RoomSn, UserSn};

use super::{MAIN_TIMELINE, UnreadThread, UnreadTotals};
use crate::events::order_of;
use crate::{Database, Engine, Row, StorageError, Value, params};

/// What each redacted event was, of the threads `s` after their starts and up to `$2`: by the usual totals, in a silence of the user
/// `$1` or not, and by the differences of that user.
macro_rules! redacted_query {
    ($threads:literal) => {
        concat!(
            "SELECT s.room_sn, s.thread_sn, CASE WHEN s.thread_sn = 0 THEN x.countable_total - COALESCE((",
            "SELECT p.countable_total FROM events p WHERE p.room_sn = x.room_sn AND ",
            order_of!("p."),
            " < ",
            order_of!("x."),
            " AND p.standing = 0 ORDER BY p.room_sn DESC, ",
            order_of!("p."),
            " DESC LIMIT 1), 0) WHEN u.event_sn IS NULL THEN 0 ELSE 1 END, ",
            "CASE WHEN u.event_sn IS NULL THEN 0 ELSE u.highlight_total - COALESCE((",
            "SELECT p.highlight_total FROM unread_totals p WHERE p.room_sn = u.room_sn AND p.thread_sn = u.thread_sn ",
            "AND p.event_sn < u.event_sn ORDER BY p.event_sn DESC LIMIT 1), 0) END, ",
            growth_at_event!("notify_total"),
            ", ",
            growth_at_event!("highlight_total"),
            ", EXISTS (SELECT 1 FROM unread_silences q WHERE q.user_sn = $1 AND q.room_sn = x.room_sn ",
            "AND q.since < x.event_sn AND q.until >= x.event_sn), x.standing FROM ",
            $threads,
            " JOIN events x ON x.room_sn = s.room_sn AND x.thread_sn = s.thread_sn AND x.event_sn > s.start ",
            "AND x.event_sn <= $2 AND x.redacted_by <= $2 ",
            "LEFT JOIN unread_totals u ON u.room_sn = x.room_sn AND u.thread_sn = x.thread_sn AND u.event_sn = x.event_sn ",
            "LEFT JOIN unread_differences d ON d.user_sn = $1 AND d.room_sn = x.room_sn AND d.thread_sn = x.thread_sn ",
            "AND d.event_sn = x.event_sn"
        )
    };
}

/// By how much a difference grew at its event.
macro_rules! growth_at_event {
    ($column:literal) => {
        concat!(
            "CASE WHEN d.event_sn IS NULL THEN 0 ELSE d.",
            $column,
            " - COALESCE((SELECT p.",
            $column,
            " FROM unread_differences p WHERE p.user_sn = d.user_sn AND p.room_sn = d.room_sn ",
            "AND p.thread_sn = d.thread_sn AND p.event_sn < d.event_sn ORDER BY p.event_sn DESC LIMIT 1), 0) END"
        )
    };
}

const OF_MANY: &str = redacted_query!("UNNEST($3, $4, $5) AS s (room_sn, thread_sn, start)");
const OF_ONE: &str = redacted_query!("(SELECT $3 AS room_sn, $4 AS thread_sn, $5 AS start) s");

/// A redacted event, with what it was to the user.
struct Redacted {
    room_sn: RoomSn,
    thread_sn: i64,
    was: UnreadTotals,
}

fn read_redacted(row: &Row<'_>) -> Result<Redacted, StorageError> {
    let usual = UnreadTotals { notify: row.get(2)?, highlight: row.get(3)? };
    let difference = UnreadTotals { notify: row.get(4)?, highlight: row.get(5)? };
    let is_silent: bool = row.get(6)?;
    // What was fetched after later events was never unread.
    let was = match (row.get::<i64>(7)?, is_silent) {
        (0, false) => usual.plus(difference),
        (0, true) => difference,
        _ => UnreadTotals::default(),
    };
    Ok(Redacted { room_sn: row.get(0)?, thread_sn: row.get(1)?, was })
}

fn number_of(thread: &UnreadThread) -> i64 {
    thread.thread.as_ref().map_or(MAIN_TIMELINE, |(root, _)| root.0)
}

/// Takes what was redacted up to `at` off the counts of a user, of those threads that are named by their places.
pub(super) async fn subtract(
    database: &Database,
    user_sn: UserSn,
    unread: &mut [UnreadThread],
    places: &[usize],
    at: Position,
) -> Result<(), StorageError> {
    let (mut rooms, mut threads, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for thread in places.iter().filter_map(|place| unread.get(*place)) {
        rooms.push(thread.room_sn.0);
        threads.push(number_of(thread));
        starts.push(thread.start.0);
    }
    if rooms.is_empty() {
        return Ok(());
    }
    let redacted = if database.engine() == Engine::Sqlite {
        let rounds = rooms.into_iter().zip(threads).zip(starts).map(|((room_sn, thread_sn), start)| {
            [user_sn.into(), at.into(), Value::from(room_sn), thread_sn.into(), start.into()]
        });
        database.query_each(OF_ONE, rounds, read_redacted).await?
    } else {
        database.query(OF_MANY, params![user_sn, at, &rooms, &threads, &starts], read_redacted).await?
    };
    for Redacted { room_sn, thread_sn, was } in redacted {
        let thread = unread.iter_mut().find(|thread| thread.room_sn == room_sn && number_of(thread) == thread_sn);
        if let Some(thread) = thread {
            thread.totals = thread.totals.minus(was);
        }
    }
    Ok(())
}
