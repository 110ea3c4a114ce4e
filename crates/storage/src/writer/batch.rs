//! Running the writes of a batch in one transaction.
//!
//! Mostly all of them succeed, and run without looking back. When one fails, the transaction is rolled back and run again with
//! savepoints: a group of writes that fails is divided until those at fault are alone, and the others are committed together.

use std::cell::Cell;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use super::stage::Stage;
use super::write::{Job, PendingAppend, PendingFrequent, Write};
use crate::StorageError;
use crate::append::{self, Repetitions};
use crate::frequent;
use crate::transaction::Tx;

/// After this long a transaction takes no further closures: the rest of the batch is for the next one. Others wait for the
/// locks meanwhile, and one slow write must not use up the time of all.
const CLOSURES_TIME: Duration = Duration::from_secs(2);

/// What became of each write of a batch, in its order.
pub(super) type Outcomes = Vec<WriteOutcome>;

/// What became of a write in a transaction that was committed.
pub(super) enum WriteOutcome {
    /// It is committed.
    Done,
    /// It alone has failed.
    Failed(StorageError),
    /// There was no time for it.
    Postponed,
}

/// Whether the writes of a batch run without savepoints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All together: one that fails fails the transaction.
    Together,
    /// So that one that fails costs no other.
    Apart,
}

/// The writes of a batch by kind, each with its place in the batch.
#[derive(Default)]
struct Kinds<'a> {
    appends: Vec<(usize, &'a mut PendingAppend)>,
    frequent: Vec<(usize, &'a PendingFrequent)>,
    closures: Vec<(usize, &'a mut Box<dyn Job>)>,
}

impl<'a> Kinds<'a> {
    fn of(batch: &'a mut [Write]) -> Self {
        let mut kinds = Self::default();
        for (index, write) in batch.iter_mut().enumerate() {
            match write {
                Write::Append(pending) => kinds.appends.push((index, &mut **pending)),
                Write::Frequent(pending) => kinds.frequent.push((index, &**pending)),
                Write::Closure(job) => kinds.closures.push((index, job)),
                // It is no part of a batch.
                Write::Hold(_) => {}
            }
        }
        kinds
    }
}

/// How many positions of the log the typed writes of a batch take; `None` if they do not need the log at all.
pub(super) fn positions_of(batch: &[Write]) -> Option<i64> {
    let positions = batch.iter().filter_map(|write| match write {
        Write::Append(pending) => Some(pending.append.positions()),
        Write::Frequent(pending) => pending.write.positions(),
        Write::Closure(_) | Write::Hold(_) => None,
    });
    positions.reduce(|sum, more| sum.saturating_add(more))
}

/// Runs the batch, and tells in `stage` which closure is running.
pub(super) async fn run(
    tx: &mut Tx,
    batch: &mut [Write],
    mode: Mode,
    stage: &Cell<Stage>,
) -> Result<Outcomes, StorageError> {
    let mut outcomes: Outcomes = batch.iter().map(|_| WriteOutcome::Done).collect();
    let mut kinds = Kinds::of(batch);
    match mode {
        Mode::Together => {
            if !kinds.appends.is_empty() {
                run_appends(tx, &mut kinds.appends, Repetitions::Unlikely).await?;
            }
            run_frequent(tx, &kinds.frequent).await?;
            let until = Instant::now() + CLOSURES_TIME;
            let ran = run_closures(tx, &mut kinds.closures, until, stage).await.map_err(|(_, error)| error)?;
            postpone(&mut outcomes, kinds.closures.get(ran..));
        }
        Mode::Apart => {
            run_appends_apart(tx, &mut kinds.appends, &mut outcomes).await?;
            run_frequent_apart(tx, &kinds.frequent, &mut outcomes).await?;
            run_closures_apart(tx, &mut kinds.closures, &mut outcomes, stage).await?;
        }
    }
    Ok(outcomes)
}

fn postpone(outcomes: &mut Outcomes, rest: Option<&[(usize, &mut Box<dyn Job>)]>) {
    for (index, _) in rest.unwrap_or_default() {
        set(outcomes, *index, WriteOutcome::Postponed);
    }
}

fn set(outcomes: &mut Outcomes, index: usize, outcome: WriteOutcome) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = outcome;
    }
}

fn panicked<E>(_: E) -> StorageError {
    StorageError::Statement("a write ended with a panic".to_owned())
}

async fn run_appends(
    tx: &mut Tx,
    appends: &mut [(usize, &mut PendingAppend)],
    repetitions: Repetitions,
) -> Result<(), StorageError> {
    let mut appends: Vec<&mut PendingAppend> = appends.iter_mut().map(|(_, pending)| &mut **pending).collect();
    let run = AssertUnwindSafe(append::append_all(tx, &mut appends, repetitions)).catch_unwind();
    run.await.map_err(panicked).flatten()
}

async fn run_frequent(tx: &mut Tx, writes: &[(usize, &PendingFrequent)]) -> Result<(), StorageError> {
    let writes = frequent::write_all(tx, writes.iter().map(|(_, pending)| &pending.write));
    AssertUnwindSafe(writes).catch_unwind().await.map_err(panicked).flatten()
}

/// Runs closures one after the other until there is no more time, and tells how many; or which of them failed.
async fn run_closures(
    tx: &mut Tx,
    closures: &mut [(usize, &mut Box<dyn Job>)],
    until: Instant,
    stage: &Cell<Stage>,
) -> Result<usize, (usize, StorageError)> {
    for (number, (index, job)) in closures.iter_mut().enumerate() {
        if number > 0 && Instant::now() >= until {
            return Ok(number);
        }
        stage.set(Stage::Closure(*index));
        let ran = AssertUnwindSafe(job.run(tx)).catch_unwind().await;
        ran.map_err(panicked).flatten().map_err(|error| (number, error))?;
        stage.set(Stage::Typed);
    }
    Ok(closures.len())
}

/// Groups that are still to be run, the next one last. What fails is divided, so this ends.
struct Groups(Vec<Range<usize>>);

impl Groups {
    fn of(count: usize) -> Self {
        Self((count > 0).then_some(0..count).into_iter().collect())
    }

    /// Divides a group that failed, though it is not known whose fault that was. Tells who it was, if only one is in it.
    fn divide(&mut self, group: Range<usize>) -> Option<usize> {
        if group.len() <= 1 {
            return Some(group.start);
        }
        let middle = group.start + group.len() / 2;
        self.0.extend([middle..group.end, group.start..middle]);
        None
    }

    /// Leaves out the one that failed.
    fn leave_out(&mut self, group: Range<usize>, failed: usize) {
        let parts = [failed + 1..group.end, group.start..failed];
        self.0.extend(parts.into_iter().filter(|part| !part.is_empty()));
    }
}

async fn run_appends_apart(
    tx: &mut Tx,
    appends: &mut [(usize, &mut PendingAppend)],
    outcomes: &mut Outcomes,
) -> Result<(), StorageError> {
    let mut groups = Groups::of(appends.len());
    while let Some(group) = groups.0.pop() {
        let savepoint = tx.savepoint().await?;
        let Some(writes) = appends.get_mut(group.clone()) else { break };
        match run_appends(tx, writes, Repetitions::LookedUp).await {
            Ok(()) => tx.release_savepoint().await?,
            Err(error) if error.is_of_transaction() => return Err(error),
            Err(error) => {
                tx.roll_back_to(savepoint).await?;
                if let Some(failed) = groups.divide(group)
                    && let Some((index, _)) = appends.get(failed)
                {
                    set(outcomes, *index, WriteOutcome::Failed(error));
                }
            }
        }
    }
    Ok(())
}

async fn run_frequent_apart(
    tx: &mut Tx,
    writes: &[(usize, &PendingFrequent)],
    outcomes: &mut Outcomes,
) -> Result<(), StorageError> {
    let mut groups = Groups::of(writes.len());
    while let Some(group) = groups.0.pop() {
        let savepoint = tx.savepoint().await?;
        match run_frequent(tx, writes.get(group.clone()).unwrap_or_default()).await {
            Ok(()) => tx.release_savepoint().await?,
            Err(error) if error.is_of_transaction() => return Err(error),
            Err(error) => {
                tx.roll_back_to(savepoint).await?;
                if let Some(failed) = groups.divide(group)
                    && let Some((index, _)) = writes.get(failed)
                {
                    set(outcomes, *index, WriteOutcome::Failed(error));
                }
            }
        }
    }
    Ok(())
}

async fn run_closures_apart(
    tx: &mut Tx,
    closures: &mut [(usize, &mut Box<dyn Job>)],
    outcomes: &mut Outcomes,
    stage: &Cell<Stage>,
) -> Result<(), StorageError> {
    let until = Instant::now() + CLOSURES_TIME;
    let mut groups = Groups::of(closures.len());
    while let Some(group) = groups.0.pop() {
        let Some(writes) = closures.get_mut(group.clone()) else { break };
        if Instant::now() >= until {
            postpone(outcomes, Some(writes));
            continue;
        }
        let savepoint = tx.savepoint().await?;
        match run_closures(tx, writes, until, stage).await {
            Ok(ran) => {
                tx.release_savepoint().await?;
                postpone(outcomes, writes.get(ran..));
            }
            Err((_, error)) if error.is_of_transaction() => return Err(error),
            Err((number, error)) => {
                tx.roll_back_to(savepoint).await?;
                if let Some((index, _)) = writes.get(number) {
                    set(outcomes, *index, WriteOutcome::Failed(error));
                }
                let failed = group.start + number;
                groups.leave_out(group, failed);
            }
        }
    }
    Ok(())
}
