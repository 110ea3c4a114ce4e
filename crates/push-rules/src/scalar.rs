//! Values that conditions compare.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

/// The largest [canonical integer](https://spec.matrix.org/v1.19/appendices/#canonical-json); the smallest is its negative.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A non-compound value of canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer from -(2^53)+1 to (2^53)-1.
    Integer(i64),
    /// A string.
    Text(Cow<'t, str>),
}

impl Scalar<'_> {
    /// The scalar that a JSON value is.
    pub fn parse(value: &Value) -> Option<Scalar<'static>> {
        match value {
            Value::Null => Some(Scalar::Null),
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Number(number) => integer(number).map(Scalar::Integer),
            Value::String(text) => Some(Scalar::Text(Cow::Owned(text.clone()))),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn integer(number: &Number) -> Option<i64> {
    number.as_i64().filter(|number| is_canonical(*number))
}

/// Whether an integer is in the range of canonical JSON.
pub(crate) const fn is_canonical(number: i64) -> bool {
    -MAX_INTEGER <= number && number <= MAX_INTEGER
}

impl Serialize for Scalar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}
