//! Positions of the log that a transaction takes.

use std::ops::Range;

use homeserver_core::Position;

use super::Transaction;
use crate::domain::{Domain, Memory as _};
use crate::{Engine, StorageError, params};

/// The positions of a transaction. Those it takes are contiguous, because the row of `log_head` stays locked from the first to the
/// commit.
#[derive(Clone, Default, Debug)]
pub(super) struct Positions {
    /// The last position that this writer knows of.
    last: i64,
    /// The last position before the transaction.
    before: i64,
    /// Taken, but not given out yet.
    reserved: Range<i64>,
    /// Whether no other process can take positions before the transaction ends.
    are_locked: bool,
}

/// A point in a transaction: what was taken up to there.
pub(super) struct PositionsMark {
    last: i64,
    reserved: Range<i64>,
    are_locked: bool,
}

impl Positions {
    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.before = self.last;
        self.reserved = 0..0;
        self.are_locked = false;
    }

    /// The log has given `count` positions to the transaction; `last` is the last. Returns whether another process has taken
    /// positions since this one did.
    pub(super) fn take(&mut self, last: i64, count: i64) -> bool {
        debug_assert!(count >= 0, "{count} positions were taken");
        let begin = last - count;
        let have_others_written = begin != self.last;
        if have_others_written {
            debug_assert!(self.taken().is_none(), "a transaction takes {begin}… after {}: not contiguous", self.last);
            // It stays so if the transaction is rolled back.
            self.before = begin;
        }
        self.last = last;
        self.reserved = begin + 1..last + 1;
        self.are_locked = true;
        debug_assert!(self.before <= self.last, "the log went back from {} to {}", self.before, self.last);
        have_others_written
    }

    /// The last position before the transaction and the last one that it has taken, if it has taken any.
    pub(super) fn taken(&self) -> Option<(i64, i64)> {
        (self.last > self.before).then_some((self.before, self.last))
    }

    pub(super) fn mark(&self) -> PositionsMark {
        PositionsMark { last: self.last, reserved: self.reserved.clone(), are_locked: self.are_locked }
    }

    pub(super) fn roll_back_to(&mut self, mark: PositionsMark) {
        (self.last, self.reserved, self.are_locked) = (mark.last, mark.reserved, mark.are_locked);
    }

    /// What was taken since the last commit was not taken.
    pub(super) fn roll_back(&mut self) {
        self.last = self.before;
    }
}

impl<D: Domain> Transaction<D> {
    /// The next position in the log. Positions become visible in order, when the transaction commits.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn next_position(&mut self) -> Result<Position, StorageError> {
        if self.positions.reserved.is_empty() {
            self.reserve_positions(1).await?;
        }
        let next = self.positions.reserved.next();
        next.map(Position).ok_or_else(|| StorageError::Statement("no position was reserved".to_owned()))
    }

    /// Takes `count` positions at once for the calls of [`Transaction::next_position`] that follow. The row of `log_head` stays
    /// locked until the commit, so that no other node takes a position in between.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn reserve_positions(&mut self, count: i64) -> Result<(), StorageError> {
        if self.positions.reserved.end - self.positions.reserved.start >= count {
            return Ok(());
        }
        let sql = "UPDATE log_head SET position = position + $1 RETURNING position";
        let last = self.query_optional(sql, params![count], |row| row.get::<i64>(0)).await?;
        let last = last.ok_or_else(|| StorageError::Statement("table log_head is empty".to_owned()))?;
        self.has_reserved(last, count);
        Ok(())
    }

    pub(super) fn has_reserved(&mut self, last: i64, count: i64) {
        if self.positions.take(last, count) {
            self.memory.forget();
        }
        self.memory.has_taken_positions(count);
    }

    /// The last position that this transaction has taken.
    pub fn last_reserved(&self) -> Position {
        Position(self.positions.last)
    }

    /// Waits until no other transaction holds positions of the log, and keeps others from taking any until the commit. Returns
    /// the last position.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn lock_log(&mut self) -> Result<Position, StorageError> {
        let sql = "UPDATE log_head SET position = position RETURNING position";
        let position = self.query_optional(sql, &[], |row| row.get(0)).await?;
        Ok(position.unwrap_or(Position::START))
    }

    /// Keeps other processes from taking positions of the log until the commit. A transaction that reads something which is only
    /// changed together with a position of the log, in order to change it, calls this before it reads. On SQLite there is one writer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn hold_log(&mut self) -> Result<(), StorageError> {
        if self.positions.are_locked || self.engine() == Engine::Sqlite {
            return Ok(());
        }
        self.query_optional("SELECT position FROM log_head FOR_UPDATE", &[], |row| row.get::<i64>(0)).await?;
        self.positions.are_locked = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_takes_what_follows_on_the_one_before() {
        let mut positions = Positions::default();
        positions.begin();
        assert!(!positions.take(3, 3));
        assert!(!positions.take(5, 2));
        assert_eq!(positions.taken(), Some((0, 5)));
        positions.begin();
        assert_eq!(positions.taken(), None);
        assert!(positions.take(9, 1), "others have taken 6 to 8");
        assert_eq!(positions.taken(), Some((8, 9)));
    }

    #[test]
    fn what_is_rolled_back_is_taken_again() {
        let mut positions = Positions::default();
        positions.begin();
        positions.take(2, 2);
        let mark = positions.mark();
        positions.take(4, 2);
        positions.roll_back_to(mark);
        assert_eq!(positions.taken(), Some((0, 2)));
        assert!(!positions.take(3, 1));
        positions.roll_back();
        assert_eq!(positions.taken(), None);
    }

    #[test]
    #[should_panic(expected = "not contiguous")]
    #[cfg(debug_assertions)]
    fn a_hole_within_a_transaction_is_a_bug() {
        let mut positions = Positions::default();
        positions.begin();
        positions.take(2, 2);
        positions.take(4, 1);
    }
}
