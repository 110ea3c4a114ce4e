//! Writing canonical JSON.

use std::io::Write as _;

/// Appends one character of a string in its shortest canonical escape.
pub(super) fn push_escaped(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\u{1f}' => {
            out.extend_from_slice(b"\\u00");
            let code = u32::from(character);
            for digit in [code >> 4, code & 0xF] {
                out.extend(char::from_digit(digit, 16).and_then(|digit| u8::try_from(digit).ok()));
            }
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends a string with its quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        text.chars().for_each(|character| push_escaped(out, character));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

/// Writes an object whose keys the caller gives in canonical order.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> ObjectWriter<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    /// Appends a key that needs no escapes, and hands out the buffer for its value.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.raw_key(key.as_bytes())
    }

    /// Appends a key that is already escaped.
    pub(crate) fn raw_key(&mut self, key: &[u8]) -> &mut Vec<u8> {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        push_string(self.key(key), value);
    }

    pub(crate) fn integer(&mut self, key: &str, value: i64) {
        // Writing into a vector cannot fail.
        let _ = write!(self.key(key), "{value}");
    }

    pub(crate) fn json(&mut self, key: &str, value: &[u8]) {
        self.key(key).extend_from_slice(value);
    }

    pub(crate) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}
