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
use crate::domain::{Domain, Repetitions};

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

/// A closure with its index in the batch.
type IndexedJob<'a, D> = (usize, &'a mut Box<dyn Job<D>>);

/// The writes of a batch by kind, each with its index in the batch.
struct WritesByKind<'a, D: Domain> {
    appends: Vec<(usize, &'a mut PendingAppend<D>)>,
    frequent: Vec<(usize, &'a PendingFrequent<D>)>,
    closures: Vec<IndexedJob<'a, D>>,
}

impl<'a, D: Domain> WritesByKind<'a, D> {
    fn of(batch: &'a mut [Write<D>]) -> Self {
        let mut kinds = Self { appends: Vec::new(), frequent: Vec::new(), closures: Vec::new() };
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
pub(super) fn positions_of<D: Domain>(batch: &[Write<D>]) -> Option<i64> {
    let positions = batch.iter().filter_map(|write| match write {
        Write::Append(pending) => Some(D::positions_of_append(&pending.append)),
        Write::Frequent(pending) => D::positions_of_frequent(&pending.write),
        Write::Closure(_) | Write::Hold(_) => None,
    });
    positions.reduce(|sum, more| sum.saturating_add(more))
}

/// Runs the batch, and tells in `stage` which closure is running.
pub(super) async fn run<D: Domain>(
    tx: &mut D::Tx,
    batch: &mut [Write<D>],
    mode: Mode,
    stage: &Cell<Stage>,
) -> Result<Outcomes, StorageError> {
    let mut outcomes: Outcomes = batch.iter().map(|_| WriteOutcome::Done).collect();
    let mut kinds = WritesByKind::of(batch);
    match mode {
        Mode::Together => {
            if !kinds.appends.is_empty() {
                run_appends::<D>(tx, &mut kinds.appends, Repetitions::Unlikely).await?;
            }
            run_frequent::<D>(tx, &kinds.frequent).await?;
            let until = Instant::now() + CLOSURES_TIME;
            let ran = run_closures::<D>(tx, &mut kinds.closures, until, stage).await.map_err(|(_, error)| error)?;
            postpone::<D>(&mut outcomes, kinds.closures.get(ran..));
        }
        Mode::Apart => {
            run_appends_apart::<D>(tx, &mut kinds.appends, &mut outcomes).await?;
            run_frequent_apart::<D>(tx, &kinds.frequent, &mut outcomes).await?;
            run_closures_apart::<D>(tx, &mut kinds.closures, &mut outcomes, stage).await?;
        }
    }
    Ok(outcomes)
}

fn postpone<D: Domain>(outcomes: &mut Outcomes, rest: Option<&[IndexedJob<'_, D>]>) {
    for (index, _) in rest.unwrap_or_default() {
        set(outcomes, *index, WriteOutcome::Postponed);
    }
}

fn set(outcomes: &mut Outcomes, index: usize, outcome: WriteOutcome) {
    if let Some(of_write) = outcomes.get_mut(index) {
        *of_write = outcome;
    }
}

fn panicked<E>(_: E) -> StorageError {
    StorageError::Statement("a write ended with a panic".to_owned())
}

async fn run_appends<D: Domain>(
    tx: &mut D::Tx,
    appends: &mut [(usize, &mut PendingAppend<D>)],
    repetitions: Repetitions,
) -> Result<(), StorageError> {
    let all: Vec<&D::Append> = appends.iter().map(|(_, pending)| &pending.append).collect();
    let run = AssertUnwindSafe(D::append_all(tx, &all, repetitions)).catch_unwind();
    let outcomes = run.await.map_err(panicked).flatten()?;
    debug_assert_eq!(outcomes.len(), appends.len(), "every append has an outcome");
    for ((_, pending), outcome) in appends.iter_mut().zip(outcomes) {
        pending.outcome = Some(outcome);
    }
    Ok(())
}

async fn run_frequent<D: Domain>(tx: &mut D::Tx, writes: &[(usize, &PendingFrequent<D>)]) -> Result<(), StorageError> {
    let writes = D::write_frequent(tx, writes.iter().map(|(_, pending)| &pending.write));
    AssertUnwindSafe(writes).catch_unwind().await.map_err(panicked).flatten()
}

/// Runs closures one after the other until there is no more time, and returns how many ran; or which of them failed.
async fn run_closures<D: Domain>(
    tx: &mut D::Tx,
    closures: &mut [IndexedJob<'_, D>],
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

    /// Divides a group in which an unknown write failed. Returns its index if the group has only one.
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

async fn run_appends_apart<D: Domain>(
    tx: &mut D::Tx,
    appends: &mut [(usize, &mut PendingAppend<D>)],
    outcomes: &mut Outcomes,
) -> Result<(), StorageError> {
    let mut groups = Groups::of(appends.len());
    while let Some(group) = groups.0.pop() {
        let savepoint = tx.as_mut().savepoint().await?;
        let Some(writes) = appends.get_mut(group.clone()) else { break };
        match run_appends::<D>(tx, writes, Repetitions::LookedUp).await {
            Ok(()) => tx.as_mut().release_savepoint().await?,
            Err(error) if error.is_of_transaction() => return Err(error),
            Err(error) => {
                tx.as_mut().roll_back_to(savepoint).await?;
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

async fn run_frequent_apart<D: Domain>(
    tx: &mut D::Tx,
    writes: &[(usize, &PendingFrequent<D>)],
    outcomes: &mut Outcomes,
) -> Result<(), StorageError> {
    let mut groups = Groups::of(writes.len());
    while let Some(group) = groups.0.pop() {
        let savepoint = tx.as_mut().savepoint().await?;
        match run_frequent::<D>(tx, writes.get(group.clone()).unwrap_or_default()).await {
            Ok(()) => tx.as_mut().release_savepoint().await?,
            Err(error) if error.is_of_transaction() => return Err(error),
            Err(error) => {
                tx.as_mut().roll_back_to(savepoint).await?;
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

async fn run_closures_apart<D: Domain>(
    tx: &mut D::Tx,
    closures: &mut [IndexedJob<'_, D>],
    outcomes: &mut Outcomes,
    stage: &Cell<Stage>,
) -> Result<(), StorageError> {
    let until = Instant::now() + CLOSURES_TIME;
    let mut groups = Groups::of(closures.len());
    while let Some(group) = groups.0.pop() {
        let Some(writes) = closures.get_mut(group.clone()) else { break };
        if Instant::now() >= until {
            postpone::<D>(outcomes, Some(writes));
            continue;
        }
        let savepoint = tx.as_mut().savepoint().await?;
        match run_closures::<D>(tx, writes, until, stage).await {
            Ok(ran) => {
                tx.as_mut().release_savepoint().await?;
                postpone::<D>(outcomes, writes.get(ran..));
            }
            Err((_, error)) if error.is_of_transaction() => return Err(error),
            Err((number, error)) => {
                tx.as_mut().roll_back_to(savepoint).await?;
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
