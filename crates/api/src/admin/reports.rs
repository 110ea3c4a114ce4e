//! `/_synapse/admin/v1/event_reports…`, `…/room_reports…`, `…/user_reports…`: what users have reported.
//!
//! <https://element-hq.github.io/synapse/latest/admin_api/event_reports.html>

use std::sync::Arc;

use axum::extract::State;
use rooms::reports::{Report, ReportKind, ReportQuery, Reports, RoomLabels};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Empty;
use crate::admin::error::AdminResult;
use crate::error::ApiError;
use crate::extract::{Administrator, Json, Path, Query};

/// Reports of a page when the administrator does not say.
const DEFAULT_LIMIT: i64 = 100;

#[derive(Deserialize)]
pub(super) struct Parameters {
    from: Option<i64>,
    limit: Option<i64>,
    #[serde(default)]
    dir: Direction,
    user_id: Option<String>,
    room_id: Option<String>,
    event_sender_user_id: Option<String>,
    target_user_id: Option<String>,
}

/// The number of a report in a path.
#[derive(Deserialize)]
#[serde(try_from = "&str")]
pub(super) struct ReportNumber(i64);

impl TryFrom<&str> for ReportNumber {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, &'static str> {
        text.parse().map(Self).map_err(|_| "the number of a report is expected")
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Direction {
    #[default]
    #[serde(rename = "b")]
    NewestFirst,
    #[serde(rename = "f")]
    OldestFirst,
}

/// Lists reports of events.
pub(super) async fn events(
    administrator: Administrator,
    parameters: Query<Parameters>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    list(ReportKind::Event, administrator, parameters, reports).await
}

/// Lists reports of rooms.
pub(super) async fn rooms(
    administrator: Administrator,
    parameters: Query<Parameters>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    list(ReportKind::Room, administrator, parameters, reports).await
}

/// Lists reports of users.
pub(super) async fn users(
    administrator: Administrator,
    parameters: Query<Parameters>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    list(ReportKind::User, administrator, parameters, reports).await
}

/// Shows a report of an event, with the event.
pub(super) async fn event(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    one(ReportKind::Event, administrator, report_id, reports).await
}

/// Shows a report of a room.
pub(super) async fn room(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    one(ReportKind::Room, administrator, report_id, reports).await
}

/// Shows a report of a user.
pub(super) async fn user(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    one(ReportKind::User, administrator, report_id, reports).await
}

/// Removes a report of an event.
pub(super) async fn remove_of_event(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Empty>> {
    remove(ReportKind::Event, administrator, report_id, reports).await
}

/// Removes a report of a room.
pub(super) async fn remove_of_room(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Empty>> {
    remove(ReportKind::Room, administrator, report_id, reports).await
}

/// Removes a report of a user.
pub(super) async fn remove_of_user(
    administrator: Administrator,
    report_id: Path<ReportNumber>,
    reports: State<Arc<Reports>>,
) -> AdminResult<Json<Empty>> {
    remove(ReportKind::User, administrator, report_id, reports).await
}

async fn list(
    kind: ReportKind,
    Administrator(_): Administrator,
    Query(parameters): Query<Parameters>,
    State(reports): State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    let (from, limit) = (parameters.from.unwrap_or(0), parameters.limit.unwrap_or(DEFAULT_LIMIT));
    for (key, figure) in [("from", from), ("limit", limit)] {
        if figure < 0 {
            return Err(ApiError::invalid_param(format!("{key}: expected a whole number that is not negative")).into());
        }
    }
    let query = ReportQuery {
        kind,
        reporter: parameters.user_id,
        room_id: parameters.room_id,
        user_id: parameters.event_sender_user_id.or(parameters.target_user_id),
        from,
        limit,
        is_newest_first: parameters.dir == Direction::NewestFirst,
    };
    let page = reports.page(&query).await?;
    let listed: Vec<Value> = page.reports.iter().map(|(report, labels)| entry(kind, report, labels).into()).collect();
    let key = match kind {
        ReportKind::Event => "event_reports",
        ReportKind::Room => "room_reports",
        ReportKind::User => "user_reports",
    };
    let mut answer = json!({ key: listed, "total": page.total });
    if let (Some(next), Some(answer)) = (page.next, answer.as_object_mut()) {
        answer.insert("next_token".to_owned(), next.into());
    }
    Ok(Json(answer))
}

async fn one(
    kind: ReportKind,
    Administrator(_): Administrator,
    Path(ReportNumber(report_id)): Path<ReportNumber>,
    State(reports): State<Arc<Reports>>,
) -> AdminResult<Json<Value>> {
    let (report, labels, event) = reports.one(kind, report_id).await?.ok_or_else(no_such_report)?;
    let mut entry = entry(kind, &report, &labels);
    if kind == ReportKind::Event {
        let json = event.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        entry.insert("event_json".to_owned(), json.unwrap_or_default());
    }
    Ok(Json(entry.into()))
}

async fn remove(
    kind: ReportKind,
    Administrator(_): Administrator,
    Path(ReportNumber(report_id)): Path<ReportNumber>,
    State(reports): State<Arc<Reports>>,
) -> AdminResult<Json<Empty>> {
    match reports.remove(kind, report_id).await? {
        true => Ok(Json(Empty {})),
        false => Err(no_such_report().into()),
    }
}

fn no_such_report() -> ApiError {
    ApiError::not_found("There is no report of this number")
}

/// A report in the form of Synapse; times are in milliseconds since 1970.
fn entry(kind: ReportKind, report: &Report, labels: &RoomLabels) -> Map<String, Value> {
    let mut entry = Map::new();
    let mut set = |key: &str, value: Value| drop(entry.insert(key.to_owned(), value));
    set("id", report.report_id.into());
    set("received_ts", report.received_at.0.into());
    set("user_id", report.reporter.clone().into());
    set("reason", report.reason.clone().into());
    if kind != ReportKind::User {
        set("room_id", report.room.as_ref().map(|(_, room_id)| room_id.clone()).into());
        set("name", labels.name.clone().into());
        set("canonical_alias", labels.canonical_alias.clone().into());
    }
    match kind {
        ReportKind::Event => {
            set("event_id", report.event.as_ref().and_then(|(_, event_id)| event_id.clone()).into());
            set("sender", report.user.clone().into());
            set("score", report.score.into());
        }
        ReportKind::User => set("target_user_id", report.user.clone().into()),
        ReportKind::Room => {}
    }
    entry
}
