//! Reading the fields of a PDU, within their limits.

use std::borrow::Cow;

use ruma::{EventId, OwnedEventId, OwnedRoomId, room_version_rules::EventsReferenceFormatVersion};

use crate::{
    EventError, MAX_IDENTIFIER_BYTES, RoomVersion,
    canonical::{elements, integer_value, member, string_value},
};

/// The [room ID](https://spec.matrix.org/v1.19/rooms/v12/#event-format-1) that a create event of version 12 makes.
pub(super) fn room_id_of_create(event_id: &EventId) -> Result<OwnedRoomId, EventError> {
    parse_id(&format!("!{}", event_id.as_str().trim_start_matches('$')), "room_id", "a room ID")
}

pub(super) fn parse_id<'a, T>(text: &'a str, key: &'static str, expected: &'static str) -> Result<T, EventError>
where
    T: TryFrom<&'a str>,
{
    T::try_from(text).map_err(|_| EventError::WrongType { key, expected })
}

pub(super) fn identifier<T>(object: &[u8], key: &'static str, expected: &'static str) -> Result<T, EventError>
where
    T: for<'a> TryFrom<&'a str>,
{
    let text = limited_string(required(object, key)?, key)?;
    T::try_from(text.as_ref()).map_err(|_| EventError::WrongType { key, expected })
}

pub(super) fn required<'a>(object: &'a [u8], key: &'static str) -> Result<&'a [u8], EventError> {
    member(object, key).ok_or(EventError::MissingKey { key })
}

pub(super) fn limited_string<'a>(value: &'a [u8], key: &'static str) -> Result<Cow<'a, str>, EventError> {
    let text = string_value(value).ok_or(EventError::WrongType { key, expected: "a string" })?;
    check_length(&text, key)?;
    Ok(text)
}

/// Refuses a `sender`, `type`, `state_key`, `room_id` or `event_id` over the limit.
pub(super) fn check_length(text: &str, what: &'static str) -> Result<(), EventError> {
    let (size, limit) = (text.len(), MAX_IDENTIFIER_BYTES);
    if size > limit { Err(EventError::TooLarge { what, size, limit }) } else { Ok(()) }
}

pub(super) fn integer(object: &[u8], key: &'static str) -> Result<i64, EventError> {
    integer_value(required(object, key)?)
        .filter(|value| *value >= 0)
        .ok_or(EventError::WrongType { key, expected: "an integer of at least 0" })
}

/// Reads `prev_events` or `auth_events`: pairs of ID and hash in versions 1 and 2, plain IDs since version 3.
pub(super) fn references(
    version: RoomVersion,
    federation_json: &[u8],
    key: &'static str,
    limit: usize,
) -> Result<Box<[OwnedEventId]>, EventError> {
    let wrong = EventError::WrongType { key, expected: "a list of event references" };
    let list = required(federation_json, key)?;
    if list.first() != Some(&b'[') {
        return Err(wrong);
    }
    let count = elements(list).count();
    if count > limit {
        return Err(EventError::TooMany { what: key, count, limit });
    }
    let in_pairs = version.rules().events_reference_format == EventsReferenceFormatVersion::V1;
    elements(list)
        .map(|entry| {
            let id = if in_pairs { elements(entry).next() } else { Some(entry) };
            let text = id.and_then(string_value).ok_or_else(|| wrong.clone())?;
            check_length(&text, key)?;
            OwnedEventId::try_from(text.as_ref()).map_err(|_| wrong.clone())
        })
        .collect()
}
