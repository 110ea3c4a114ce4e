//! One pass from JSON to canonical JSON.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{Numbers, ParseLimits, number, scan::compare_keys, writer::push_escaped};
use crate::EventError;

/// Reads without recursion: how deep a value is nested is bounded by its bytes alone.
pub(super) struct Reader<'a> {
    text: &'a str,
    position: usize,
    out: Vec<u8>,
    limits: ParseLimits,
    /// The objects and arrays that are open, the outermost first.
    open: SmallVec<[Container; 8]>,
    /// The members of the open objects, of each up to the one that is being read.
    spans: SmallVec<[Span; 32]>,
}

/// An object or array that is open.
#[derive(Clone, Copy)]
struct Container {
    is_object: bool,
    /// Where its members begin among the spans.
    first_span: usize,
    /// Whether its members are in order up to now.
    in_order: bool,
}

/// What follows in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// What was read is complete.
    End,
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
        let out = Vec::with_capacity(json.len().min(limits.max_bytes));
        Ok(Self { text, position: 0, out, limits, open: SmallVec::new(), spans: SmallVec::new() })
    }

    /// Reads the whole text, which must be one object.
    pub(super) fn document(mut self) -> Result<Vec<u8>, EventError> {
        self.skip_whitespace();
        let is_object = self.peek() == Some(b'{');
        self.value()?;
        self.end()?;
        // Whether it is JSON at all decides the error code.
        if is_object { Ok(self.out) } else { Err(EventError::NotAnObject { key: "content" }) }
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

    /// Reads one value, with all that is in it.
    fn value(&mut self) -> Result<(), EventError> {
        while self.begin_value()? == Next::Value || self.end_value()? == Next::Value {}
        Ok(())
    }

    /// Reads a value that has no parts, or the beginning of one that has.
    fn begin_value(&mut self) -> Result<Next, EventError> {
        match self.peek() {
            Some(b'{') => return self.begin_container(true),
            Some(b'[') => return self.begin_container(false),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(_) => Err(self.broken("expected a value")),
            None => Err(self.broken("the text ends where a value is expected")),
        }?;
        self.check_size()?;
        Ok(Next::End)
    }

    fn begin_container(&mut self, is_object: bool) -> Result<Next, EventError> {
        let limit = self.limits.max_nesting;
        if self.open.len() >= limit {
            return Err(EventError::TooDeep { limit });
        }
        let (opening, closing) = if is_object { (b'{', b'}') } else { (b'[', b']') };
        self.position += 1;
        self.out.push(opening);
        self.check_size()?;
        self.skip_whitespace();
        if self.peek() == Some(closing) {
            self.position += 1;
            self.out.push(closing);
            self.check_size()?;
            return Ok(Next::End);
        }
        self.open.push(Container { is_object, first_span: self.spans.len(), in_order: true });
        if is_object {
            self.begin_member()?;
        }
        Ok(Next::Value)
    }

    /// Goes on after a value: to the next one of the container that it is in, or out of the containers that end with it.
    fn end_value(&mut self) -> Result<Next, EventError> {
        while let Some(Container { is_object, .. }) = self.open.last().copied() {
            if is_object && let Some(member) = self.spans.last_mut() {
                member.end = self.out.len();
            }
            self.skip_whitespace();
            match (self.peek(), is_object) {
                (Some(b','), _) => {
                    self.position += 1;
                    self.out.push(b',');
                    self.skip_whitespace();
                    if is_object {
                        self.begin_member()?;
                    }
                    return Ok(Next::Value);
                }
                (Some(b'}'), true) | (Some(b']'), false) => self.end_container(),
                (_, true) => return Err(self.broken("expected `,` or `}`")),
                (_, false) => return Err(self.broken("expected `,` or `]`")),
            }
            self.check_size()?;
        }
        Ok(Next::End)
    }

    fn end_container(&mut self) {
        let Some(Container { is_object, first_span, in_order }) = self.open.pop() else { return };
        if !in_order {
            let mut members: SmallVec<[Span; 16]> = self.spans.drain(first_span..).collect();
            self.sort_members(&mut members);
        }
        self.spans.truncate(first_span);
        self.position += 1;
        self.out.push(if is_object { b'}' } else { b']' });
    }

    /// Reads the key of a member, up to its value.
    fn begin_member(&mut self) -> Result<(), EventError> {
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
        let member = Span { start, key_end, end: key_end };
        if let Some(object) = self.open.last_mut() {
            let before = self.spans.get(object.first_span..).and_then(<[Span]>::last);
            object.in_order &=
                before.is_none_or(|before| compare_keys(key(&self.out, *before), key(&self.out, member)).is_lt());
        }
        self.spans.push(member);
        Ok(())
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

    /// Writes the members of the innermost object again in order; of equal keys the last one stays.
    fn sort_members(&mut self, spans: &mut [Span]) {
        let Some(base) = spans.first().map(|first| first.start) else { return };
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
