//! The row that a transaction adds to `log_entries`.

use std::fmt::Write as _;

use homeserver_core::{Clock as _, Position, SystemClock, Timestamp};

use super::LogBatch;
use crate::domain::Entry;
use crate::nul::escaped;
use crate::postgres::quoted;
use crate::{StorageError, Value, postgres_only};

/// One transaction, as it is written down.
pub(crate) struct LogRow {
    last: Position,
    before: Position,
    node: Box<str>,
    written_at: Timestamp,
    entries: String,
    wakes_others: bool,
}

impl LogRow {
    pub(crate) const INSERT: &str =
        "INSERT INTO log_entries (position, previous, node, written_at, entries) VALUES ($1, $2, $3, $4, $5)";

    /// What `node` adds to the log, and whether others are to be woken. The time is the system's: it only tells how old a row is.
    pub(crate) fn new<E: Entry>(batch: &LogBatch<E>, node: &str, wakes_others: bool) -> Result<Self, StorageError> {
        let LogBatch { before, last, entries } = batch;
        let entries = E::encode(entries)?;
        Ok(Self {
            last: *last,
            before: *before,
            node: node.into(),
            written_at: SystemClock.now(),
            entries,
            wakes_others,
        })
    }

    pub(crate) fn values(&self) -> [Value<'_>; 5] {
        let Self { last, before, node, written_at, entries, .. } = self;
        [(*last).into(), (*before).into(), node.into(), (*written_at).into(), entries.into()]
    }

    /// The insertion as one text, with what wakes other nodes, if there are any: so it costs no round trip of its own. It relies on
    /// the connection's `standard_conforming_strings`.
    pub(crate) fn insertion(&self) -> String {
        let Self { last, before, node, written_at, entries, .. } = self;
        let mut sql = String::with_capacity(entries.len() + 200);
        // Writing to a string cannot fail.
        let _ = write!(
            sql,
            "INSERT INTO log_entries (position, previous, node, written_at, entries) \
             VALUES ({}, {}, {}, {}, {})",
            last.0,
            before.0,
            quoted(node),
            written_at.0,
            quoted(&escaped(entries))
        );
        if self.wakes_others {
            sql.push_str("; ");
            sql.push_str(&postgres_only::notify(node));
        }
        sql
    }
}
