//! Tells the observers of this process of everything that any process adds to the log, in the order of positions.
//!
//! Every transaction says which position was the last before it, so what is told is a chain. A transaction of this process is told
//! from memory as soon as it has committed, if all before it was told; otherwise others have written, and what they have written
//! down is read first. The lock of the log, which is held from the allocation of positions to the commit, sees to it that all of it can be
//! read by then.
//!
//! A position that nothing explains is a *gap*. It should not happen: rows that were removed while this process was suspended,
//! or a database that was restored under it. Nothing after a gap is told, because what is kept in memory would be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use homeserver_core::Position;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::reading::{self, WrittenBatch};
use super::{LogBatch, LogObserver, Writing};
use crate::StorageError;
use crate::domain::Entry;
use crate::readers::Readers;

/// Transactions of this process that can wait until what is before them is told.
const MAX_WAITING: usize = 1_024;
/// How long the writer waits until what others have written before it is read. After that it goes on, and the follower tells of it.
const WRITER_PATIENCE: Duration = Duration::from_secs(1);

/// This process has lost track of the log: it cannot find out what was written at some position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostLog {
    /// The last position that is known.
    pub known: Position,
    /// How long ago it was lost.
    pub lasts: Duration,
}

/// Tells the observers of this process.
pub(crate) struct Publisher<E> {
    /// The database's own, which closes it.
    readers: Weak<Readers>,
    /// The name of this process.
    node: Arc<str>,
    /// Whether what this process writes can be read.
    writing: Writing,
    /// Whether a gap stops it. What is no server keeps nothing in memory that a gap would make wrong.
    is_strict: bool,
    observers: RwLock<Observers<E>>,
    /// Transactions of this process, by their last position: from before their commit until they are told.
    own: Mutex<BTreeMap<Position, LogBatch<E>>>,
    /// Held by the one task that reads what others have written; the others wait for it and find it read. The writer does not need this
    /// lock to tell of its own commits.
    reading_turn: tokio::sync::Mutex<()>,
    /// Held while observers are told, so that they are told in the order of positions.
    telling_turn: Mutex<()>,
    lost: Mutex<Option<(Position, Instant)>>,
    /// Whether other servers may wait to be woken.
    has_others: AtomicBool,
    /// Rung when the writer waits for what others have written.
    pub(super) bell: Notify,
}

struct Observers<E> {
    all: Vec<Arc<dyn LogObserver<E>>>,
    /// Everything up to here was told to all of them.
    told: Position,
}

impl<E: Entry> Publisher<E> {
    /// Tells of everything after `position`.
    pub(crate) fn new(
        readers: &Arc<Readers>,
        node: Arc<str>,
        writing: Writing,
        position: Position,
        is_strict: bool,
    ) -> Self {
        Self {
            readers: Arc::downgrade(readers),
            node,
            writing,
            is_strict,
            observers: RwLock::new(Observers { all: Vec::new(), told: position }),
            own: Mutex::default(),
            reading_turn: tokio::sync::Mutex::default(),
            telling_turn: Mutex::default(),
            lost: Mutex::default(),
            has_others: AtomicBool::new(true),
            bell: Notify::new(),
        }
    }

    /// Tells the observer, made by `make`, of everything after the position that `make` is given.
    pub(crate) fn observe(&self, make: impl FnOnce(Position) -> Arc<dyn LogObserver<E>>) {
        let mut observers = self.observers.write();
        let observer = make(observers.told);
        observers.all.push(observer);
    }

    /// Everything up to here was told.
    pub(crate) fn told(&self) -> Position {
        self.observers.read().told
    }

    /// Whether there is a gap.
    pub(crate) fn lost(&self) -> Option<LostLog> {
        self.lost.lock().map(|(known, since)| LostLog { known, lasts: since.elapsed() })
    }

    /// The name of this process.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Whether other servers may wait to be woken.
    pub(crate) fn has_others(&self) -> bool {
        self.has_others.load(Ordering::Relaxed)
    }

    /// There are other servers, or there are none: then commits wake no node.
    pub(crate) fn note_others(&self, has_others: bool) {
        self.has_others.store(has_others, Ordering::Relaxed);
    }

    /// Whether this process writes down what it adds to the log.
    pub(crate) fn writing(&self) -> Writing {
        self.writing
    }

    /// This transaction of this process is about to be committed.
    pub(crate) fn expect(&self, batch: LogBatch<E>) {
        let mut own = self.own.lock();
        own.insert(batch.last, batch);
        if own.len() > MAX_WAITING {
            // They are written down, too.
            own.pop_first();
        }
    }

    /// The transaction that was expected was not committed.
    pub(crate) fn withdraw(&self, last: Position) {
        self.own.lock().remove(&last);
    }

    /// The transaction that was expected was committed: observers are told of it, and of what others have written before it.
    pub(crate) async fn committed(&self, last: Position) {
        if self.tell_own_if_next(last) {
            return;
        }
        // If it is not there any more, the one that reads what is written down was faster.
        let Some(before) = self.own.lock().get(&last).map(|batch| batch.before) else { return };
        let is_observed = self.is_strict || !self.observers.read().all.is_empty();
        if is_observed {
            match timeout(WRITER_PATIENCE, self.read_others(Some(before))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "what other processes have written cannot be read yet"),
                Err(_) => tracing::warn!("what other processes have written is not read in time"),
            }
        }
        if !self.is_strict {
            let _turn = self.telling_turn.lock();
            self.tell_own(last);
        } else if !self.tell_own_if_next(last) {
            self.bell.notify_one();
        }
    }

    /// Reads what others have written, and tells it. Returns up to where everything was told.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub(crate) async fn follow(&self) -> Result<Position, StorageError> {
        self.read_others(None).await?;
        Ok(self.told())
    }

    /// Reads what is written down, up to `until` if that is given, and tells it.
    async fn read_others(&self, until: Option<Position>) -> Result<(), StorageError> {
        let _turn = self.reading_turn.lock().await;
        let read = self.read_written(until).await;
        if matches!(read, Err(StorageError::Corrupt(_))) {
            self.note_gap();
        }
        read
    }

    async fn read_written(&self, until: Option<Position>) -> Result<(), StorageError> {
        loop {
            let after = self.told();
            if until.is_some_and(|until| until <= after) {
                return Ok(());
            }
            let next = reading::next(&*self.readers()?, after).await?;
            let mut wanted: Vec<WrittenBatch> = next.batches.into();
            if let Some(until) = until {
                wanted.retain(|batch| batch.last <= until);
            }
            let is_last = !next.is_cut || wanted.last().is_none_or(|last| until == Some(last.last));
            self.tell_batches(&wanted).await?;
            if is_last {
                if self.writing == Writing::Nothing && until.is_none() {
                    let _turn = self.telling_turn.lock();
                    self.tell_own_up_to(next.head);
                }
                // A log that has become shorter is another one.
                let is_shorter = next.head < after;
                self.note_end(until.unwrap_or(next.head), is_shorter);
                return Ok(());
            }
            if self.told() == after {
                self.note_gap();
                return Ok(());
            }
        }
    }

    fn readers(&self) -> Result<Arc<Readers>, StorageError> {
        self.readers.upgrade().ok_or_else(|| StorageError::Unavailable("the database is closed".to_owned()))
    }

    async fn tell_batches(&self, batches: &[WrittenBatch]) -> Result<(), StorageError> {
        let is_in_memory = |last| self.own.lock().contains_key(&last);
        // What is in memory need not be read.
        let (own, others): (Vec<_>, Vec<_>) =
            batches.iter().partition(|batch| *batch.node == *self.node && is_in_memory(batch.last));
        let own: BTreeSet<Position> = own.into_iter().map(|batch| batch.last).collect();
        let texts: Vec<&str> = others.iter().map(|batch| &*batch.entries).collect();
        let mut entries = E::decode_all(&*self.readers()?, &texts).await?.into_iter();
        let _turn = self.telling_turn.lock();
        for batch in batches {
            if self.writing == Writing::Nothing {
                self.tell_own_up_to(batch.before);
            }
            let is_own = own.contains(&batch.last);
            let entries = if is_own { Vec::new() } else { entries.next().unwrap_or_default() };
            let told = self.told();
            if batch.last <= told {
                // The writer has told of it while this was read.
                continue;
            }
            if told != batch.before && self.is_strict {
                break;
            }
            match is_own {
                true => self.tell_own(batch.last),
                false => self.tell(&entries, batch.last, true),
            }
        }
        Ok(())
    }

    /// Tells the transactions of this process that were not written down, if they are next. A later transaction proves that
    /// they were committed.
    fn tell_own_up_to(&self, until: Position) {
        while self.told() < until {
            let told = self.told();
            let next =
                self.own.lock().values().find(|batch| batch.before == told && batch.last <= until).map(|it| it.last);
            match next {
                Some(last) => self.tell_own(last),
                None => return,
            }
        }
    }

    /// Tells of a transaction of this process, if everything before it was told. Returns whether it was.
    fn tell_own_if_next(&self, last: Position) -> bool {
        let _turn = self.telling_turn.lock();
        let told = self.told();
        let is_next = self.own.lock().get(&last).is_some_and(|batch| batch.before == told);
        if is_next {
            self.tell_own(last);
        }
        is_next
    }

    fn tell_own(&self, last: Position) {
        let batch = self.own.lock().remove(&last);
        if let Some(batch) = batch {
            self.tell(&batch.entries, batch.last, false);
        }
    }

    fn tell(&self, entries: &[E], last: Position, is_of_others: bool) {
        let mut observers = self.observers.write();
        debug_assert!(!self.is_strict || last >= observers.told, "{last:?} is told after {:?}", observers.told);
        if !entries.is_empty() {
            if is_of_others {
                observers.all.iter().for_each(|observer| observer.committed_elsewhere(entries));
            }
            observers.all.iter().for_each(|observer| observer.committed(entries));
        }
        observers.told = observers.told.max(last);
        let told = observers.told;
        observers.all.iter().for_each(|observer| observer.told_up_to(told));
        drop(observers);
        // Transactions that were not committed after all have lost their positions to others.
        self.own.lock().retain(|own, _| *own > told);
    }

    /// All that could be read was told; the log ended at `end` when it was read.
    fn note_end(&self, end: Position, is_shorter: bool) {
        // The writer tells of what it has committed on SQLite, and may have told of more meanwhile.
        let is_explained = !is_shorter && (self.told() >= end || self.own.lock().contains_key(&end));
        if !self.is_strict || is_explained {
            if self.lost.lock().take().is_some() {
                tracing::info!(position = self.told().0, "this server follows the log again");
            }
            return;
        }
        self.note_gap();
    }

    fn note_gap(&self) {
        if !self.is_strict {
            return;
        }
        let told = self.told();
        let mut lost = self.lost.lock();
        if lost.is_none() {
            tracing::error!(
                position = told.0,
                "what was written after this position of the log is missing: this server answers no /sync until it is found; \
                 if that lasts, restart it"
            );
            *lost = Some((told, Instant::now()));
        }
    }
}
