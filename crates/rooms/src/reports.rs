//! Reports to the administrators of this server: of events, rooms and users.

use std::sync::Arc;

use accounts::rate_limits::{LimitedAction, RateLimits};
use accounts::sessions::Requester;
use homeserver_core::{Clock, RoomSn};
use room_engine::string_value;
use ruma::{EventId, RoomId, UserId};
use storage::{Database, Interned, Membership, NewReport, ReportFilter, Reported, StorageError};
pub use storage::{Report, ReportKind};

use crate::RoomError;
use crate::wire::{Reader, member, write_event};

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 4_096;
/// Most reports of a page.
const MAX_LISTED: i64 = 500;

/// Why somebody reports something.
#[derive(Clone, Default, Debug)]
pub struct Complaint {
    /// In the reporter's words.
    pub reason: Option<String>,
    /// How offensive it is, from -100 to 0, as older clients say.
    pub score: Option<i64>,
}

/// Which reports an administrator wants to see.
#[derive(Clone, Debug)]
pub struct ReportQuery {
    /// Of which kind.
    pub kind: ReportKind,
    /// By this user.
    pub reporter: Option<String>,
    /// About this room.
    pub room_id: Option<String>,
    /// About this user, or what this user sent.
    pub user_id: Option<String>,
    /// How many to pass over.
    pub from: i64,
    /// Most reports.
    pub limit: i64,
    /// Whether the newest come first.
    pub is_newest_first: bool,
}

/// A page of reports.
#[derive(Debug)]
pub struct ReportPage {
    /// The reports, with what is known of their rooms.
    pub reports: Vec<(Report, RoomLabels)>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<i64>,
    /// How many reports there are.
    pub total: i64,
}

/// What a room is called.
#[derive(Clone, Default, Debug)]
pub struct RoomLabels {
    /// Its name.
    pub name: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
}

/// Takes reports, and shows them to administrators.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>
pub struct Reports {
    database: Database,
    interned: Arc<Interned>,
    rate_limits: Arc<RateLimits>,
    clock: Arc<dyn Clock>,
}

impl Reports {
    /// Reports stored in `database`.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        rate_limits: Arc<RateLimits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { database, interned, rate_limits, clock }
    }

    /// Reports an event of a room that the requester is in.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such event, or the requester is not in the room.
    pub async fn report_event(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_id: &EventId,
        complaint: Complaint,
    ) -> Result<(), RoomError> {
        let missing =
            || RoomError::NotFound("There is no such event, or you are not in the room that it is in.".to_owned());
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or_else(missing)?;
        let membership = self.database.membership(room_sn, requester.user_sn).await?;
        let is_joined = membership.is_some_and(|found| found.membership == Membership::Join);
        let event = self.database.event_by_id(event_id.as_str()).await?;
        let event = event.filter(|event| is_joined && event.room_sn == room_sn).ok_or_else(missing)?;
        self.store(requester, Reported::Event(room_sn, event.sn, event.sender_sn), complaint).await
    }

    /// Reports a room. The requester need not be in it.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if the room is not known here.
    pub async fn report_room(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        complaint: Complaint,
    ) -> Result<(), RoomError> {
        let room_sn = self.interned.find_room(room_id.as_str()).await?;
        let missing = || RoomError::NotFound("This room is not known here.".to_owned());
        self.store(requester, Reported::Room(room_sn.ok_or_else(missing)?), complaint).await
    }

    /// Reports a user of any server.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if the user is not known here.
    pub async fn report_user(
        &self,
        requester: &Requester,
        user_id: &UserId,
        complaint: Complaint,
    ) -> Result<(), RoomError> {
        let user_sn = self.interned.find_user(user_id.as_str()).await?;
        let missing = || RoomError::NotFound("This user is not known here.".to_owned());
        self.store(requester, Reported::User(user_sn.ok_or_else(missing)?), complaint).await
    }

    async fn store(&self, requester: &Requester, reported: Reported, complaint: Complaint) -> Result<(), RoomError> {
        let Complaint { reason, score } = complaint;
        if reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
            return Err(RoomError::Invalid(format!("reason: at most {MAX_REASON_BYTES} bytes")));
        }
        let spent = self.rate_limits.spend_by_user(LimitedAction::Report, requester)?;
        let received_at = self.clock.now();
        let report = NewReport { reported, reporter_sn: requester.user_sn, received_at, reason, score };
        spent.settle(self.database.add_report(report).await.map_err(RoomError::from))
    }

    /// A page of reports, for administrators.
    ///
    /// # Errors
    /// [`StorageError`] if they cannot be read.
    pub async fn page(&self, query: &ReportQuery) -> Result<ReportPage, StorageError> {
        let nothing = ReportPage { reports: Vec::new(), next: None, total: 0 };
        let mut filter = ReportFilter { kind: query.kind, reporter_sn: None, room_sn: None, user_sn: None };
        if let Some(user_id) = &query.reporter {
            let Some(user_sn) = self.interned.find_user(user_id).await? else { return Ok(nothing) };
            filter.reporter_sn = Some(user_sn);
        }
        if let Some(room_id) = &query.room_id {
            let Some(room_sn) = self.interned.find_room(room_id).await? else { return Ok(nothing) };
            filter.room_sn = Some(room_sn);
        }
        if let Some(user_id) = &query.user_id {
            let Some(user_sn) = self.interned.find_user(user_id).await? else { return Ok(nothing) };
            filter.user_sn = Some(user_sn);
        }
        let limit = query.limit.clamp(1, MAX_LISTED);
        let (found, total) = self.database.reports(&filter, query.is_newest_first, query.from, limit).await?;
        let end = query.from.saturating_add(i64::try_from(found.len()).unwrap_or(limit));
        let mut reports = Vec::with_capacity(found.len());
        for report in found {
            let labels = self.labels(&report).await?;
            reports.push((report, labels));
        }
        Ok(ReportPage { reports, next: (end < total).then_some(end), total })
    }

    /// One report of a kind, with the JSON of its event as far as that is stored.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn one(
        &self,
        kind: ReportKind,
        report_id: i64,
    ) -> Result<Option<(Report, RoomLabels, Option<Vec<u8>>)>, StorageError> {
        let Some(report) = self.database.report(kind, report_id).await? else { return Ok(None) };
        let labels = self.labels(&report).await?;
        let event = match &report.event {
            Some((event_sn, _)) => self.database.events(&[event_sn.0]).await?.pop(),
            None => None,
        };
        let json = event.map(|event| {
            let room_id = report.room.as_ref().map(|(_, room_id)| room_id.as_str());
            let reader = Reader { room_id, now: self.clock.now(), device_sn: None, bundles: None };
            let mut out = Vec::new();
            write_event(&mut out, &event, &reader, None);
            out
        });
        Ok(Some((report, labels, json)))
    }

    /// Removes a report. Returns whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove(&self, kind: ReportKind, report_id: i64) -> Result<bool, StorageError> {
        self.database.remove_report(kind, report_id).await
    }

    async fn labels(&self, report: &Report) -> Result<RoomLabels, StorageError> {
        let Some((room_sn, _)) = report.room else { return Ok(RoomLabels::default()) };
        Ok(RoomLabels {
            name: self.text(room_sn, "m.room.name", "name").await?,
            canonical_alias: self.text(room_sn, "m.room.canonical_alias", "alias").await?,
        })
    }

    /// A text in the room's state.
    async fn text(&self, room_sn: RoomSn, event_type: &str, key: &str) -> Result<Option<String>, StorageError> {
        let (type_sn, key_sn) = (self.interned.find_type(event_type).await?, self.interned.find_key("").await?);
        let Some((type_sn, key_sn)) = type_sn.zip(key_sn) else { return Ok(None) };
        let event = self.database.state_pdu(room_sn, type_sn, key_sn).await?;
        Ok(event.and_then(|event| {
            let content = member(&event.client_json, "content")?;
            Some(string_value(member(content, key)?)?.into_owned())
        }))
    }
}
