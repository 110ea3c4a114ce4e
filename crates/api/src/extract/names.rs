//! Texts that clients choose and that are stored, within the lengths that the specification sets.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, de};

/// The longest of them, in bytes.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
const MAX_BYTES: usize = 255;

/// The type of an event. One that is too long is `M_TOO_LARGE`, as the event would be.
#[derive(Clone, Debug)]
pub struct EventType(String);

/// The state key of an event. One that is too long is `M_TOO_LARGE`, as the event would be.
#[derive(Clone, Default, Debug)]
pub struct StateKey(String);

/// What a client names a request by, so that a repetition is known as one. One that is too long is `M_INVALID_PARAM`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>
#[derive(Clone, Debug)]
pub struct TransactionId(String);

macro_rules! names {
    ($($name:ident: $too_long:expr;)*) => {$(
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text.len() > MAX_BYTES { Err($too_long(text.len())) } else { Ok(Self(text)) }
            }
        }
    )*};
}

names! {
    EventType: |length| de::Error::invalid_length(length, &"at most 255 bytes");
    StateKey: |length| de::Error::invalid_length(length, &"at most 255 bytes");
    TransactionId: |length| de::Error::custom(format_args!("it has {length} bytes; the limit is {MAX_BYTES}"));
}
