//! What users report to the administrators of this server.

use homeserver_core::{EventSn, RoomSn, Timestamp, UserSn};

use crate::{Database, Row, StorageError, params};

/// What is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reported {
    /// An event: its room, its number, and who sent it.
    Event(RoomSn, EventSn, UserSn),
    /// A room.
    Room(RoomSn),
    /// A user.
    User(UserSn),
}

/// The kinds of reports, which are listed apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportKind {
    /// Of events.
    Event,
    /// Of rooms.
    Room,
    /// Of users.
    User,
}

impl ReportKind {
    fn code(self) -> i64 {
        match self {
            Self::Event => 1,
            Self::Room => 2,
            Self::User => 3,
        }
    }
}

/// A report that is to be stored.
#[derive(Clone, Debug)]
pub struct NewReport {
    /// What is reported.
    pub reported: Reported,
    /// Who reports it.
    pub reporter_sn: UserSn,
    /// When.
    pub received_at: Timestamp,
    /// Why, in the reporter's words.
    pub reason: Option<String>,
    /// How offensive it is, from -100 to 0, as older clients say.
    pub score: Option<i64>,
}

/// A stored report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its number.
    pub report_id: i64,
    /// When it came.
    pub received_at: Timestamp,
    /// Who reported.
    pub reporter: String,
    /// The room that was reported, or is the event's.
    pub room: Option<(RoomSn, String)>,
    /// The event that was reported; its number stays when the event has gone.
    pub event: Option<(EventSn, Option<String>)>,
    /// The user who was reported, or who sent the event.
    pub user: Option<String>,
    /// Why, in the reporter's words.
    pub reason: Option<String>,
    /// How offensive it is, from -100 to 0, as older clients say.
    pub score: Option<i64>,
}

/// Which reports are listed.
#[derive(Clone, Copy, Debug)]
pub struct ReportFilter {
    /// Of which kind.
    pub kind: ReportKind,
    /// By this user; by all if absent.
    pub reporter_sn: Option<UserSn>,
    /// About this room; about all if absent.
    pub room_sn: Option<RoomSn>,
    /// About this user, or what this user sent; about all if absent.
    pub user_sn: Option<UserSn>,
}

/// The columns that [`read_report`] reads.
macro_rules! report_query {
    ($condition:literal) => {
        concat!(
            "SELECT r.report_id, r.received_at, u.user_id, r.room_sn, o.room_id, r.event_sn, e.event_id, t.user_id, ",
            "r.reason, r.score FROM reports r JOIN users u ON u.user_sn = r.reporter_sn ",
            "LEFT JOIN rooms o ON o.room_sn = r.room_sn LEFT JOIN events e ON e.event_sn = r.event_sn ",
            "LEFT JOIN users t ON t.user_sn = r.user_sn ",
            $condition
        )
    };
}

fn read_report(row: &Row<'_>) -> Result<Report, StorageError> {
    Ok(Report {
        report_id: row.get(0)?,
        received_at: row.get(1)?,
        reporter: row.get(2)?,
        room: row.get::<Option<RoomSn>>(3)?.zip(row.get::<Option<String>>(4)?),
        event: row.get::<Option<EventSn>>(5)?.zip(Some(row.get::<Option<String>>(6)?)),
        user: row.get(7)?,
        reason: row.get(8)?,
        score: row.get(9)?,
    })
}

impl Database {
    /// Stores a report.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_report(&self, report: NewReport) -> Result<(), StorageError> {
        let sql = "INSERT INTO reports (kind, received_at, reporter_sn, room_sn, event_sn, user_sn, reason, score) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.write(async move |tx| {
            let NewReport { reported, reporter_sn, received_at, reason, score } = &report;
            let (kind, room_sn, event_sn, user_sn) = match *reported {
                Reported::Event(room_sn, event_sn, sender) => {
                    (ReportKind::Event, Some(room_sn), Some(event_sn), Some(sender))
                }
                Reported::Room(room_sn) => (ReportKind::Room, Some(room_sn), None, None),
                Reported::User(user_sn) => (ReportKind::User, None, None, Some(user_sn)),
            };
            let values = params![kind.code(), *received_at, *reporter_sn, room_sn, event_sn, user_sn, reason, *score];
            tx.execute(sql, values).await.map(drop)
        })
        .await
    }

    /// Up to `limit` reports behind the first `offset`, and how many there are; the newest first or the oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn reports(
        &self,
        filter: &ReportFilter,
        is_newest_first: bool,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<Report>, i64), StorageError> {
        let newest = report_query!(
            "WHERE r.kind = $1 AND (CAST($2 AS BIGINT) IS NULL OR r.reporter_sn = $2) AND (CAST($3 AS BIGINT) IS NULL OR r.room_sn = $3) \
             AND (CAST($4 AS BIGINT) IS NULL OR r.user_sn = $4) ORDER BY r.kind DESC, r.report_id DESC LIMIT $5 OFFSET $6"
        );
        let oldest = report_query!(
            "WHERE r.kind = $1 AND (CAST($2 AS BIGINT) IS NULL OR r.reporter_sn = $2) AND (CAST($3 AS BIGINT) IS NULL OR r.room_sn = $3) \
             AND (CAST($4 AS BIGINT) IS NULL OR r.user_sn = $4) ORDER BY r.kind, r.report_id LIMIT $5 OFFSET $6"
        );
        let ReportFilter { kind, reporter_sn, room_sn, user_sn } = *filter;
        let values = params![kind.code(), reporter_sn, room_sn, user_sn, limit, offset];
        let reports = self.query(if is_newest_first { newest } else { oldest }, values, read_report).await?;
        let count = "SELECT COUNT(*) FROM reports r WHERE r.kind = $1 AND (CAST($2 AS BIGINT) IS NULL OR r.reporter_sn = $2) \
                     AND (CAST($3 AS BIGINT) IS NULL OR r.room_sn = $3) AND (CAST($4 AS BIGINT) IS NULL OR r.user_sn = $4)";
        let values = params![kind.code(), reporter_sn, room_sn, user_sn];
        let total = self.query_optional(count, values, |row| row.get(0)).await?;
        Ok((reports, total.unwrap_or(0)))
    }

    /// One report of a kind.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn report(&self, kind: ReportKind, report_id: i64) -> Result<Option<Report>, StorageError> {
        let sql = report_query!("WHERE r.report_id = $1 AND r.kind = $2");
        self.query_optional(sql, params![report_id, kind.code()], read_report).await
    }

    /// Removes a report. Returns whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_report(&self, kind: ReportKind, report_id: i64) -> Result<bool, StorageError> {
        let sql = "DELETE FROM reports WHERE report_id = $1 AND kind = $2";
        self.write(async move |tx| Ok(tx.execute(sql, params![report_id, kind.code()]).await? > 0)).await
    }
}
