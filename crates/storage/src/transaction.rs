//! A write in progress.

mod locks;
mod savepoints;

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{Position, RoomSn};
use room_engine::auth_chain::{ChainCover, NewRows};
use sqlx::postgres::PgArguments;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tracing::Instrument as _;

use crate::append::Head;
use crate::append::unread::{ContinuedTotals, KnownTotals};
use crate::dialect::{Dialect, Engine};
use crate::known_rooms::{KnownRooms, WriterShare};
use crate::log::{Batch, LogEntry, LogRow};
use crate::state_chunks::{ChunkCache, ChunkView, WrittenState};
use crate::value::{Row, Value, add_columns};
use crate::{StorageError, params, postgres, sqlite};

/// The transaction of a batch of writes. What is said to [`Tx::publish`] becomes visible when, and only if, it commits.
pub struct Tx {
    connection: WriteConnection,
    dialect: Arc<Dialect>,
    published: Vec<LogEntry>,
    /// Whether there are new jobs, of which those who run jobs are told.
    has_scheduled_jobs: bool,
    reserved: std::ops::Range<i64>,
    /// Whether no other process can take positions of the log before the transaction has ended.
    holds_log: bool,
    known: KnownRooms,
    chunks: ChunkView,
    /// The states of rooms that become current with the commit.
    written_states: Vec<(RoomSn, WrittenState)>,
}

pub(crate) enum WriteConnection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<PgConnection>),
}

/// Rows that are given to one statement, where there may be very many.
pub(crate) const ROWS_AT_ONCE: usize = 2_000;

/// Rows for one table. `into` is a literal such as `"users (user_id) ON CONFLICT DO NOTHING"`. All values of a column have
/// the same type.
pub(crate) struct TableRows<'a> {
    pub(crate) into: &'static str,
    pub(crate) rows: Vec<Vec<Value<'a>>>,
}

impl Tx {
    pub(crate) fn new(
        connection: WriteConnection,
        dialect: Arc<Dialect>,
        chunks: Arc<ChunkCache>,
        share: Arc<WriterShare>,
    ) -> Self {
        let (known, chunks) = (KnownRooms::new(share), ChunkView::new(chunks));
        Self {
            connection,
            dialect,
            published: Vec::new(),
            has_scheduled_jobs: false,
            reserved: 0..0,
            holds_log: false,
            known,
            chunks,
            written_states: Vec::new(),
        }
    }

    pub(crate) fn chunks(&self) -> &ChunkView {
        &self.chunks
    }

    pub(crate) fn chunks_mut(&mut self) -> &mut ChunkView {
        &mut self.chunks
    }

    /// The end of a room, if it is known without asking. Positions have to be reserved first.
    pub(crate) fn known_head(&self, room_sn: RoomSn) -> Option<Head> {
        self.known.head(room_sn)
    }

    /// Keeps the ends of rooms for the transactions that follow.
    pub(crate) fn remember_heads(&mut self, heads: HashMap<RoomSn, Head>) {
        let changed = heads.iter().filter_map(|(room_sn, head)| Some((*room_sn, head.written_state()?)));
        self.written_states.extend(changed);
        let settled = heads.into_iter().filter_map(|(room_sn, head)| Some((room_sn, head.settled()?)));
        self.known.add_heads(settled);
    }

    /// The index of auth chains as far as it is in memory, to be given back with [`Tx::keep_auth_chains`]. Positions have
    /// to be reserved first.
    pub(crate) fn take_auth_chains(&mut self) -> ChainCover {
        std::mem::take(self.known.auth_chains())
    }

    pub(crate) fn keep_auth_chains(&mut self, auth_chains: ChainCover) {
        *self.known.auth_chains() = auth_chains;
    }

    /// Events have been put into the index of auth chains, as far as it is in memory.
    pub(crate) fn has_indexed(&mut self, rows: &NewRows) {
        self.known.has_indexed(rows);
    }

    /// What is in memory of the totals of unread events, to be given back with [`Tx::keep_unread_totals`]. Positions have to
    /// be reserved first.
    pub(crate) fn take_unread_totals(&mut self) -> KnownTotals {
        std::mem::take(self.known.unread_totals())
    }

    pub(crate) fn keep_unread_totals(&mut self, unread_totals: KnownTotals) {
        *self.known.unread_totals() = unread_totals;
    }

    /// Totals of unread events have been continued in memory.
    pub(crate) fn has_continued(&mut self, totals: ContinuedTotals) {
        self.known.has_continued(totals);
    }

    pub(crate) fn engine(&self) -> Engine {
        match self.connection {
            WriteConnection::Sqlite(_) => Engine::Sqlite,
            WriteConnection::Postgres(_) => Engine::Postgres,
        }
    }

    /// Forgets what is known of rooms, because the transaction changes it in another way than by appending.
    pub(crate) fn forget_rooms(&mut self) {
        self.known.clear();
    }

    fn has_reserved(&mut self, last: i64, count: i64) {
        self.holds_log = true;
        self.known.has_reserved(last, count);
        self.reserved = last - count + 1..last + 1;
    }

    /// Runs a statement and maps every row of its answer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub async fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => span.in_scope(|| sqlite::query(connection, sql, params, map)),
            WriteConnection::Postgres(connection) => {
                postgres::query(&mut **connection, sql, params, map).instrument(span).await
            }
        }
    }

    /// Runs a statement whose answer has at most one row of interest: the first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or the row is not as expected.
    pub async fn query_optional<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        Ok(self.query(sql, params, map).await?.into_iter().next())
    }

    /// Runs a statement and tells how many rows it changed.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, StorageError> {
        let statement = self.dialect.statement(sql);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => span.in_scope(|| sqlite::execute(connection, sql, params)),
            WriteConnection::Postgres(connection) => postgres::execute(connection, sql, params).instrument(span).await,
        }
    }

    /// Inserts all rows: one statement on PostgreSQL, one prepared statement on SQLite, where a statement costs no round trip.
    /// `into` is a literal such as `"users (user_id) ON CONFLICT DO NOTHING"`. All values of a column have the same type.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn insert_all(&mut self, into: &'static str, rows: &[Vec<Value<'_>>]) -> Result<(), StorageError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let types: Vec<_> = first.iter().map(column_type).collect();
        let statement = self.dialect.insert(into, &types);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => {
                let _entered = span.entered();
                let mut statement = connection.prepare_cached(sql)?;
                for row in rows {
                    statement.execute(rusqlite::params_from_iter(row))?;
                }
            }
            WriteConnection::Postgres(connection) => {
                let mut arguments = PgArguments::default();
                add_columns(&mut arguments, rows)?;
                sqlx::query_with(sql, arguments).execute(&mut **connection).instrument(span).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement with `ROWS(…)` on all rows, and maps every row of its answer: one statement on PostgreSQL, one prepared
    /// statement on SQLite, where a statement costs no round trip. All values of a column have the same type.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub(crate) async fn query_rows<T>(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value<'_>>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let types: Vec<_> = first.iter().map(column_type).collect();
        let statement = self.dialect.rows(sql, &types);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => {
                let _entered = span.entered();
                let mut found = Vec::new();
                for row in rows {
                    found.extend(sqlite::query(connection, sql, row, &mut map)?);
                }
                Ok(found)
            }
            WriteConnection::Postgres(connection) => {
                let mut arguments = PgArguments::default();
                add_columns(&mut arguments, rows)?;
                let found = sqlx::query_with(sql, arguments).fetch_all(&mut **connection).instrument(span).await?;
                found.iter().map(|row| map(&Row::Postgres(row))).collect()
            }
        }
    }

    /// As [`Tx::query_rows`], for a statement without an answer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub(crate) async fn execute_rows(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value<'_>>],
    ) -> Result<(), StorageError> {
        self.query_rows(sql, rows, |_| Ok(())).await.map(drop)
    }

    /// Inserts rows into several tables, each named once: one statement and one round trip on PostgreSQL.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub(crate) async fn insert_into_tables(&mut self, tables: &[TableRows<'_>]) -> Result<(), StorageError> {
        match &mut self.connection {
            WriteConnection::Sqlite(_) => {
                for table in tables {
                    self.insert_all(table.into, &table.rows).await?;
                }
            }
            WriteConnection::Postgres(connection) => {
                let mut arguments = PgArguments::default();
                let mut targets = Vec::with_capacity(tables.len());
                for table in tables {
                    let Some(first) = table.rows.first() else { continue };
                    targets.push((table.into, first.iter().map(column_type).collect()));
                    add_columns(&mut arguments, &table.rows)?;
                }
                if !targets.is_empty() {
                    let statement = self.dialect.insert_into_tables(&targets);
                    let _timer = statement.timer();
                    let insert = sqlx::query_with(statement.sql, arguments).execute(&mut **connection);
                    insert.instrument(statement.span()).await?;
                }
            }
        }
        Ok(())
    }

    /// The next position in the log. Positions become visible in order, when the transaction commits.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn next_position(&mut self) -> Result<Position, StorageError> {
        if let Some(reserved) = self.reserved.next() {
            return Ok(Position(reserved));
        }
        self.reserve_positions(1).await?;
        self.reserved.next().map(Position).ok_or_else(|| StorageError::Statement("no position was reserved".to_owned()))
    }

    /// Takes `count` positions at once for the calls of [`Tx::next_position`] that follow. The row of `log_head` stays
    /// locked until the commit, so that no other node allocates a position in between.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn reserve_positions(&mut self, count: i64) -> Result<(), StorageError> {
        if self.reserved.end - self.reserved.start >= count {
            return Ok(());
        }
        let sql = "UPDATE log_head SET position = position + $1 RETURNING position";
        let last = self.query_optional(sql, params![count], |row| row.get::<i64>(0)).await?;
        let last = last.ok_or_else(|| StorageError::Statement("table log_head is empty".to_owned()))?;
        self.has_reserved(last, count);
        Ok(())
    }

    /// The last position that was reserved by this transaction.
    pub(crate) fn last_reserved(&self) -> Position {
        Position(self.known.position())
    }

    /// Makes `entry` visible to those who follow the log, once the transaction has committed.
    pub fn publish(&mut self, entry: LogEntry) {
        self.published.push(entry);
    }

    pub(crate) fn note_scheduled_job(&mut self) {
        self.has_scheduled_jobs = true;
    }

    /// Whether the transaction, which has committed, has scheduled jobs.
    pub(crate) fn has_scheduled_jobs(&self) -> bool {
        self.has_scheduled_jobs
    }

    /// Begins, and reserves `positions` of the log, if it says how many: on PostgreSQL both in one round trip. None at all can
    /// be reserved, too, which only keeps others from it.
    pub(crate) async fn begin(&mut self, positions: Option<i64>) -> Result<(), StorageError> {
        self.published.clear();
        self.has_scheduled_jobs = false;
        self.reserved = 0..0;
        self.holds_log = false;
        self.known.begin();
        self.chunks.forget_own();
        self.written_states.clear();
        match &mut self.connection {
            WriteConnection::Sqlite(_) => self.execute("BEGIN IMMEDIATE", &[]).await.map(drop),
            WriteConnection::Postgres(connection) => {
                let Some(positions) = positions else { return raw(connection, "BEGIN").await };
                let begin = format!("BEGIN; UPDATE log_head SET position = position + {positions} RETURNING position");
                let row = connection.fetch_one(sqlx::raw_sql(sqlx::AssertSqlSafe(begin))).await?;
                let last: i64 = row.try_get(0)?;
                self.has_reserved(last, positions);
                Ok(())
            }
        }
    }

    /// What the transaction adds to the log, in the order of positions; `None` if it has taken none and has nothing to tell.
    pub(crate) fn log_batch(&mut self) -> Option<Batch> {
        let mut entries = std::mem::take(&mut self.published);
        entries.sort_by_key(LogEntry::position);
        let told = || entries.last().map(|last| (last.position().0, last.position().0));
        let (before, last) = self.known.taken_by_transaction().or_else(told)?;
        Some(Batch { before: Position(before), last: Position(last), entries })
    }

    /// Commits, and writes down `row` with that, if this process does so: on PostgreSQL both in one round trip.
    pub(crate) async fn commit(&mut self, row: Option<&LogRow>) -> Result<(), StorageError> {
        match &mut self.connection {
            WriteConnection::Sqlite(_) => {
                if let Some(row) = row {
                    self.execute(LogRow::INSERT, &row.values()).await?;
                }
                self.execute("COMMIT", &[]).await?;
            }
            WriteConnection::Postgres(connection) => match row {
                Some(row) => {
                    let commit = sqlx::AssertSqlSafe(format!("{}; COMMIT", row.insertion()));
                    connection.execute(sqlx::raw_sql(commit)).await?;
                }
                None => raw(connection, "COMMIT").await?,
            },
        }
        for (room_sn, state) in self.written_states.drain(..) {
            self.chunks.remember_written(room_sn, state);
        }
        Ok(())
    }

    /// Ends the connection in an orderly way, if it has not ended already.
    pub(crate) async fn close(self) {
        if let WriteConnection::Postgres(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the writer's connection was already closed");
        }
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), StorageError> {
        self.published.clear();
        self.known.roll_back();
        match &mut self.connection {
            WriteConnection::Sqlite(connection) if connection.is_autocommit() => Ok(()),
            WriteConnection::Sqlite(_) => self.execute("ROLLBACK", &[]).await.map(drop),
            WriteConnection::Postgres(connection) => raw(connection, "ROLLBACK").await,
        }
    }
}

async fn raw(connection: &mut PgConnection, sql: &'static str) -> Result<(), StorageError> {
    connection.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}

fn column_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Int(_) => "bigint",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytea",
        Value::Bool(_) => "boolean",
        Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => "unknown",
    }
}
