//! Numbered, forward-only changes of the schema, embedded in the binary and the same for both engines.

use sqlx::{Acquire as _, Executor as _, PgPool};

use crate::dialect::Dialect;
use crate::postgres::PLAN_AS_USUAL;
use crate::writer::WriterSource;
use crate::{StorageError, postgres_only};

/// The migrations in their order; the first is number 1.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_foundation.sql"),
    include_str!("migrations/0002_room_graph.sql"),
    include_str!("migrations/0003_jobs.sql"),
    include_str!("migrations/0004_rate_limit_overrides.sql"),
    include_str!("migrations/0005_unread.sql"),
    include_str!("migrations/0006_email.sql"),
    include_str!("migrations/0007_membership_changes.sql"),
    include_str!("migrations/0008_typing.sql"),
    include_str!("migrations/0009_presence.sql"),
    include_str!("migrations/0010_membership_changes_by_room.sql"),
    include_str!("migrations/0011_media.sql"),
    include_str!("migrations/0012_redacted_events.sql"),
    include_str!("migrations/0013_people.sql"),
    include_str!("migrations/0014_thumbnail_sizes.sql"),
    include_str!("migrations/0015_what_is_looked_up.sql"),
    include_str!("migrations/0016_signing_keys.sql"),
    include_str!("migrations/0017_accounts.sql"),
    include_str!("migrations/0018_nodes.sql"),
    include_str!("migrations/0019_encryption.sql"),
];

/// The last schema of the versions that allowed one server on a database.
const LAST_OF_ONE_SERVER: i64 = 17;

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)";
const NEWEST: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_versions";

/// Brings the schema to the newest version, each step in a transaction of its own.
pub(crate) async fn migrate(source: &mut WriterSource, dialect: &Dialect) -> Result<(), StorageError> {
    match source {
        WriterSource::Sqlite(Some(connection)) => migrate_sqlite(connection, dialect),
        WriterSource::Sqlite(None) => Ok(()),
        WriterSource::Postgres(pool) => migrate_postgres(pool, dialect).await,
    }
}

/// The migrations after version `found`, with their numbers.
fn missing(found: i64) -> Result<impl Iterator<Item = (i64, &'static str)>, StorageError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StorageError::SchemaTooNew { found, known });
    }
    Ok((1..).zip(MIGRATIONS.iter().copied()).filter(move |(version, _)| *version > found))
}

fn migrate_sqlite(connection: &mut rusqlite::Connection, dialect: &Dialect) -> Result<(), StorageError> {
    connection.execute_batch(CREATE_TABLE)?;
    let found = connection.query_row(NEWEST, [], |row| row.get(0))?;
    for (version, sql) in missing(found)? {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have done it while this one waited for the lock.
        let newest: i64 = transaction.query_row(NEWEST, [], |row| row.get(0))?;
        if newest < version {
            transaction.execute_batch(&dialect.migration(sql))?;
            transaction.execute("INSERT INTO schema_versions (version) VALUES (?1)", [version])?;
        }
        transaction.commit()?;
    }
    Ok(())
}

async fn migrate_postgres(pool: &PgPool, dialect: &Dialect) -> Result<(), StorageError> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    postgres_only::lock_migrations(&mut transaction).await?;
    transaction.execute(sqlx::raw_sql(PLAN_AS_USUAL)).await?;
    transaction.execute(sqlx::raw_sql(CREATE_TABLE)).await?;
    let found: i64 = sqlx::query_scalar(NEWEST).fetch_one(&mut *transaction).await?;
    if found <= LAST_OF_ONE_SERVER && postgres_only::has_earlier_server(&mut transaction).await? {
        return Err(StorageError::InUse(
            "a server of an earlier version runs on it, beside which no other one can run: stop that one first"
                .to_owned(),
        ));
    }
    for (version, sql) in missing(found)? {
        transaction.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(dialect.migration(sql)))).await?;
        sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}
