//! The two engines under the homeserver's statements: SQLite, embedded, and PostgreSQL.
//!
//! Nothing in here knows what the tables hold. A [`Domain`] says what the engines have to know of the statements that run on them; the
//! crate `storage` is the one that a server has. Begin with [`OpenDatabase`], which reads and takes writes, and [`Transaction`], on
//! which a write runs.
//!
//! * [`OpenDatabase::query`] reads, in place on SQLite, in one round trip on PostgreSQL. [`OpenDatabase::write`] runs a closure over a
//!   transaction.
//! * All writes go through one writer, a thread that takes what is waiting and commits it together (group commit). Appends and frequent
//!   writes are data, which the domain writes with a few statements for all of a batch; closures run one after the other.
//! * What a transaction [publishes](Transaction::publish) is told to every [`LogObserver`] in the order of the log. Other processes on
//!   the same database read it from the table `log_entries`, in which each process writes down what it adds.
//! * What the writer remembers from one transaction to the next is a [`Memory`], which follows the transaction: back to a savepoint,
//!   back to the beginning, forgotten when another process has moved the log.
//! * [`ServerLock`] is the right to run a server on a SQLite database, which one process at a time has.
//!
//! Statements are written once, with PostgreSQL's `$1` parameters; the additions are in the table of the `dialect` module, and what works
//! only on PostgreSQL itself is in `postgres_only`:
//!
//! ```text
//! db.query("SELECT event_sn FROM events WHERE room_sn IN LIST($1) LIMIT $2", params![&rooms, 10], |row| row.get::<EventSn>(0))
//! ```

mod backup;
mod database;
mod dialect;
mod domain;
mod error;
mod log;
mod migrations;
mod nul;
mod observing;
mod options;
mod postgres;
mod postgres_only;
mod postgres_readers;
mod readers;
mod row;
mod server_lock;
mod sqlite;
mod transaction;
mod value;
mod writer;

pub use backup::back_up_sqlite;
pub use database::{AppendReceiver, OpenDatabase, Opener};
pub use dialect::Engine;
pub use domain::{Domain, Entry, Memory, Repetitions, Schema};
pub use error::StorageError;
pub use log::{LogObserver, LostLog};
pub use observing::{DatabaseObserver, PoolState, StatementTimes};
pub use options::{DatabaseOptions, Synchronous};
pub use postgres::connect_postgres;
pub use readers::Readers;
pub use row::{Column, Row};
pub use server_lock::ServerLock;
pub use transaction::{ROWS_AT_ONCE, TableRows, Transaction};
pub use value::Value;
pub use writer::hold::LogHold;
