//! What the engines have to know of the statements that run on them.

use homeserver_core::Position;

use crate::{Readers, StorageError, Transaction};

/// The domain whose statements run on the engines: its schema, the entries of its log, its frequent writes, and what the writer
/// remembers for it.
///
/// A server has one domain, so the compiler knows all of these functions and calls them directly. Only closures are called through a
/// pointer.
pub trait Domain: Sized + Send + Sync + 'static {
    /// The schema that the statements need.
    const SCHEMA: Schema;

    /// What the log consists of.
    type Entry: Entry;
    /// What the writer remembers from one transaction to the next.
    type Memory: Memory;
    /// A transaction, with the domain's statements.
    type Tx: From<Transaction<Self>> + Into<Transaction<Self>> + AsMut<Transaction<Self>>;
    /// A write that adds to the log and has an outcome, such as events of a room.
    type Append: Send + 'static;
    /// What became of an append.
    type AppendOutcome: Send + 'static;
    /// A write that is frequent and has no outcome, such as a receipt.
    type Frequent: Send + 'static;

    /// An empty memory, for a new connection of the writer.
    fn memory(&self) -> Self::Memory;

    /// How many positions of the log the append takes.
    fn positions_of_append(append: &Self::Append) -> i64;

    /// How many positions of the log are reserved for the write before it runs; `None` if it does not need the log. A write that may
    /// need fewer positions than it has changes says zero, and reserves what it needs when it knows.
    fn positions_of_frequent(write: &Self::Frequent) -> Option<i64>;

    /// Writes all appends of a batch, and returns their outcomes in the same order. May run again with the same appends, after a
    /// rollback.
    fn append_all(
        tx: &mut Self::Tx,
        appends: &[&Self::Append],
        repetitions: Repetitions,
    ) -> impl Future<Output = Result<Vec<Self::AppendOutcome>, StorageError>>;

    /// Writes all frequent writes of a batch. May run again with the same writes, after a rollback.
    fn write_frequent<'w>(
        tx: &mut Self::Tx,
        writes: impl Iterator<Item = &'w Self::Frequent>,
    ) -> impl Future<Output = Result<(), StorageError>>;
}

/// The numbered changes that make the schema.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The migrations in their order; the first is number 1. They create, among the domain's own tables, those of the log:
    /// `log_head` and `log_entries`.
    pub migrations: &'static [&'static str],
    /// The newest version at which a program may run that does not write down its log, beside which no other server may run.
    pub last_of_one_server: i64,
}

/// An entry of the log.
pub trait Entry: Clone + Send + Sync + 'static {
    /// Its position in the log.
    fn position(&self) -> Position;

    /// The entries of one transaction as a text, which other processes read.
    ///
    /// # Errors
    /// [`StorageError`] if they have no such form.
    fn encode(entries: &[Self]) -> Result<String, StorageError>;

    /// The entries of several transactions, each from its text. What a text leaves out is read with `readers`.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a text cannot be understood, and what the statements fail with.
    fn decode_all(
        readers: &Readers,
        texts: &[&str],
    ) -> impl Future<Output = Result<Vec<Vec<Self>>, StorageError>> + Send;
}

/// What the writer remembers from one transaction to the next, because it wrote it. It is true as long as no other process moves the log.
pub trait Memory {
    /// A point in a transaction to which [`Memory::roll_back_to`] goes back.
    type Mark;

    /// A transaction begins.
    fn begin(&mut self);

    /// The transaction has taken `count` positions of the log.
    fn has_taken_positions(&mut self, count: i64);

    /// Another process has written: what is remembered from before may be out of date.
    fn forget(&mut self);

    /// The point that the transaction has reached.
    fn mark(&self) -> Self::Mark;

    /// What the transaction has done since `mark` has not happened.
    fn roll_back_to(&mut self, mark: Self::Mark);

    /// What the transaction has done has not happened.
    fn roll_back(&mut self);

    /// The transaction has committed.
    fn has_committed(&mut self);
}

/// Whether appends may repeat what was appended before, under the same transaction ID of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repetitions {
    /// Hardly ever: a repetition fails the whole batch on a key of the table, which saves all others a question.
    Unlikely,
    /// Possibly, after such a failure: the database is asked before anything is written.
    LookedUp,
}
