//! Which bytes of a content a request is for, and whether the client has them already.

use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, Method};

/// What a request is to be answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Selection {
    /// The whole content.
    Whole,
    /// Some of it.
    Part {
        /// The place of the first byte.
        start: u64,
        /// How many bytes, at least one.
        length: u64,
    },
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the client wants another content than this one.
    Other,
    /// Nothing: the content has no such bytes.
    Unsatisfiable,
}

/// What the headers of a request select of a content of this size, whose strong entity tag is `tag`, with its quotes. What cannot be
/// read counts as if it were not there. Several ranges are answered with the whole.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#name-precedence-of-preconditions>
pub(super) fn select(method: &Method, headers: &HeaderMap, tag: &str, size_bytes: u64) -> Selection {
    if headers.contains_key(IF_MATCH) && !tags(headers, IF_MATCH).any(|one| one == "*" || one == tag) {
        return Selection::Other;
    }
    // Weak tags are as good as strong ones here.
    let is_known = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    if tags(headers, IF_NONE_MATCH).any(is_known) {
        return Selection::NotModified;
    }
    // Only of what the client has a part of. There are no dates here that it could name.
    let is_of_this = headers.get(IF_RANGE).is_none_or(|value| value.as_bytes().trim_ascii() == tag.as_bytes());
    if *method != Method::GET || !is_of_this {
        return Selection::Whole;
    }
    let mut lines = headers.get_all(RANGE).iter();
    match (lines.next().and_then(|line| line.to_str().ok()), lines.next()) {
        (Some(range), None) => part(range, size_bytes).unwrap_or(Selection::Whole),
        _ => Selection::Whole,
    }
}

/// The entity tags in a header.
fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    // No tag of this server has a comma in it, so the halves of others that have one are no tags of this server either.
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The only range of a `Range` header; `None` if there are several, or it is none of bytes.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges>
fn part(range: &str, size_bytes: u64) -> Option<Selection> {
    let (unit, range) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    let (start, end) = if first.is_empty() {
        (size_bytes.saturating_sub(number(last)?), size_bytes)
    } else {
        let (first, last) = (number(first)?, if last.is_empty() { u64::MAX } else { number(last)? });
        if first > last {
            return None;
        }
        (first, last.saturating_add(1).min(size_bytes))
    };
    Some(if start < end { Selection::Part { start, length: end - start } } else { Selection::Unsatisfiable })
}

/// A number, which is at most the largest that there is here.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn selected(headers: &[(HeaderName, &str)], size_bytes: u64) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        select(&Method::GET, &map, TAG, size_bytes)
    }

    fn of_range(range: &str) -> Selection {
        selected(&[(RANGE, range)], 1000)
    }

    #[test]
    fn one_range_selects_the_bytes_that_there_are() {
        for (range, start, length) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-999", 0, 1000),
            ("bytes=0-1000", 0, 1000),
            ("bytes=10-19", 10, 10),
            ("bytes=999-", 999, 1),
            ("bytes=0-", 0, 1000),
            ("bytes=-1", 999, 1),
            ("bytes=-1000", 0, 1000),
            ("bytes=-1001", 0, 1000),
            ("bytes=-99999999999999999999999999", 0, 1000),
            ("bytes=5-99999999999999999999999999", 5, 995),
            ("Bytes = 10 - 19 ", 10, 10),
        ] {
            assert_eq!(of_range(range), Selection::Part { start, length }, "{range}");
        }
        for range in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(of_range(range), Selection::Unsatisfiable, "{range}");
        }
        assert_eq!(selected(&[(RANGE, "bytes=0-")], 0), Selection::Unsatisfiable);
        assert_eq!(selected(&[(RANGE, "bytes=-5")], 0), Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_no_range_of_bytes_or_several_is_answered_with_the_whole() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "items=0-1",
            "bytes=0x1-2",
            "bytes=1-2 bytes=3-4",
        ] {
            assert_eq!(of_range(range), Selection::Whole, "{range}");
        }
        assert_eq!(selected(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=3-4")], 1000), Selection::Whole);
        let headers = HeaderMap::from_iter([(RANGE, "bytes=0-1".parse().unwrap())]);
        assert_eq!(select(&Method::HEAD, &headers, TAG, 1000), Selection::Whole);
    }

    #[test]
    fn a_range_under_a_condition_is_one_only_of_the_same_content() {
        let of = |condition| selected(&[(RANGE, "bytes=0-1"), (IF_RANGE, condition)], 1000);
        assert_eq!(of(TAG), Selection::Part { start: 0, length: 2 });
        for other in ["\"abd\"", "W/\"abc\"", "abc", "Wed, 21 Oct 2015 07:28:00 GMT", "*", ""] {
            assert_eq!(of(other), Selection::Whole, "{other}");
        }
    }

    #[test]
    fn a_client_that_has_the_content_is_sent_nothing() {
        for tags in [TAG, "W/\"abc\"", "\"x\", \"abc\"", "\"x\" ,W/\"abc\" , \"y\"", "*"] {
            assert_eq!(
                selected(&[(IF_NONE_MATCH, tags), (RANGE, "bytes=5000-")], 1000),
                Selection::NotModified,
                "{tags}"
            );
        }
        for tags in ["\"x\"", "abc", "", "\"abc", "w/\"abc\""] {
            assert_eq!(selected(&[(IF_NONE_MATCH, tags)], 1000), Selection::Whole, "{tags}");
        }
        assert_eq!(selected(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], 1000), Selection::NotModified);
    }

    #[test]
    fn a_client_that_wants_another_content_is_told_so() {
        for (tags, expected) in [
            (TAG, Selection::Whole),
            ("*", Selection::Whole),
            ("\"x\"", Selection::Other),
            ("W/\"abc\"", Selection::Other),
        ] {
            assert_eq!(selected(&[(IF_MATCH, tags)], 1000), expected, "{tags}");
        }
    }
}
