//! One pass from JSON to canonical JSON.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{Numbers, ParseLimits, number, scan::compare_keys, writer::push_escaped};
use crate::EventError;

pub(super) struct Reader<'a> {
    text: &'a str,
    position: usize,
    out: Vec<u8>,
    limits: ParseLimits,
}

/// Where a member of an object lies in the output: from `start` to `end`, its key without quotes up to `key_end`.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(json: &'a [u8], limits: ParseLimits) -> Result<Self, EventError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| EventError::NotJson { offset: error.valid_up_to(), reason: "invalid UTF-8" })?;
        Ok(Self { text, position: 0, out: Vec::with_capacity(json.len().min(limits.max_bytes)), limits })
    }

    /// Reads the whole text, which must be one object.
    pub(super) fn document(mut self) -> Result<Vec<u8>, EventError> {
        self.skip_whitespace();
        if self.peek() != Some(b'{') {
            // Whether it is JSON at all decides the error code.
            self.value(0)?;
            self.end()?;
            return Err(EventError::NotAnObject { key: "content" });
        }
        self.value(0)?;
        self.end()?;
        self.check_size()?;
        Ok(self.out)
    }

    fn end(&mut self) -> Result<(), EventError> {
        self.skip_whitespace();
        if self.peek().is_some() { Err(self.broken("text after the end of the value")) } else { Ok(()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn broken(&self, reason: &'static str) -> EventError {
        EventError::NotJson { offset: self.position, reason }
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    /// Stops reading as soon as the output is too large, so that memory is bounded by the limit.
    fn check_size(&self) -> Result<(), EventError> {
        let (size, limit) = (self.out.len(), self.limits.max_bytes);
        if size > limit { Err(EventError::TooLarge { what: "event", size, limit }) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), EventError> {
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(_) => Err(self.broken("expected a value")),
            None => Err(self.broken("the text ends where a value is expected")),
        }?;
        self.check_size()
    }

    fn deeper(&self, depth: usize) -> Result<usize, EventError> {
        let limit = self.limits.max_nesting;
        if depth >= limit { Err(EventError::TooDeep { limit }) } else { Ok(depth + 1) }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), EventError> {
        if !self.rest().starts_with(word) {
            return Err(self.broken("expected a value"));
        }
        self.position += word.len();
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn array(&mut self, depth: usize) -> Result<(), EventError> {
        self.position += 1;
        self.out.push(b'[');
        self.skip_whitespace();
        if self.peek() != Some(b']') {
            loop {
                self.skip_whitespace();
                self.value(depth)?;
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => self.out.push(b','),
                    Some(b']') => break,
                    _ => return Err(self.broken("expected `,` or `]`")),
                }
                self.position += 1;
            }
        }
        self.position += 1;
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), EventError> {
        self.position += 1;
        self.out.push(b'{');
        let base = self.out.len();
        let mut spans: SmallVec<[Span; 16]> = SmallVec::new();
        let mut in_order = true;
        self.skip_whitespace();
        if self.peek() != Some(b'}') {
            loop {
                let span = self.member(depth)?;
                if let Some(last) = spans.last() {
                    in_order &= compare_keys(key(&self.out, *last), key(&self.out, span)) == Ordering::Less;
                }
                spans.push(span);
                match self.peek() {
                    Some(b',') => self.out.push(b','),
                    Some(b'}') => break,
                    _ => return Err(self.broken("expected `,` or `}`")),
                }
                self.position += 1;
            }
        }
        self.position += 1;
        if !in_order {
            self.sort_members(base, &mut spans);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn member(&mut self, depth: usize) -> Result<Span, EventError> {
        self.skip_whitespace();
        if self.peek() != Some(b'"') {
            return Err(self.broken("expected a key"));
        }
        let start = self.out.len();
        self.string()?;
        let key_end = self.out.len();
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.broken("expected `:`"));
        }
        self.position += 1;
        self.out.push(b':');
        self.skip_whitespace();
        self.value(depth)?;
        self.skip_whitespace();
        Ok(Span { start, key_end, end: self.out.len() })
    }

    /// Writes the members from `base` on again in order; of equal keys the last one stays.
    fn sort_members(&mut self, base: usize, spans: &mut [Span]) {
        let unsorted = self.out.split_off(base);
        for span in spans.iter_mut() {
            *span = Span { start: span.start - base, key_end: span.key_end - base, end: span.end - base };
        }
        spans.sort_by(|a, b| compare_keys(key(&unsorted, *a), key(&unsorted, *b)));
        let mut rest = spans.iter().peekable();
        while let Some(span) = rest.next() {
            let same_key_follows = rest
                .peek()
                .is_some_and(|next| compare_keys(key(&unsorted, *span), key(&unsorted, **next)) == Ordering::Equal);
            if same_key_follows {
                continue;
            }
            if self.out.len() > base {
                self.out.push(b',');
            }
            self.out.extend_from_slice(unsorted.get(span.start..span.end).unwrap_or_default());
        }
    }

    fn string(&mut self) -> Result<(), EventError> {
        self.position += 1;
        self.out.push(b'"');
        loop {
            let rest = self.text.as_bytes().get(self.position..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len());
            self.out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.position += plain;
            self.check_size()?;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.broken("a control character in a string must be escaped")),
                None => return Err(self.broken("the text ends inside a string")),
            }
        }
        self.position += 1;
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), EventError> {
        let code = self.text.as_bytes().get(self.position + 1).copied();
        let character = match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let character = self.unicode_escape()?;
                push_escaped(&mut self.out, character);
                return Ok(());
            }
            _ => return Err(self.broken("unknown escape in a string")),
        };
        self.position += 2;
        push_escaped(&mut self.out, character);
        Ok(())
    }

    /// Reads `\uXXXX`, or two of them that make a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, EventError> {
        let first = self.code_unit()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        let lone = EventError::NotJson { offset: self.position, reason: "a surrogate without its pair in a string" };
        if first >= 0xDC00 || !self.rest().starts_with("\\u") {
            return Err(lone);
        }
        let second = self.code_unit()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(lone)
    }

    fn code_unit(&mut self) -> Result<u32, EventError> {
        let digits = self.text.get(self.position + 2..self.position + 6).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.broken("`\\u` needs four hexadecimal digits"));
        }
        self.position += 6;
        u32::from_str_radix(digits, 16).map_err(|_| self.broken("`\\u` needs four hexadecimal digits"))
    }

    fn number(&mut self) -> Result<(), EventError> {
        let offset = self.position;
        let (length, form) =
            number::measure(self.rest()).ok_or(EventError::NotJson { offset, reason: "not a JSON number" })?;
        let digits = self.rest().get(..length).unwrap_or_default();
        self.position += length;
        match self.limits.numbers {
            Numbers::Strict => number::push_strict(&mut self.out, digits, form, offset),
            Numbers::Lenient => number::push_lenient(&mut self.out, digits, form, offset),
        }
    }
}

/// The key of a member, without its quotes.
fn key(out: &[u8], span: Span) -> &[u8] {
    out.get(span.start + 1..span.key_end.saturating_sub(1)).unwrap_or_default()
}
