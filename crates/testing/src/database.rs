//! Databases that are made for one test and go with it.

use std::path::Path;

use homeserver_core::random_string;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;
use url::Url;

use crate::template;

/// Names the PostgreSQL server in which the tests make their databases; its user must be allowed to.
const ADDRESS_VARIABLE: &str = "SYNAPSE_RUST_TEST_POSTGRES";

/// A database without data, with a folder for what a server keeps beside it. Both are removed when it is dropped.
pub struct TestDatabase {
    url: String,
    folder: TempDir,
    on_postgres: Option<OnPostgres>,
}

impl TestDatabase {
    /// A database file that does not exist yet.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = new_folder();
        let url = format!("sqlite://{}", folder.path().join("homeserver.db").display());
        Self { url, folder, on_postgres: None }
    }

    /// A new database on the PostgreSQL server of the test run, which has the newest schema already.
    ///
    /// # Panics
    /// When there is no such server: a test that cannot run must not look like one that passed.
    pub async fn postgres() -> Self {
        let on_postgres = OnPostgres::named(address());
        template::copy(&on_postgres.server, &on_postgres.name).await;
        Self::of(on_postgres)
    }

    /// The same without any schema.
    ///
    /// # Panics
    /// When there is no such server.
    pub async fn empty_postgres() -> Self {
        Self::on(address()).await
    }

    /// A new database there whose texts are in another encoding than UTF-8.
    ///
    /// # Panics
    /// When there is no server, or it does not know the encoding.
    pub async fn postgres_in(encoding: &str) -> Self {
        Self::made_with(address(), &format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")).await
    }

    /// A new database on the PostgreSQL server at the URL `server`, without any schema.
    pub(crate) async fn on(server: String) -> Self {
        Self::made_with(server, "").await
    }

    async fn made_with(server: String, options: &str) -> Self {
        let on_postgres = OnPostgres::named(server);
        let name = &on_postgres.name;
        run(&on_postgres.server, format!(r#"CREATE DATABASE "{name}" TEMPLATE template0 {options}"#)).await;
        Self::of(on_postgres)
    }

    fn of(on_postgres: OnPostgres) -> Self {
        Self {
            url: url_of(&on_postgres.server, &on_postgres.name),
            folder: new_folder(),
            on_postgres: Some(on_postgres),
        }
    }

    /// What `database.url` is set to in a server on this database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this is PostgreSQL.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.on_postgres.is_some()
    }

    /// What `server.data_dir` is set to in a server on this database.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A database inside a server that outlives it.
struct OnPostgres {
    server: String,
    name: String,
}

impl OnPostgres {
    fn named(server: String) -> Self {
        Self { server, name: format!("test_{}", random_string(16).to_lowercase()) }
    }
}

impl Drop for OnPostgres {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            // A thread with a runtime of its own, because dropping happens inside the test's runtime.
            let removal = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let statement = format!(r#"DROP DATABASE IF EXISTS "{}" WITH (FORCE)"#, self.name);
                runtime.expect("a runtime can be built").block_on(run(&self.server, statement));
            });
            if removal.join().is_err() {
                eprintln!("the database {} was left behind on the test server", self.name);
            }
        });
    }
}

fn address() -> String {
    std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| {
        panic!("{ADDRESS_VARIABLE} is not set: run `cargo xtask test`, which starts a PostgreSQL server and sets it")
    })
}

/// Runs one statement, whose names are our own letters and digits.
async fn run(server: &str, statement: String) {
    let mut connection = connect(server).await;
    let result = connection.execute(AssertSqlSafe(statement.clone())).await;
    result.unwrap_or_else(|error| panic!("the test server refused `{statement}`: {error}"));
    // The work is done; how the connection ends does not matter.
    let _ = connection.close().await;
}

pub(crate) async fn connect(server: &str) -> PgConnection {
    let connection = PgConnection::connect(server).await;
    connection.unwrap_or_else(|error| panic!("cannot connect to the test server {server}: {error}"))
}

/// The URL of a database on the server at the URL `server`.
pub(crate) fn url_of(server: &str, name: &str) -> String {
    let mut url = Url::parse(server).expect("the address of the test server is a URL");
    url.set_path(name);
    url.into()
}

fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("synapse-rust-test-").tempdir().expect("a temporary folder can be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exists(server: &str, name: &str) -> bool {
        let mut connection = PgConnection::connect(server).await.unwrap();
        let query = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name);
        query.fetch_optional(&mut connection).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_postgresql_database_is_there_until_dropped_also_when_still_in_use() {
        let database = TestDatabase::postgres().await;
        let server = std::env::var(ADDRESS_VARIABLE).unwrap();
        let name = database.on_postgres.as_ref().unwrap().name.clone();
        let in_use = PgConnection::connect(database.url()).await.unwrap();
        assert!(exists(&server, &name).await);

        drop(database);
        assert!(!exists(&server, &name).await);
        drop(in_use);
    }

    async fn schema_version(database: &TestDatabase) -> i64 {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        let newest = sqlx::query_scalar("SELECT MAX(version) FROM schema_versions");
        newest.fetch_one(&mut connection).await.unwrap_or_default()
    }

    #[tokio::test]
    async fn a_copied_database_has_the_schema_that_a_server_would_make_in_an_empty_one() {
        let (copied, empty) = (TestDatabase::postgres().await, TestDatabase::empty_postgres().await);
        assert_eq!(schema_version(&empty).await, 0);
        let opened = storage::Database::open(&storage::DatabaseOptions::new(empty.url())).await.unwrap();
        opened.close().await;
        let newest = i64::try_from(storage::MIGRATIONS.len()).unwrap();
        assert_eq!((schema_version(&empty).await, schema_version(&copied).await), (newest, newest));
    }

    #[test]
    fn the_folder_goes_with_the_database() {
        let database = TestDatabase::sqlite();
        let folder = database.folder().to_owned();
        assert!(folder.is_dir());
        assert!(database.url().starts_with("sqlite:///"));
        drop(database);
        assert!(!folder.exists());
    }

    crate::on_both_databases! {
        async fn a_test_gets_the_database_that_it_is_named_after(db: TestDatabase) {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let engine = if db.is_postgres() { "postgres" } else { "sqlite" };
            assert!(db.url().starts_with(&format!("{engine}://")), "{engine} is at {}", db.url());
            assert!(name.ends_with(&format!("::{engine}")), "{name} got {engine}");
        }
    }
}
