//! `/_synapse/admin/v1/background_jobs…`: what the server does in the background.

use std::sync::Arc;

use axum::extract::State;
use background::{BackgroundJobs, JobFilter, JobId, JobPage, JobRecord, JobState, JobsError, Priority};
use serde::{Deserialize, Serialize};

use crate::admin::error::{AdminError, AdminResult};
use crate::error::{ApiError, ApiResult};
use crate::extract::{Administrator, Json, Path, Query};

/// Jobs in a page when the client does not say.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Parameters {
    state: Option<String>,
    name: Option<String>,
    /// `next_token` of the page before.
    from: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Page {
    jobs: Vec<Job>,
    /// Where older jobs begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<i64>,
}

/// A job; times are in milliseconds since 1970.
#[derive(Serialize)]
pub(super) struct Job {
    id: i64,
    name: String,
    state: &'static str,
    priority: &'static str,
    attempts: i64,
    scheduled_ts: i64,
    due_ts: i64,
    started_ts: Option<i64>,
    finished_ts: Option<i64>,
    /// Since it was scheduled.
    age_ms: u64,
    progress: Progress,
    last_error: Option<String>,
    node: Option<String>,
}

#[derive(Serialize)]
struct Progress {
    done: u64,
    /// Null where it is not known.
    total: Option<u64>,
    note: Option<String>,
}

/// Jobs, newest first.
pub(super) async fn list(
    _: Administrator,
    State(jobs): State<Arc<BackgroundJobs>>,
    Query(parameters): Query<Parameters>,
) -> AdminResult<Json<Page>> {
    let state = parameters.state.as_deref().map(parse_state).transpose()?;
    let filter = JobFilter { state, name: parameters.name, before: parameters.from.map(JobId) };
    let JobPage { jobs: found, next } = jobs.list(&filter, parameters.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    let found = found.into_iter().map(|job| shown(&jobs, job)).collect();
    Ok(Json(Page { jobs: found, next_token: next.map(|job_id| job_id.0) }))
}

/// One job.
pub(super) async fn one(
    _: Administrator,
    State(jobs): State<Arc<BackgroundJobs>>,
    Path(job_id): Path<JobNumber>,
) -> AdminResult<Json<Job>> {
    Ok(Json(shown(&jobs, jobs.job(job_id.into()).await?)))
}

/// Has a job that was given up tried again.
pub(super) async fn retry(
    _: Administrator,
    State(jobs): State<Arc<BackgroundJobs>>,
    Path(job_id): Path<JobNumber>,
) -> AdminResult<Json<Job>> {
    Ok(Json(shown(&jobs, jobs.retry(job_id.into()).await?)))
}

/// Cancels a job that waits.
pub(super) async fn cancel(
    _: Administrator,
    State(jobs): State<Arc<BackgroundJobs>>,
    Path(job_id): Path<JobNumber>,
) -> AdminResult<Json<Job>> {
    Ok(Json(shown(&jobs, jobs.cancel(job_id.into()).await?)))
}

/// The number of a job in a path.
#[derive(Deserialize)]
#[serde(try_from = "&str")]
pub(super) struct JobNumber(i64);

impl TryFrom<&str> for JobNumber {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, &'static str> {
        text.parse().map(Self).map_err(|_| "the number of a job is expected")
    }
}

impl From<JobNumber> for JobId {
    fn from(number: JobNumber) -> Self {
        Self(number.0)
    }
}

fn parse_state(word: &str) -> ApiResult<JobState> {
    BackgroundJobs::state(word).ok_or_else(|| {
        ApiError::invalid_param("state: one of waiting, running, finished, given_up and cancelled is expected")
    })
}

fn shown(jobs: &BackgroundJobs, job: JobRecord) -> Job {
    let millis = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Job {
        id: job.job_id.0,
        state: job.state.as_str(),
        priority: Priority::from_code(job.priority).as_str(),
        attempts: job.attempts,
        scheduled_ts: job.scheduled_at.0,
        due_ts: job.due_at.0,
        started_ts: job.started_at.map(|at| at.0),
        finished_ts: job.finished_at.map(|at| at.0),
        age_ms: millis(jobs.now().since(job.scheduled_at)),
        progress: Progress {
            done: job.progress.done,
            total: Some(job.progress.total).filter(|total| *total > 0),
            note: job.progress.note,
        },
        last_error: job.last_error,
        node: job.node,
        name: job.name,
    }
}

impl From<JobsError> for AdminError {
    fn from(error: JobsError) -> Self {
        Self(match error {
            JobsError::NoSuchJob => ApiError::not_found(error.to_string()),
            JobsError::NotGivenUp(_) | JobsError::NotWaiting(_) | JobsError::AlreadyWaiting => {
                ApiError::bad_state(error.to_string())
            }
            JobsError::Storage(error) => error.into(),
        })
    }
}
