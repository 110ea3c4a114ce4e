//! Statements on many rows at once.

use sqlx::postgres::PgArguments;
use tracing::Instrument as _;

use super::{Transaction, WriteConnection};
use crate::domain::Domain;
use crate::value::add_columns;
use crate::{Row, StorageError, Value, sqlite};

/// Most rows that one statement is given, where there may be very many.
pub const ROWS_AT_ONCE: usize = 2_000;

/// Rows for one table. All values of a column have the same type.
pub struct TableRows<'a> {
    /// The table, its columns and what happens on a conflict: a literal such as `"users (user_id) ON CONFLICT DO NOTHING"`.
    pub into: &'static str,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value<'a>>>,
}

impl<D: Domain> Transaction<D> {
    /// Inserts all rows: one statement on PostgreSQL, one prepared statement on SQLite, where a statement costs no round trip.
    /// `into` is a literal such as `"users (user_id) ON CONFLICT DO NOTHING"`. All values of a column have the same type.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn insert_all(&mut self, into: &'static str, rows: &[Vec<Value<'_>>]) -> Result<(), StorageError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let statement = self.dialect.insert(into, &column_types(first));
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
    pub async fn query_rows<T>(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value<'_>>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let statement = self.dialect.rows(sql, &column_types(first));
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

    /// Inserts rows into several tables, each named once: one statement and one round trip on PostgreSQL.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn insert_into_tables(&mut self, tables: &[TableRows<'_>]) -> Result<(), StorageError> {
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
                    targets.push((table.into, column_types(first)));
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
}

/// PostgreSQL's types of the columns of a batch, which are those of its first row.
fn column_types(first: &[Value<'_>]) -> Vec<&'static str> {
    let type_of = |value: &Value<'_>| match value {
        Value::Int(_) => "bigint",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytea",
        Value::Bool(_) => "boolean",
        Value::Ints(_) | Value::Texts(_) | Value::Blobs(_) => "unknown",
    };
    first.iter().map(type_of).collect()
}
