//! Typed columns of answers, the same on both engines.

use bytes::Bytes;
use homeserver_core::{DeviceSn, EventSn, KeySn, Position, RoomSn, ServerSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::StorageError;
use crate::nul::unescaped;

/// One row of an answer.
#[derive(Clone, Copy)]
pub enum Row<'r> {
    /// From SQLite.
    Sqlite(&'r rusqlite::Row<'r>),
    /// From PostgreSQL.
    Postgres(&'r PgRow),
}

impl Row<'_> {
    /// The value of the column `index`, counted from zero.
    ///
    /// # Errors
    /// [`StorageError::Value`] if the column is missing or of another type.
    #[inline]
    pub fn get<T: Column>(&self, index: usize) -> Result<T, StorageError> {
        T::read(self, index)
    }
}

/// A type that a column can be read as.
pub trait Column: Sized {
    /// Reads the column `index` of `row`, counted from zero.
    ///
    /// # Errors
    /// [`StorageError::Value`] if the column is missing or of another type.
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError>;
}

fn unexpected(column: usize, error: impl ToString) -> StorageError {
    StorageError::Value { column, reason: error.to_string() }
}

/// Types that both engines read themselves.
macro_rules! plain_columns {
    ($([$($const:tt)*] $type:ty),*) => {$(
        impl<$($const)*> Column for $type {
            fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
                match row {
                    Row::Sqlite(row) => row.get(index).map_err(|error| unexpected(index, error)),
                    Row::Postgres(row) => row.try_get(index).map_err(|error| unexpected(index, error)),
                }
            }
        }
    )*};
}

plain_columns! {
    [] i64, [] Option<i64>, [] bool, [] Option<bool>, [] Vec<u8>, [] Option<Vec<u8>>,
    [const N: usize] [u8; N], [const N: usize] Option<[u8; N]>
}

impl Column for String {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
        match row {
            Row::Sqlite(row) => row.get(index).map_err(|error| unexpected(index, error)),
            Row::Postgres(row) => row.try_get(index).map(unescaped).map_err(|error| unexpected(index, error)),
        }
    }
}

impl Column for Option<String> {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
        match row {
            Row::Sqlite(row) => row.get(index).map_err(|error| unexpected(index, error)),
            Row::Postgres(row) => {
                let text: Option<String> = row.try_get(index).map_err(|error| unexpected(index, error))?;
                Ok(text.map(unescaped))
            }
        }
    }
}

/// Types that are made of what the engines read.
macro_rules! converted_columns {
    ($($type:ty => $from:ty, $conversion:expr;)*) => {$(
        impl Column for $type {
            fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
                row.get::<$from>(index).map($conversion)
            }
        }
    )*};
}

converted_columns! {
    Bytes => Vec<u8>, Bytes::from;
    Option<Bytes> => Option<Vec<u8>>, |bytes| bytes.map(Bytes::from);
    Box<str> => String, String::into_boxed_str;
}

macro_rules! numbers {
    ($($type:ident),*) => {
        converted_columns! {$(
            $type => i64, $type;
            Option<$type> => Option<i64>, |number| number.map($type);
        )*}
    };
}

numbers!(UserSn, RoomSn, DeviceSn, EventSn, TypeSn, KeySn, ServerSn, Position, TimelineOrder, Timestamp);
