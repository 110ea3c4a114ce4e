//! The tokens by which clients name positions in the log. They are opaque to clients; the digit is the version of the format,
//! so that it can grow.

use homeserver_core::Position;

/// The token of `/sync` for a position: everything up to it was seen.
#[must_use]
pub fn sync_token(position: Position) -> String {
    format!("s1_{position}")
}

/// The token of `/sync` for a position, where the messages to the device were read only up to `to_device`.
#[must_use]
pub fn partial_sync_token(position: Position, to_device: Position) -> String {
    format!("s1_{position}_{to_device}")
}

/// Up to where the messages to the device were read, if a token of `/sync` says that of its own.
#[must_use]
pub fn parse_to_device(token: &str) -> Option<Position> {
    let (_, to_device) = token.strip_prefix("s1_")?.split_once('_')?;
    parse_position(to_device)
}

/// The token for a place in a room's history: backwards from it is what is at or before the position, forwards what is
/// after.
#[must_use]
pub fn history_token(position: Position) -> String {
    format!("t1_{position}")
}

/// The position of a token of either kind.
#[must_use]
pub fn parse_token(token: &str) -> Option<Position> {
    let Some(positions) = token.strip_prefix("s1_") else { return parse_position(token.strip_prefix("t1_")?) };
    let Some((position, to_device)) = positions.split_once('_') else { return parse_position(positions) };
    parse_position(to_device).and_then(|_| parse_position(position))
}

fn parse_position(digits: &str) -> Option<Position> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        assert_eq!(parse_token(&sync_token(Position(7))), Some(Position(7)));
        assert_eq!(parse_token(&history_token(Position(0))), Some(Position(0)));
        let partial = partial_sync_token(Position(7), Position(5));
        assert_eq!((parse_token(&partial), parse_to_device(&partial)), (Some(Position(7)), Some(Position(5))));
        assert_eq!(parse_to_device(&sync_token(Position(7))), None);
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in [
            "",
            "s1_",
            "s1_-1",
            "s2_4",
            "t1_99999999999999999999",
            "4",
            "s1_+4",
            "s1_4_",
            "s1_4_x",
            "t1_4_4",
            "s72594_4483_1934",
        ] {
            assert_eq!(parse_token(text), None, "{text}");
        }
    }
}
