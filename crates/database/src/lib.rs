//! The two engines under the homeserver's statements: SQLite, embedded, and PostgreSQL.

mod backup;
#[doc(hidden)]
pub mod dialect;
mod error;
#[doc(hidden)]
pub mod nul;
#[doc(hidden)]
pub mod observing;
#[doc(hidden)]
pub mod options;
#[doc(hidden)]
pub mod postgres;
#[doc(hidden)]
pub mod postgres_only;
#[doc(hidden)]
pub mod postgres_readers;
#[doc(hidden)]
pub mod readers;
mod server_lock;
#[doc(hidden)]
pub mod sqlite;
#[doc(hidden)]
pub mod value;

pub use backup::back_up_sqlite;
pub use dialect::Engine;
pub use error::StorageError;
pub use observing::{DatabaseObserver, PoolState, StatementTimes};
pub use options::{DatabaseOptions, Synchronous};
pub use server_lock::ServerLock;
pub use value::{Column, Row, Value};
