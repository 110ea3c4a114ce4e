//! Reading events into properties, in one pass, with text borrowed from the JSON where it has no escapes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use super::value::{Object, Text, Value};
use crate::{Scalar, scalar::is_canonical};

/// Reads a JSON object. The reader's own bound on nesting is [`MAX_NESTING`](crate::MAX_NESTING).
pub(super) fn object(json: &[u8]) -> Result<Object<'_>, serde_json::Error> {
    match serde_json::from_slice(json)? {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

/// A string, borrowed where that is possible.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(text.to_owned())))
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(if is_canonical(number) { Value::Integer(number) } else { Value::Other })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        i64::try_from(number).map_or(Ok(Value::Other), |number| self.visit_i64(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Text::new(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Text::new(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            match element {
                Value::Null => list.push(Scalar::Null),
                Value::Bool(value) => list.push(Scalar::Bool(value)),
                Value::Integer(number) => list.push(Scalar::Integer(number)),
                Value::Text(text) => list.push(Scalar::Text(text.raw().clone())),
                Value::List(_) | Value::Object(_) | Value::Other => {}
            }
        }
        list.sort_unstable();
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            list.push((name, value));
        }
        Ok(Value::Object(Object::new(list)))
    }
}
