//! The database that others are copied from: a copy takes a quarter of what the migrations take.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use homeserver_core::random_string;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use storage::{Database, DatabaseOptions};

use crate::database::{connect, url_of};

/// What PostgreSQL answers when there is no such template.
const NO_SUCH_DATABASE: &str = "3D000";
/// Several programs with tests may find it missing at once; one makes it.
const LOCK: i64 = 0x7465_6d70;
/// The first version that can be told to copy files. That is half the work of writing every page to its log.
const COPIES_FILES_SINCE: u32 = 15_00_00;

/// Makes the database `name` with the newest schema, on the PostgreSQL server at the URL `server`.
///
/// # Panics
/// When the server refuses.
pub(crate) async fn copy(server: &str, name: &str) {
    let mut connection = connect(server).await;
    let template = template_name();
    let copies_files = connection.server_version_num().is_some_and(|version| version >= COPIES_FILES_SINCE);
    let strategy = if copies_files { "STRATEGY FILE_COPY" } else { "" };
    let statement = format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}"#);
    let mut copied = connection.execute(AssertSqlSafe(statement.clone())).await;
    let is_missing = |error: &sqlx::Error| {
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == NO_SUCH_DATABASE)
    };
    if copied.as_ref().is_err_and(is_missing) {
        make(server, &mut connection, &template).await;
        copied = connection.execute(AssertSqlSafe(statement.clone())).await;
    }
    copied.unwrap_or_else(|error| panic!("the test server refused `{statement}`: {error}"));
    // The work is done; how the connection ends does not matter.
    let _ = connection.close().await;
}

/// Of each schema its own, because the server may outlive a change of the migrations.
fn template_name() -> String {
    let mut hasher = DefaultHasher::new();
    storage::MIGRATIONS.hash(&mut hasher);
    format!("template_{:016x}", hasher.finish())
}

/// Makes the template, unless another program has made it while this one waited. It is complete when it has its name.
async fn make(server: &str, connection: &mut PgConnection, template: &str) {
    let made: Result<(), sqlx::Error> = async {
        sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
        let is_there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(template);
        if is_there.fetch_optional(&mut *connection).await?.is_none() {
            let unfinished = format!("unfinished_{}", random_string(16).to_lowercase());
            run(connection, format!(r#"CREATE DATABASE "{unfinished}" TEMPLATE template0"#)).await?;
            migrate(&url_of(server, &unfinished)).await;
            run(connection, format!(r#"ALTER DATABASE "{unfinished}" RENAME TO "{template}""#)).await?;
        }
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut *connection).await?;
        Ok(())
    }
    .await;
    made.unwrap_or_else(|error| panic!("the test server refused to make a template: {error}"));
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(statement)).await.map(drop)
}

async fn migrate(url: &str) {
    let opened = Database::open(&DatabaseOptions::new(url)).await;
    opened.unwrap_or_else(|error| panic!("the schema cannot be made: {error}")).close().await;
}
