//! The tokens by which clients name positions in the log. They are opaque to clients; the digit is the version of the format,
//! so that it can grow.

use homeserver_core::{Position, TimelineOrder};

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

/// The token for a place in a room's timeline: backwards from it is what is at or before the place, forwards what is after.
#[must_use]
pub fn history_token(place: TimelineOrder) -> String {
    format!("t2_{place}")
}

/// The position of a token of either kind: for a place, the last position that is not after it.
#[must_use]
pub fn parse_token(token: &str) -> Option<Position> {
    let Some(positions) = token.strip_prefix("s1_") else {
        return parse_old_history(token).or_else(|| parse_history(token).map(TimelineOrder::position));
    };
    let Some((position, to_device)) = positions.split_once('_') else { return parse_position(positions) };
    parse_position(to_device).and_then(|_| parse_position(position))
}

/// The place of a token of either kind. The place of a token of `/sync` is behind everything that was seen.
#[must_use]
pub fn parse_place(token: &str) -> Option<TimelineOrder> {
    parse_history(token).or_else(|| parse_token(token).map(TimelineOrder::end_of))
}

fn parse_history(token: &str) -> Option<TimelineOrder> {
    let place = token.strip_prefix("t2_")?;
    let digits = place.strip_prefix('-').unwrap_or(place);
    if !is_number(digits) {
        return None;
    }
    place.parse().ok().map(TimelineOrder)
}

/// The position of a token as earlier versions of the server gave them out.
fn parse_old_history(token: &str) -> Option<Position> {
    parse_position(token.strip_prefix("t1_")?)
}

fn parse_position(digits: &str) -> Option<Position> {
    if !is_number(digits) {
        return None;
    }
    digits.parse().ok().map(Position)
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        assert_eq!(parse_token(&sync_token(Position(7))), Some(Position(7)));
        for place in [TimelineOrder::START, TimelineOrder(-1), TimelineOrder(0), TimelineOrder::END] {
            assert_eq!(parse_place(&history_token(place)), Some(place));
        }
        assert_eq!(parse_token(&history_token(TimelineOrder::end_of(Position(7)))), Some(Position(7)));
        let partial = partial_sync_token(Position(7), Position(5));
        assert_eq!((parse_token(&partial), parse_to_device(&partial)), (Some(Position(7)), Some(Position(5))));
        assert_eq!(parse_to_device(&sync_token(Position(7))), None);
    }

    #[test]
    fn a_position_stands_for_the_last_place_before_the_next() {
        for token in ["s1_7", "s1_7_5", "t1_7"] {
            assert_eq!(parse_place(token), Some(TimelineOrder::end_of(Position(7))), "{token}");
        }
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
            "t2_",
            "t2_-",
            "t2_--1",
            "t2_+1",
            "t2_1_1",
            "t2_99999999999999999999",
            "s72594_4483_1934",
        ] {
            assert_eq!(parse_token(text), None, "{text}");
            assert_eq!(parse_place(text), None, "{text}");
        }
    }
}
