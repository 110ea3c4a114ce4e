//! What can go wrong between the homeserver and its database.

use thiserror::Error;

/// A failed read or write.
#[derive(Clone, Debug, Error)]
pub enum StorageError {
    /// The database cannot be reached, or has no free connection in time. Worth trying again.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way. The writer has tried again, and is given this only while it does.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// A uniqueness or other constraint was violated.
    #[error("a constraint of the database was violated: {0}")]
    Constraint(String),
    /// The write took part in a transaction that did not commit, or the statement itself is at fault.
    #[error("the database refused a statement: {0}")]
    Statement(String),
    /// A stored value is not what the code expects.
    #[error("unexpected value in column {column}: {reason}")]
    Value {
        /// Index of the column in the row, from zero.
        column: usize,
        /// What was expected, and found.
        reason: String,
    },
    /// What is stored does not fit together.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The database's schema comes from a newer version of this program.
    #[error("the database has schema version {found}, newer than the {known} that this version knows")]
    SchemaTooNew {
        /// Version found in the database.
        found: i64,
        /// Newest version known to this binary.
        known: i64,
    },
    /// A lease under which something was to be written has gone to another node.
    #[error("another node has taken over: {0}")]
    LeaseLost(String),
    /// Another server runs on the database. The sentence says what to do.
    #[error("{0}")]
    InUse(String),
    /// The database is not one that this program can work with. The sentence says what to do.
    #[error("{0}")]
    Unusable(String),
    /// The database URL cannot be understood.
    #[error("{0}")]
    Url(String),
}

/// What PostgreSQL says of transactions that it could not order (`serialization_failure`) or that wait for each other
/// (`deadlock_detected`): the same again succeeds.
const CONFLICTS: [&str; 2] = ["40001", "40P01"];

impl StorageError {
    /// Whether trying again later may succeed without any change.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the whole transaction has failed, and not only the write that met this.
    pub fn is_of_transaction(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Constraint(error.to_string()),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Statement(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                // Classes 08 (connection), 53 (resources), 57 (operator intervention, such as a shutdown), 58 (the system below,
                // such as a disk with errors); 25P03: a transaction that was idle for too long, because its client was not heard of.
                if ["08", "53", "57", "58", "25P03"].iter().any(|class| code.starts_with(class)) {
                    Self::Unavailable(error.to_string())
                } else if CONFLICTS.contains(&code.as_str()) {
                    Self::Conflict(error.to_string())
                } else if code.starts_with("23") {
                    Self::Constraint(error.to_string())
                } else {
                    Self::Statement(format!("{error} ({code})"))
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            _ => Self::Statement(error.to_string()),
        }
    }
}
