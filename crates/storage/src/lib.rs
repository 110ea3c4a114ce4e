//! The homeserver's memory: one set of SQL texts over SQLite and PostgreSQL.
//!
//! * [`Database`] opens either engine. [`Database::query`] reads; [`Database::write`] runs a closure over a transaction.
//! * All writes go through one writer, which commits those that are waiting together (group commit).
//! * Events are handed over with [`Database::append`]; everything that follows from them is in the same transaction.
//! * What a transaction [publishes](Tx::publish) is told to the [`LogObserver`]s in the order of the log.
//! * [`Interned`] gives numbers to user IDs, room IDs, event types and state keys.
//!
//! Statements are written once, with PostgreSQL's `$1` parameters; the additions are in the table of the `dialect` module:
//!
//! ```text
//! db.query("SELECT event_sn FROM events WHERE room_sn IN LIST($1) LIMIT $2", params![&rooms, 10], |row| row.get::<EventSn>(0))
//! ```

mod append;
mod database;
mod dialect;
mod error;
mod events;
mod interning;
mod log;
mod membership;
mod migrations;
mod options;
mod postgres;
mod rooms;
mod sqlite;
mod transaction;
mod value;
mod writer;

pub use append::{Append, AppendOutcome, EventNumber, NewEvent, Step};
pub use database::Database;
pub use dialect::Engine;
pub use error::StorageError;
pub use events::{StoredEvent, StoredPdu};
pub use interning::Interned;
pub use log::{LogEntry, LogObserver};
pub use membership::{Membership, RoomMembership};
pub use options::{DatabaseOptions, Synchronous};
pub use rooms::{RoomHead, StateChange, StateEntry, undo};
pub use transaction::Tx;
pub use value::{Column, Row, Value};
