//! Reading a JSON object while it arrives: the elements of its long lists come one by one, so that no list is in memory as a text.

use federation::{OpenAnswer, RequestError};

/// The longest element or value. An event has 64 KiB at most, and what others add to it and the escapes of JSON may make it longer; the
/// list of a room's servers is longer than that.
const MAX_PART_BYTES: usize = 1 << 20;
/// The longest key of the object.
const MAX_KEY_BYTES: usize = 256;

/// Reads an answer that is an object, and tells its parts: of `lists` the elements.
pub(super) async fn read_parts(
    mut open: OpenAnswer,
    max_bytes: usize,
    lists: &'static [&'static str],
    mut tell: impl FnMut(Part<'_>) -> Result<(), &'static str>,
) -> Result<(), RequestError> {
    let server = open.server().to_owned();
    let bad = |reason: &str| RequestError::bad_answer(&server, reason);
    let mut splitter = Splitter::of_lists(lists);
    let mut read_bytes = 0_usize;
    while let Some(piece) = open.piece().await? {
        read_bytes = read_bytes.saturating_add(piece.len());
        if read_bytes > max_bytes {
            return Err(bad("it is too long"));
        }
        splitter.push(&piece, &mut tell).map_err(bad)?;
    }
    splitter.end().map_err(bad)
}

/// A part of the object, as it was written.
pub(super) enum Part<'a> {
    /// An element of one of the long lists.
    Element { list: &'a str, json: &'a [u8] },
    /// Another value.
    Value { key: &'a str, json: &'a [u8] },
}

/// Splits an object into its parts. It looks at strings and brackets only: whether a part is JSON is for its reader to find out.
pub(super) struct Splitter {
    lists: &'static [&'static str],
    state: State,
    key: String,
    part: Vec<u8>,
    /// Brackets that are open in the part.
    depth: u32,
    string: InString,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the object.
    Start,
    /// Before a key, or the end of the object.
    BeforeKey,
    Key,
    /// Between a key and its value.
    BeforeColon,
    BeforeValue,
    Value,
    /// In one of the long lists, before an element or its end.
    BeforeElement,
    Element,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

impl Splitter {
    /// Splits these lists of the object into their elements.
    pub(super) fn of_lists(lists: &'static [&'static str]) -> Self {
        let (state, string) = (State::Start, InString::No);
        Self { lists, state, key: String::new(), part: Vec::new(), depth: 0, string }
    }

    /// Reads a piece, and tells the parts that end in it.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        tell: &mut impl FnMut(Part<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        for byte in piece {
            self.read(*byte, tell)?;
        }
        Ok(())
    }

    /// Fails if the object has not ended.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        if self.state == State::End { Ok(()) } else { Err("it ends too early") }
    }

    fn read(
        &mut self,
        byte: u8,
        tell: &mut impl FnMut(Part<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        match (self.state, byte) {
            (State::Key, _) => return self.read_key(byte),
            (State::Value | State::Element, _) => return self.read_part(byte, tell),
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Start, b'{') | (State::BeforeKey, b',') => self.state = State::BeforeKey,
            (State::BeforeKey, b'"') => {
                self.key.clear();
                self.state = State::Key;
            }
            (State::BeforeKey, b'}') => self.state = State::End,
            (State::BeforeColon, b':') => self.state = State::BeforeValue,
            (State::BeforeValue, b'[') if self.lists.contains(&self.key.as_str()) => self.state = State::BeforeElement,
            (State::BeforeElement, b',') => {}
            (State::BeforeElement, b']') => self.state = State::BeforeKey,
            (State::BeforeValue, _) => return self.begin_part(State::Value, byte, tell),
            (State::BeforeElement, _) => return self.begin_part(State::Element, byte, tell),
            _ => return Err("it is not a JSON object"),
        }
        Ok(())
    }

    /// Keys that matter have no escapes.
    fn read_key(&mut self, byte: u8) -> Result<(), &'static str> {
        match byte {
            b'"' => self.state = State::BeforeColon,
            b'\\' => return Err("a key of it has an escape"),
            _ if self.key.len() >= MAX_KEY_BYTES => return Err("a key of it is too long"),
            _ => self.key.push(char::from(byte)),
        }
        Ok(())
    }

    fn begin_part(
        &mut self,
        state: State,
        byte: u8,
        tell: &mut impl FnMut(Part<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        self.part.clear();
        (self.state, self.depth, self.string) = (state, 0, InString::No);
        self.read_part(byte, tell)
    }

    fn read_part(
        &mut self,
        byte: u8,
        tell: &mut impl FnMut(Part<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let is_outside = self.depth == 0 && self.string == InString::No;
        if is_outside && matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
            // The end of a number or a word; the byte belongs to what is around it.
            self.tell_part(tell)?;
            return self.read(byte, tell);
        }
        if self.part.len() >= MAX_PART_BYTES {
            return Err("a part of it is too long");
        }
        self.part.push(byte);
        match (self.string, byte) {
            (InString::Escaped, _) => self.string = InString::Yes,
            (InString::Yes, b'\\') => self.string = InString::Escaped,
            (InString::Yes, b'"') => self.string = InString::No,
            (InString::Yes, _) => return Ok(()),
            (InString::No, b'"') => self.string = InString::Yes,
            (InString::No, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (InString::No, b'}' | b']') => self.depth -= 1,
            (InString::No, _) => return Ok(()),
        }
        let is_closed = self.depth == 0 && self.string == InString::No;
        if is_closed { self.tell_part(tell) } else { Ok(()) }
    }

    fn tell_part(&mut self, tell: &mut impl FnMut(Part<'_>) -> Result<(), &'static str>) -> Result<(), &'static str> {
        let (key, json) = (self.key.as_str(), self.part.as_slice());
        if json.is_empty() {
            return Err("a value is missing");
        }
        if self.state == State::Element {
            self.state = State::BeforeElement;
            return tell(Part::Element { list: key, json });
        }
        self.state = State::BeforeKey;
        tell(Part::Value { key, json })
    }
}
