//! Parameters in the query string of a request.

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// The query string as a structure. Unknown keys are ignored; a key that may be repeated (`via`, `server_name`) is a `Vec`
/// with `#[serde(default)]`; a bad value is answered with `M_INVALID_PARAM`, a missing one with `M_MISSING_PARAM`, both naming the key.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

pub(super) fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    if query.contains('%') {
        let decoded = percent_decode_str(query).decode_utf8();
        let decoded = decoded.map_err(|_| ApiError::invalid_param("The query string is not valid UTF-8"))?;
        if decoded.contains('\0') {
            return Err(ApiError::invalid_param("The query string contains the character U+0000"));
        }
    }
    let deserializer = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let message = error.inner().to_string();
        match key.as_str() {
            "." if message.starts_with("missing field") => ApiError::missing_param(format!("Query string: {message}")),
            "." => ApiError::invalid_param(format!("Query string: {message}")),
            key => ApiError::invalid_param(format!("{key}: {message}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use ruma::OwnedServerName;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug)]
    struct Parameters {
        limit: Option<u64>,
        #[serde(default)]
        via: Vec<OwnedServerName>,
    }

    #[derive(Deserialize, Debug)]
    struct Required {
        #[expect(dead_code, reason = "only its absence matters")]
        username: String,
    }

    #[test]
    fn repeated_keys_are_collected_and_unknown_ones_ignored() {
        let parameters: Parameters = parse("via=a.org&limit=5&via=b%2Eorg&x=y").unwrap();
        assert_eq!(parameters.limit, Some(5));
        assert_eq!(parameters.via, ["a.org", "b.org"]);
        assert!(parse::<Parameters>("").unwrap().via.is_empty());
        assert_eq!(parse::<Parameters>("via=a.org").unwrap().via, ["a.org"]);
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (query, key) in [("limit=many", "limit: "), ("limit=-1", "limit: "), ("via=a.org&via=%20", "via[1]: ")] {
            let error = parse::<Parameters>(query).unwrap_err();
            assert_eq!(error.errcode(), "M_INVALID_PARAM", "{query}");
            assert!(format!("{error:?}").contains(key), "{query}: {error:?}");
        }
        assert_eq!(parse::<Parameters>("limit=1&limit=2").unwrap_err().errcode(), "M_INVALID_PARAM");
    }

    #[test]
    fn a_missing_key_and_broken_text_are_refused() {
        assert_eq!(parse::<Required>("").unwrap_err().errcode(), "M_MISSING_PARAM");
        assert_eq!(parse::<Required>("username=%ff").unwrap_err().errcode(), "M_INVALID_PARAM");
        assert_eq!(parse::<Required>("username=%00").unwrap_err().errcode(), "M_INVALID_PARAM");
    }
}
