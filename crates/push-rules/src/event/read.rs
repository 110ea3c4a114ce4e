//! Reading events into properties, in one pass, with text borrowed from the JSON where it has no escapes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::value::{Object, Text, Value};
use crate::{MAX_NESTING, Scalar, scalar::is_canonical};

/// Reads a JSON object. What is nested deeper than [`MAX_NESTING`] is skipped, which the reader does without recursion.
pub(super) fn object(json: &[u8]) -> Result<Object<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Values { levels: MAX_NESTING }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        if self.levels > 0 {
            return deserializer.deserialize_any(self);
        }
        IgnoredAny::deserialize(deserializer)?;
        Ok(Value::Other)
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

/// Reads a value in which so many levels of objects and arrays are regarded.
#[derive(Clone, Copy)]
struct Values {
    levels: usize,
}

impl Values {
    fn inside(self) -> Self {
        Self { levels: self.levels.saturating_sub(1) }
    }
}

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
        while let Some(element) = elements.next_element_seed(self.inside())? {
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
        while let Some(Name(name)) = members.next_key()? {
            list.push((name, members.next_value_seed(self.inside())?));
        }
        Ok(Value::Object(Object::new(list)))
    }
}
