//! JSON request bodies, checked before anything else sees them, and JSON answers.

use std::fmt;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::body;
use super::scan::{Findings, MAX_DEPTH, MAX_INTEGER, scan};
use crate::error::{ApiError, ApiResult};

/// The largest body of an ordinary request.
pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

/// A JSON object as the body of a request, or any value as the body of an answer.
///
/// The body must be a JSON object of at most `LIMIT_BYTES`; an empty body counts as `{}`; the `Content-Type` does not matter,
/// because clients in use omit it. Refused besides what does not fit `T`: nesting deeper than 120, integers that
/// Matrix cannot represent, lone surrogates, and NUL in keys or text (PostgreSQL cannot store it in text).
/// Content that is stored as bytes, such as an event's, is taken by [`Content`], which lets NUL through.
#[derive(Clone, Copy, Debug)]
pub struct Json<T, const LIMIT_BYTES: usize = DEFAULT_LIMIT_BYTES>(pub T);

/// As [`Json`], but NUL is allowed in keys and text: for content that is stored as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Content<T, const LIMIT_BYTES: usize = DEFAULT_LIMIT_BYTES>(pub T);

impl<T, S, const LIMIT_BYTES: usize> FromRequest<S> for Json<T, LIMIT_BYTES>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, LIMIT_BYTES).await?;
        parse(&bytes, NulPolicy::Refused).map(Self)
    }
}

impl<T, S, const LIMIT_BYTES: usize> FromRequest<S> for Content<T, LIMIT_BYTES>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, LIMIT_BYTES).await?;
        parse(&bytes, NulPolicy::Allowed).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => json_bytes(bytes),
            Err(error) => ApiError::internal("Serialising an answer", &error).into_response(),
        }
    }
}

/// A 200 answer whose body is JSON already.
pub fn json_bytes(bytes: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NulPolicy {
    Refused,
    Allowed,
}

fn parse<T: DeserializeOwned>(bytes: &[u8], nul: NulPolicy) -> ApiResult<T> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::not_json("The request body is not valid UTF-8"))?;
    let text = match text.trim_ascii_start() {
        "" => "{}",
        text => text,
    };
    let findings = scan(text);
    if findings.too_deep {
        return Err(ApiError::bad_json(format!("The request body is nested deeper than {MAX_DEPTH} levels")));
    }
    if findings.lone_surrogate || findings.large_integer || (findings.nul && nul == NulPolicy::Refused) {
        return Err(refusal(text, findings));
    }
    if !text.starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => ApiError::bad_json("The request body must be a JSON object"),
            Err(error) => not_json(&error),
        });
    }
    // The path to a mistake costs time to track, so it is looked for only once there is one.
    serde_json::from_str(text).or_else(|_| parse_with_path(text))
}

/// Reads what is known to be a JSON object.
pub(crate) fn read<T: DeserializeOwned>(object: &[u8]) -> ApiResult<T> {
    let text = std::str::from_utf8(object).map_err(|_| ApiError::not_json("The request body is not valid UTF-8"))?;
    serde_json::from_str(text).or_else(|_| parse_with_path(text))
}

fn parse_with_path<T: DeserializeOwned>(text: &str) -> ApiResult<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        match (serde_json::from_str::<IgnoredAny>(text), error.inner().classify()) {
            // What follows the mistake may show that this is no JSON at all.
            (Err(error), _) => not_json(&error),
            (Ok(_), serde_json::error::Category::Data) => bad_json(&path, error.inner()),
            // A number where one of several words belongs is a mistake of syntax to the parser.
            (Ok(_), _) => ApiError::bad_json(format!("{}: not a value that is expected here", place(&path))),
        }
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Names the place of what [`scan`] found.
fn refusal(text: &str, findings: Findings) -> ApiError {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, Representable>(&mut deserializer) else {
        // It stands behind the end of the first value.
        return ApiError::not_json("The request body is not JSON");
    };
    let path = error.path().to_string();
    match error.inner().classify() {
        serde_json::error::Category::Data => bad_json(&path, error.inner()),
        _ if findings.lone_surrogate => ApiError::bad_json(format!("{}: not valid Unicode", place(&path))),
        _ => not_json(error.inner()),
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::not_json(format!("The request body is not JSON: {error}"))
}

fn bad_json(path: &str, error: &serde_json::Error) -> ApiError {
    let message = error.to_string();
    // The position says nothing to a client that built the body from values.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    ApiError::bad_json(format!("{}: {message}", place(path)))
}

fn place(path: &str) -> &str {
    if path == "." { "Request body" } else { path }
}

/// Any JSON without NUL in its text and without integers out of Matrix's range.
struct Representable;

impl<'de> Deserialize<'de> for Representable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RepresentableVisitor)
    }
}

struct RepresentableVisitor;

impl<'de> Visitor<'de> for RepresentableVisitor {
    type Value = Representable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that Matrix can represent")
    }

    fn visit_unit<E: Error>(self) -> Result<Representable, E> {
        Ok(Representable)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Representable, E> {
        Ok(Representable)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Representable, E> {
        self.visit_u64(value.unsigned_abs())
    }

    fn visit_u64<E: Error>(self, magnitude: u64) -> Result<Representable, E> {
        if magnitude > MAX_INTEGER {
            return Err(E::custom("integer outside of the range ±(2^53 - 1)"));
        }
        Ok(Representable)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Representable, E> {
        // Integers beyond 64 bits arrive here.
        if value.abs() >= 1.8e19 {
            return Err(E::custom("integer outside of the range ±(2^53 - 1)"));
        }
        Ok(Representable)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Representable, E> {
        if text.contains('\0') {
            return Err(E::custom("the character U+0000 is not allowed"));
        }
        Ok(Representable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Representable, A::Error> {
        while items.next_element::<Representable>()?.is_some() {}
        Ok(Representable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Representable, A::Error> {
        while entries.next_entry::<Representable, Representable>()?.is_some() {}
        Ok(Representable)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Deserialize, Debug)]
    enum Word {
        Yes,
    }

    #[derive(Deserialize, Debug)]
    struct Body {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters")]
        word: Option<Word>,
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters")]
        inner: Inner,
    }

    #[derive(Deserialize, Debug, Default)]
    struct Inner {
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters")]
        limit: u32,
    }

    fn refused(text: &str) -> (&'static str, String) {
        let error = parse::<Body>(text.as_bytes(), NulPolicy::Refused).unwrap_err();
        (error.errcode(), format!("{error:?}"))
    }

    #[test]
    fn an_empty_body_counts_as_an_empty_object() {
        assert!(parse::<Body>(b"", NulPolicy::Refused).unwrap().name.is_none());
        assert!(parse::<Body>(b" \n", NulPolicy::Refused).is_ok());
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        for text in [r#"{"inner": {"limit": "5"}}"#, r#"{"inner": {"limit": null}}"#, r#"{"inner": {"limit": -1}}"#] {
            let (errcode, sentence) = refused(text);
            assert_eq!(errcode, "M_BAD_JSON", "{text}");
            assert!(sentence.contains("inner.limit: invalid"), "{sentence}");
        }
    }

    #[test]
    fn what_is_not_one_of_several_words_is_named_whatever_it_is() {
        assert!(parse::<Body>(br#"{"word": "Yes"}"#, NulPolicy::Refused).is_ok());
        for value in ["5", "\"No\"", "[]", "true", "{}"] {
            let (errcode, sentence) = refused(&format!("{{\"word\": {value}}}"));
            assert_eq!(errcode, "M_BAD_JSON", "{value}");
            assert!(sentence.contains("word: "), "{sentence}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_bad_json_and_one_that_is_no_json_is_not_json() {
        for text in ["[]", "null", "5", "\"x\"", "[{}]"] {
            assert_eq!(refused(text).0, "M_BAD_JSON", "{text}");
        }
        for text in ["{", "{\"name\": }", "nul", "[", "{} {}", "{'a': 1}", "{\"a\": 01}", "\u{feff}{}"] {
            assert_eq!(refused(text).0, "M_NOT_JSON", "{text}");
        }
        assert_eq!(parse::<Body>(b"{\"name\": \"\xff\"}", NulPolicy::Refused).unwrap_err().errcode(), "M_NOT_JSON");
    }

    #[test]
    fn what_matrix_cannot_represent_is_named_even_in_keys_that_nobody_reads() {
        for (text, place) in [
            (r#"{"other": {"x": [1, "\ud800"]}}"#, "other.x[1]: not valid Unicode"),
            (r#"{"other": {"x": 9007199254740992}}"#, "other.x: integer outside"),
            (r#"{"other": -99999999999999999999999999}"#, "other: integer outside"),
            (r#"{"name": "a\u0000"}"#, "name: the character U+0000"),
        ] {
            let (errcode, sentence) = refused(text);
            assert_eq!(errcode, "M_BAD_JSON", "{text}");
            assert!(sentence.contains(place), "{text}: {sentence}");
        }
        assert_eq!(refused(r#"{"a\u0000": 1}"#).0, "M_BAD_JSON");
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let text = format!("{{\"x\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(refused(&text).0, "M_BAD_JSON");
        assert_eq!(refused(&"{\"a\":".repeat(10_000)).0, "M_BAD_JSON");
    }

    #[test]
    fn content_may_contain_nul_and_is_kept_as_it_was_written() {
        let text = r#"{"body": "a\u0000b",  "x": 1.50}"#;
        let raw: Box<RawValue> = parse(text.as_bytes(), NulPolicy::Allowed).unwrap();
        assert_eq!(raw.get(), text);
        assert_eq!(
            parse::<Box<RawValue>>(b"{\"a\": \"\\ud800\"}", NulPolicy::Allowed).unwrap_err().errcode(),
            "M_BAD_JSON"
        );
    }
}
