//! What a job is at the moment.

use database::{Column, Row, Value};

use crate::StorageError;

/// The number of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub i64);

impl From<JobId> for Value<'_> {
    fn from(job_id: JobId) -> Self {
        Self::Int(Some(job_id.0))
    }
}

impl Column for JobId {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
        row.get(index).map(Self)
    }
}

/// What a job is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JobState {
    /// It waits for its time, or for a node to take it.
    Waiting,
    /// A node has taken it.
    Running,
    /// It is done.
    Finished,
    /// It failed too often, or for too long, or in a way that cannot be mended.
    GivenUp,
    /// An administrator does not want it done any more.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Finished, Self::GivenUp, Self::Cancelled];

    /// The number it is stored as.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Running => 1,
            Self::Finished => 2,
            Self::GivenUp => 3,
            Self::Cancelled => 4,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::GivenUp => "given_up",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more happens to such a job by itself.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Finished | Self::GivenUp | Self::Cancelled)
    }
}

impl Column for JobState {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
        decode(row.get(index)?, index)
    }
}

fn decode(code: i64, column: usize) -> Result<JobState, StorageError> {
    let state = JobState::ALL.into_iter().find(|state| state.code() == code);
    state.ok_or_else(|| StorageError::Value { column, reason: format!("{code} is no state of a job") })
}

/// How far a job is.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// How much there is to do; 0 if that is not known.
    pub total: u64,
    /// What it is about, as a sentence.
    pub note: Option<String>,
}

impl Progress {
    pub(super) fn done_code(&self) -> i64 {
        i64::try_from(self.done).unwrap_or(i64::MAX)
    }

    pub(super) fn total_code(&self) -> i64 {
        i64::try_from(self.total).unwrap_or(i64::MAX)
    }
}
