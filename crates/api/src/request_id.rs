//! The ID by which a request is found in the log.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::Rng as _;

/// The header that it comes in and goes out with.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest ID that is taken over.
const MAX_LENGTH: usize = 64;

/// Marks a request in the log, in its answer, and in the sentence of an internal error.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The ID that a proxy in front has given it, if it has a sane one, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_sane(given.as_bytes()) => Self(given.clone()),
            _ => Self::random(),
        }
    }

    fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut number: u64 = rand::rng().random();
        let digits = [0_u8; 16].map(|_| {
            let digit = usize::try_from(number % 16).ok().and_then(|index| DIGITS.get(index)).copied();
            number /= 16;
            digit.unwrap_or(b'0')
        });
        Self(HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("0")))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }
}

/// What can be written into a log line and a sentence as it is.
fn is_sane(id: &[u8]) -> bool {
    let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(is_sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[u8]) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap())]))
    }

    #[test]
    fn a_sane_id_is_kept_and_another_replaced() {
        let long = "x".repeat(64);
        for sane in ["1", "a-B_c.9", &long] {
            assert_eq!(of(sane.as_bytes()).as_str(), sane);
        }
        let too_long = "x".repeat(65);
        for bad in [b"".as_slice(), b"a b", b"a\"b", b"a{b}", "ä".as_bytes(), too_long.as_bytes()] {
            let id = of(bad);
            assert_ne!(id.as_str().as_bytes(), bad);
            assert!(id.as_str().len() == 16 && is_sane(id.as_str().as_bytes()), "{id:?}");
        }
    }

    #[test]
    fn generated_ids_differ() {
        let ids: std::collections::HashSet<_> =
            (0..1_000).map(|_| RequestId::of(&HeaderMap::new()).as_str().to_owned()).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
