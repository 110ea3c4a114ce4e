//! Parameters in the path of a request.

use std::fmt;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::ApiError;

/// Percent-decoded path parameters: one type, or a tuple in the order of the path. Identifiers of `ruma` are checked by
/// their grammar. A bad one is answered with `M_INVALID_PARAM` that names the parameter as the route spells it, and one that is
/// longer than its type allows with `M_TOO_LARGE`.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        PathParameters::of(parts, state).await?.parse(|_| true).map(Self)
    }
}

/// The percent-decoded parameters of a path, with their names.
pub(super) struct PathParameters(RawPathParams);

impl PathParameters {
    pub(super) async fn of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if parts.uri.path().contains("%00") {
            return Err(ApiError::invalid_param("The path contains the character U+0000"));
        }
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        parameters.map(Self).map_err(|error| ApiError::invalid_param(error.body_text()))
    }

    /// The parameters with the names that `is_wanted` picks.
    pub(super) fn parse<T: DeserializeOwned>(&self, is_wanted: impl Fn(&str) -> bool) -> Result<T, ApiError> {
        let parameters: Vec<_> = self.0.iter().filter(|(name, _)| is_wanted(name)).collect();
        T::deserialize(Parameters { parameters: &parameters }).map_err(|error| {
            let is_too_long = error.is_too_long;
            let only = if let [(name, _)] = parameters.as_slice() { *name } else { "path" };
            let sentence = format!("{}: {}", error.parameter.as_deref().unwrap_or(only), error.message);
            if is_too_long { ApiError::too_large(sentence) } else { ApiError::invalid_param(sentence) }
        })
    }
}

/// All parameters, as a tuple or, if it is only one, as itself.
struct Parameters<'a> {
    parameters: &'a [(&'a str, &'a str)],
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = PathError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PathError> {
        match self.parameters {
            [] => visitor.visit_unit(),
            [(_, value)] => visitor.visit_borrowed_str(value),
            others => Err(PathError::custom(format!("the route has {} parameters", others.len()))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, PathError> {
        visitor.visit_seq(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, PathError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Parameters<'de> {
    type Error = PathError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, PathError> {
        let Some(((name, value), rest)) = self.parameters.split_first() else { return Ok(None) };
        self.parameters = rest;
        let value = seed.deserialize(BorrowedStrDeserializer::new(value));
        value.map(Some).map_err(|error: PathError| PathError { parameter: Some((*name).to_owned()), ..error })
    }
}

#[derive(Debug)]
struct PathError {
    parameter: Option<String>,
    message: String,
    is_too_long: bool,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for PathError {}

impl Error for PathError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { parameter: None, message: message.to_string(), is_too_long: false }
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let message = format!("it has {length} bytes instead of {expected}");
        Self { parameter: None, message, is_too_long: true }
    }
}
