//! Reading canonical JSON that is already in memory, without building a tree.

use std::{borrow::Cow, cmp::Ordering};

/// The keys and values of an object in canonical JSON, in order: each key without quotes and as it is escaped, each
/// value as canonical JSON.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// The members of `object`, which is canonical JSON.
    pub fn new(object: &'a [u8]) -> Self {
        Self { rest: object.strip_prefix(b"{").unwrap_or_default() }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.rest.split_at_checked(string_length(self.rest)?)?;
        let rest = rest.strip_prefix(b":")?;
        let (value, rest) = rest.split_at_checked(value_length(rest)?)?;
        self.rest = rest.strip_prefix(b",").unwrap_or(rest);
        Some((key.get(1..key.len().checked_sub(1)?)?, value))
    }
}

/// The values of an array in canonical JSON; nothing for other values.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = array.strip_prefix(b"[").unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.first() == Some(&b']') {
            return None;
        }
        let (value, after) = rest.split_at_checked(value_length(rest)?)?;
        rest = after.strip_prefix(b",").unwrap_or(after);
        Some(value)
    })
}

/// The value of a key of an object in canonical JSON. `key` must need no escapes.
pub fn member<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    Members::new(object).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// How many objects and arrays are inside one another in a value in canonical JSON.
pub fn nesting(value: &[u8]) -> usize {
    let (mut depth, mut deepest, mut position) = (0_usize, 0, 0);
    while let Some(byte) = value.get(position) {
        match byte {
            b'"' => {
                let Some(length) = value.get(position..).and_then(string_length) else { return deepest };
                position += length;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        position += 1;
    }
    deepest
}

/// The text of a JSON string; `None` for other values.
pub fn string_value(json: &[u8]) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        serde_json::from_slice(json).ok().map(Cow::Owned)
    } else {
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
    }
}

/// The value of a JSON integer that fits; `None` for other values.
pub(crate) fn integer_value(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// Orders keys by Unicode code point, which for UTF-8 is the order of the bytes once escapes are resolved.
pub(crate) fn compare_keys(left: &[u8], right: &[u8]) -> Ordering {
    if left.contains(&b'\\') || right.contains(&b'\\') {
        unescaped(left).cmp(&unescaped(right))
    } else {
        left.cmp(right)
    }
}

/// The bytes of a key once its escapes are resolved.
fn unescaped(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.contains(&b'\\') {
        return Cow::Borrowed(key);
    }
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    serde_json::from_slice::<String>(&quoted).map_or(Cow::Borrowed(key), |text| Cow::Owned(text.into_bytes()))
}

/// The length of the string at the start, quotes included.
fn string_length(json: &[u8]) -> Option<usize> {
    if json.first() != Some(&b'"') {
        return None;
    }
    let mut position = 1;
    loop {
        let rest = json.get(position..)?;
        position += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        match json.get(position)? {
            b'"' => return Some(position + 1),
            _ => position += 2,
        }
    }
}

/// The length of the value at the start.
fn value_length(json: &[u8]) -> Option<usize> {
    match json.first()? {
        b'"' => string_length(json),
        b'{' | b'[' => container_length(json),
        _ => Some(json.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(json.len())),
    }
}

fn container_length(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut position = 0;
    loop {
        match json.get(position)? {
            b'"' => {
                position += string_length(json.get(position..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
        position += 1;
    }
}
