//! One fast pass over a JSON text that finds what a parser would let through or trip over: nesting without end, integers
//! that other servers cannot represent, text that PostgreSQL cannot store, and lone surrogates in parts that are kept unparsed.

/// Arrays and objects inside each other; `serde_json` itself stops at 128.
pub(super) const MAX_DEPTH: usize = 120;

/// The largest magnitude of an integer in Matrix, 2^53 − 1.
///
/// <https://spec.matrix.org/v1.19/appendices/#canonical-json>
pub(super) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What [`scan`] saw. It does not check that the text is JSON.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) too_deep: bool,
    /// An escaped NUL, `\u0000`, in a key or a string.
    pub(super) nul: bool,
    /// Half of a surrogate pair in a key or a string.
    pub(super) lone_surrogate: bool,
    /// An integer literal outside of ±(2^53 − 1).
    pub(super) large_integer: bool,
}

pub(super) fn scan(text: &str) -> Findings {
    let mut findings = Findings::default();
    let mut depth = 0_usize;
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => skip_string(after, &mut findings),
            b'0'..=b'9' => skip_number(rest, &mut findings),
            b'[' | b'{' => {
                depth += 1;
                findings.too_deep |= depth > MAX_DEPTH;
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ => after,
        };
    }
    findings
}

/// Returns what follows the closing quote.
fn skip_string<'a>(mut rest: &'a [u8], findings: &mut Findings) -> &'a [u8] {
    loop {
        let Some(at) = rest.iter().position(|&byte| byte == b'"' || byte == b'\\') else { return &[] };
        let (found, after) = rest.split_at(at).1.split_at(1);
        if found == b"\"" {
            return after;
        }
        rest = match after.split_first() {
            Some((b'u', digits)) => skip_unicode_escape(digits, findings),
            Some((_, after)) => after,
            None => &[],
        };
    }
}

/// Returns what follows the digits of `\uXXXX`, and of the low surrogate if there is one.
fn skip_unicode_escape<'a>(digits: &'a [u8], findings: &mut Findings) -> &'a [u8] {
    let Some((unit, after)) = code_unit(digits) else { return digits };
    match unit {
        0 => findings.nul = true,
        0xD800..=0xDBFF => {
            if let Some(digits) = after.strip_prefix(b"\\u")
                && let Some((0xDC00..=0xDFFF, after)) = code_unit(digits)
            {
                return after;
            }
            findings.lone_surrogate = true;
        }
        0xDC00..=0xDFFF => findings.lone_surrogate = true,
        _ => {}
    }
    after
}

fn code_unit(digits: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, after) = digits.split_at_checked(4)?;
    let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((unit, after))
}

/// Returns what follows the number. A sign before it changes nothing; one with a fraction or an exponent is not an integer.
fn skip_number<'a>(text: &'a [u8], findings: &mut Findings) -> &'a [u8] {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, after) = text.split_at(length);
    if let Some(b'.' | b'e' | b'E') = after.first() {
        let length = after.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        return after.split_at(length.unwrap_or(after.len())).1;
    }
    if digits.len() > 15 {
        let value =
            digits.iter().fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        findings.large_integer |= value > MAX_INTEGER;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_json_shows_nothing() {
        let text = r#"{"a": [1, -2.5e300, "x\"y\\u0000", "\ud83d\ude00 \u00e4"], "n": -9007199254740991}"#;
        assert_eq!(scan(text), Findings::default());
    }

    #[test]
    fn a_nul_is_found_in_keys_and_values_but_not_behind_an_escaped_backslash() {
        assert!(scan(r#"{"a\u0000": 1}"#).nul);
        assert!(scan(r#"["\\\u0000"]"#).nul);
        assert!(!scan(r#"["\\u0000"]"#).nul);
    }

    #[test]
    fn halves_of_surrogate_pairs_are_found() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\uD83Dx\uDE00""#] {
            assert!(scan(text).lone_surrogate, "{text}");
        }
    }

    #[test]
    fn integers_out_of_the_canonical_range_are_found() {
        for text in ["9007199254740992", "[-9007199254740992]", "{\"a\":99999999999999999999999999}"] {
            assert!(scan(text).large_integer, "{text}");
        }
        for text in ["9007199254740991", "1e30", "99999999999999999999.5", "\"9007199254740992\""] {
            assert!(!scan(text).large_integer, "{text}");
        }
    }

    #[test]
    fn depth_is_measured_outside_of_strings() {
        assert!(scan(&"[".repeat(10_000)).too_deep);
        assert!(!scan(&format!("\"{}\"", "[".repeat(10_000))).too_deep);
        assert!(!scan(&"[]".repeat(10_000)).too_deep);
    }

    #[test]
    fn text_that_is_not_json_is_survived() {
        for text in ["\"", "\"\\", "\"\\u", "\"\\u00", "\\", "{", "]]]", "-", "1e", "\u{1F600}"] {
            scan(text);
        }
    }
}
