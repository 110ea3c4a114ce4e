//! Paths of properties.

use std::borrow::Cow;

/// The names of a [dot-separated path](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths), from the
/// outside in. `\.` and `\\` stand for a dot and a backslash in a name; other backslashes are what they are.
pub(crate) fn names(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let (name, after) = split(rest?);
        rest = after;
        Some(unescaped(name))
    })
}

/// Splits at the first dot that is not escaped.
fn split(path: &str) -> (&str, Option<&str>) {
    let mut escaped = false;
    for (offset, byte) in path.bytes().enumerate() {
        match byte {
            b'.' if !escaped => {
                return path.split_at_checked(offset).map_or((path, None), |(name, rest)| (name, rest.get(1..)));
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (path, None)
}

fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return Cow::Borrowed(name);
    }
    let mut plain = String::with_capacity(name.len());
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters.next_if(|next| character == '\\' && matches!(next, '.' | '\\'));
        plain.push(escaped.unwrap_or(character));
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(path: &str) -> Vec<String> {
        names(path).map(Cow::into_owned).collect()
    }

    #[test]
    fn dots_separate_names() {
        assert_eq!(names_of("content.body"), ["content", "body"]);
        assert_eq!(names_of("type"), ["type"]);
        assert_eq!(names_of("content..x."), ["content", "", "x", ""]);
        assert_eq!(names_of(""), [""]);
    }

    #[test]
    fn escaped_dots_and_backslashes_belong_to_names() {
        assert_eq!(names_of(r"content.m\.relates_to"), ["content", "m.relates_to"]);
        assert_eq!(names_of(r"content.m\\foo"), ["content", r"m\foo"]);
        assert_eq!(names_of(r"a\\.b"), [r"a\", "b"]);
        assert_eq!(names_of(r"a\\\.b"), [r"a\.b"]);
    }

    #[test]
    fn other_escapes_are_left_as_they_are() {
        assert_eq!(names_of(r"a\x.b"), [r"a\x", "b"]);
        assert_eq!(names_of(r"a\"), [r"a\"]);
        assert_eq!(names_of(r"a\é"), [r"a\é"]);
    }
}
