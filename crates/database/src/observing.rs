//! Reports what happens in here, to be measured: statements, connections, commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{Span, debug_span};

use crate::StorageError;

/// Learns of what the database does, as it happens. Its methods must not block.
pub trait DatabaseObserver: Send + Sync {
    /// Where to report how long statements of a kind take, such as `SELECT accounts`. There are as many kinds as pairs of a
    /// verb and a table in the statements.
    fn statements(&self, operation: &str) -> StatementTimes;
    /// A read has got its connection, after this long.
    fn connection_acquired(&self, waited: Duration);
    /// A read got no connection in time.
    fn connection_timed_out(&self);
    /// This many writes were committed in one transaction.
    fn committed(&self, writes: usize, transaction: Duration, commit: Duration);
    /// A transaction of the writer failed.
    fn write_failed(&self);
}

/// Told how long a statement took.
pub type StatementTimes = Arc<dyn Fn(Duration) + Send + Sync>;

/// The connections and the queue of the writer at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolState {
    /// Connections for reading that are open.
    pub open: usize,
    /// The open connections that are not in use.
    pub idle: usize,
    /// How many may be open.
    pub max: usize,
    /// Reads that wait for one.
    pub waiting: usize,
    /// Writes that wait for the writer.
    pub queued_writes: usize,
}

/// A statement in the engine's form, with what is told of it.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    operation: &'static str,
    times: Option<StatementTimes>,
}

impl Statement {
    pub(crate) fn new(sql: &'static str, operation: &'static str, watch: &Watch) -> Self {
        let times = watch.observer.as_ref().map(|observer| observer.statements(operation));
        Self { sql, operation, times }
    }

    /// The span of one run. It has the text, in which there are no values, and not the parameters.
    pub(crate) fn span(&self) -> Span {
        debug_span!("statement", otel.name = self.operation, operation = self.operation, db.query.text = self.sql)
    }

    /// Measures until it is dropped.
    pub(crate) fn timer(&self) -> Option<StatementTimer<'_>> {
        self.times.as_ref().map(|times| StatementTimer { times, started: Instant::now() })
    }
}

pub(crate) struct StatementTimer<'a> {
    times: &'a StatementTimes,
    started: Instant,
}

impl Drop for StatementTimer<'_> {
    fn drop(&mut self) {
        (self.times)(self.started.elapsed());
    }
}

/// What the parts of an open database report to.
pub(crate) struct Watch {
    observer: Option<Arc<dyn DatabaseObserver>>,
    waiting: AtomicUsize,
    opened: Instant,
    /// Microseconds from `opened` to the last commit; 0 before the first.
    committed_us: AtomicU64,
}

impl Watch {
    pub(crate) fn new(observer: Option<Arc<dyn DatabaseObserver>>) -> Self {
        Self { observer, waiting: AtomicUsize::new(0), opened: Instant::now(), committed_us: AtomicU64::new(0) }
    }

    /// Waits for a connection.
    pub(crate) async fn acquire<T>(
        &self,
        acquiring: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let Some(observer) = &self.observer else { return acquiring.await };
        let started = Instant::now();
        let waiting = Waiting::new(&self.waiting);
        let acquired = acquiring.await;
        drop(waiting);
        match &acquired {
            Ok(_) => observer.connection_acquired(started.elapsed()),
            Err(_) => observer.connection_timed_out(),
        }
        acquired
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn committed(&self, writes: usize, transaction: Duration, commit: Duration) {
        let now_us = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.committed_us.store(now_us.max(1), Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.committed(writes, transaction, commit);
        }
    }

    pub(crate) fn write_failed(&self) {
        if let Some(observer) = &self.observer {
            observer.write_failed();
        }
    }

    /// How long ago the last commit was.
    pub(crate) fn last_commit(&self) -> Option<Duration> {
        match self.committed_us.load(Ordering::Relaxed) {
            0 => None,
            at_us => Some(self.opened.elapsed().saturating_sub(Duration::from_micros(at_us))),
        }
    }
}

/// Counts a waiting read, until it has its connection or gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a statement does, in two words: the verb, and the table that it is about first.
pub(crate) fn operation_of(sql: &str) -> String {
    let mut words = sql.split(|character: char| character.is_whitespace() || "(),;".contains(character));
    let verb = words.next().unwrap_or_default();
    let mut is_next = verb == "UPDATE";
    for word in words.filter(|word| !word.is_empty()) {
        let is_name = word.starts_with(|first: char| first.is_ascii_lowercase());
        if is_next && is_name {
            return format!("{verb} {word}");
        }
        is_next = matches!(word, "FROM" | "INTO" | "UPDATE");
    }
    verb.to_owned()
}

/// What a closure does, by the name of the function that it is written in.
pub(crate) fn writer_of(type_name: &'static str) -> &'static str {
    let function = type_name.trim_end_matches("::{{closure}}");
    // The parameters of a generic function have paths of their own.
    let path = function.split_once("<").filter(|(path, _)| !path.is_empty()).map_or(function, |(path, _)| path);
    let path = if path.ends_with("::") { function } else { path };
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_a_verb_and_the_first_table() {
        for (sql, operation) in [
            ("SELECT a FROM accounts JOIN users", "SELECT accounts"),
            ("SELECT MAX(x) FROM (SELECT y FROM events) AS e", "SELECT events"),
            ("INSERT INTO server_values (name) VALUES ($1)", "INSERT server_values"),
            ("UPDATE log_head SET position = position + 1", "UPDATE log_head"),
            ("DELETE FROM filters WHERE user_sn = $1", "DELETE filters"),
            ("WITH RECURSIVE r AS (SELECT 1 FROM event_edges) SELECT * FROM r", "WITH event_edges"),
            ("SELECT 1", "SELECT"),
            ("BEGIN IMMEDIATE", "BEGIN"),
            ("", ""),
        ] {
            assert_eq!(operation_of(sql), operation, "{sql}");
        }
    }

    fn name_of<T>(_: T) -> &'static str {
        writer_of(std::any::type_name::<T>())
    }

    struct Thing;

    impl Thing {
        fn create(&self) -> &'static str {
            name_of(async || {})
        }
    }

    #[test]
    fn a_closure_is_named_by_the_function_that_it_is_in() {
        fn generic<T>(_: T) -> &'static str {
            name_of(|| {})
        }
        assert_eq!(Thing.create(), "create");
        assert_eq!(generic(1), "generic");
        assert_eq!(
            writer_of("storage::rooms::<impl storage::database::Database>::create_room::{{closure}}"),
            "create_room"
        );
    }

    #[tokio::test]
    async fn a_read_that_gives_up_waiting_is_not_counted_any_more() {
        struct Nothing;
        impl DatabaseObserver for Nothing {
            fn statements(&self, _: &str) -> StatementTimes {
                Arc::new(|_| ())
            }
            fn connection_acquired(&self, _: Duration) {}
            fn connection_timed_out(&self) {}
            fn committed(&self, _: usize, _: Duration, _: Duration) {}
            fn write_failed(&self) {}
        }
        let watch = Watch::new(Some(Arc::new(Nothing)));
        {
            let mut waiting = Box::pin(watch.acquire(std::future::pending::<Result<(), _>>()));
            assert!(futures::poll!(&mut waiting).is_pending());
            assert_eq!(watch.waiting(), 1);
        }
        assert_eq!(watch.waiting(), 0);
        assert_eq!(watch.last_commit(), None);
        watch.committed(1, Duration::ZERO, Duration::ZERO);
        assert!(watch.last_commit().unwrap() < Duration::from_secs(60));
    }
}
