//! Typed parameters of statements, the same on both engines.

use bytes::Bytes;
use homeserver_core::{DeviceSn, EventSn, KeySn, Position, RoomSn, ServerSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use rusqlite::types::{ToSqlOutput, ValueRef};
use sqlx::postgres::PgArguments;

use crate::StorageError;
use crate::nul::escaped;

/// A parameter of a statement, borrowed from the caller.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A 64-bit integer or NULL.
    Int(Option<i64>),
    /// Text or NULL.
    Text(Option<&'a str>),
    /// Bytes or NULL.
    Blob(Option<&'a [u8]>),
    /// A truth value.
    Bool(bool),
    /// A list of integers, for `IN LIST($n)`.
    Ints(&'a [i64]),
    /// A list of texts, for `IN LIST($n)`.
    Texts(&'a [String]),
    /// A list of byte strings, for `IN BLOBS($n)`.
    Blobs(&'a [&'a [u8]]),
}

/// Builds the parameters of a statement: `params![room_sn, "text", None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Value::from($value)),*] };
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $conversion:expr;)*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self { $conversion }
        }
    )*};
}

value_from! {
    i64 => |value| Self::Int(Some(value));
    Option<i64> => |value| Self::Int(value);
    bool => |value| Self::Bool(value);
    &'a str => |value| Self::Text(Some(value));
    &'a String => |value| Self::Text(Some(value));
    &'a Box<str> => |value| Self::Text(Some(value));
    Option<&'a str> => |value| Self::Text(value);
    &'a Option<String> => |value| Self::Text(value.as_deref());
    &'a [u8] => |value| Self::Blob(Some(value));
    &'a Vec<u8> => |value| Self::Blob(Some(value));
    &'a Bytes => |value| Self::Blob(Some(value));
    Option<&'a [u8]> => |value| Self::Blob(value);
    &'a [i64] => |value| Self::Ints(value);
    &'a Vec<i64> => |value| Self::Ints(value);
    &'a [String] => |value| Self::Texts(value);
    &'a Vec<String> => |value| Self::Texts(value);
    &'a Vec<&'a [u8]> => |value| Self::Blobs(value);
}

macro_rules! numbers {
    ($($type:ident),*) => {$(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self { Self::Int(Some(value.0)) }
        }
        impl From<Option<$type>> for Value<'_> {
            fn from(value: Option<$type>) -> Self { Self::Int(value.map(|number| number.0)) }
        }
    )*};
}

numbers!(UserSn, RoomSn, DeviceSn, EventSn, TypeSn, KeySn, ServerSn, Position, TimelineOrder, Timestamp);

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Int(value) => value.map_or(ToSqlOutput::Borrowed(ValueRef::Null), ToSqlOutput::from),
            Self::Text(value) => ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, ValueRef::from)),
            Self::Blob(value) => ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, ValueRef::from)),
            Self::Bool(value) => ToSqlOutput::from(*value),
            Self::Ints(values) => ToSqlOutput::from(json_list(values)?),
            Self::Texts(values) => ToSqlOutput::from(json_list(values)?),
            Self::Blobs(values) => ToSqlOutput::from(json_list(&values.iter().map(|it| hex(it)).collect::<Vec<_>>())?),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn json_list<T: serde::Serialize>(values: &[T]) -> rusqlite::Result<String> {
    serde_json::to_string(values).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Encodes the parameters for PostgreSQL.
pub(crate) fn postgres_arguments(params: &[Value<'_>]) -> Result<PgArguments, StorageError> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.map(escaped)),
            Value::Blob(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Ints(values) => arguments.add(values),
            Value::Texts(values) => arguments.add(values.iter().map(|text| escaped(text)).collect::<Vec<_>>()),
            Value::Blobs(values) => arguments.add(values),
        }
        .map_err(|error| StorageError::Statement(error.to_string()))?;
    }
    Ok(arguments)
}

/// Encodes rows as one array for each column, for `UNNEST`, behind the arguments that are already there.
pub(crate) fn add_columns(arguments: &mut PgArguments, rows: &[Vec<Value<'_>>]) -> Result<(), StorageError> {
    use sqlx::Arguments as _;
    let width = rows.first().map_or(0, Vec::len);
    for index in 0..width {
        let column = rows.iter().filter_map(|row| row.get(index));
        let mixed = || StorageError::Statement(format!("column {index} of a batch has values of several types"));
        match rows.first().and_then(|row| row.get(index)) {
            Some(Value::Int(_)) => {
                let values = column.map(|value| if let Value::Int(value) = value { Ok(*value) } else { Err(mixed()) });
                arguments.add(values.collect::<Result<Vec<_>, _>>()?)
            }
            Some(Value::Text(_)) => {
                let values = column
                    .map(|value| if let Value::Text(value) = value { Ok(value.map(escaped)) } else { Err(mixed()) });
                arguments.add(values.collect::<Result<Vec<_>, _>>()?)
            }
            Some(Value::Blob(_)) => {
                let values = column.map(|value| if let Value::Blob(value) = value { Ok(*value) } else { Err(mixed()) });
                arguments.add(values.collect::<Result<Vec<_>, _>>()?)
            }
            Some(Value::Bool(_)) => {
                let values = column.map(|value| if let Value::Bool(value) = value { Ok(*value) } else { Err(mixed()) });
                arguments.add(values.collect::<Result<Vec<_>, _>>()?)
            }
            _ => return Err(mixed()),
        }
        .map_err(|error| StorageError::Statement(error.to_string()))?;
    }
    Ok(())
}
