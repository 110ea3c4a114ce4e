//! What holds of every text that is read as canonical JSON. The fuzz target and the ordinary tests share this file.

use room_engine::{CanonicalObject, EventError, MAX_EVENT_BYTES, Members, Numbers, string_value};
use serde_json::Value;

/// Reads `input` with strict and with lenient numbers, and compares with `serde_json`.
pub(crate) fn check(input: &[u8]) {
    let oracle = serde_json::from_slice::<Value>(input);
    for numbers in [Numbers::Strict, Numbers::Lenient] {
        match CanonicalObject::parse(input, numbers) {
            Ok(object) => check_accepted(&object, numbers, oracle.as_ref()),
            Err(error) => check_refused(&error, input, oracle.as_ref()),
        }
    }
}

fn check_accepted(object: &CanonicalObject, numbers: Numbers, oracle: Result<&Value, &serde_json::Error>) {
    let text = object.as_bytes();
    assert!(text.len() <= MAX_EVENT_BYTES);
    assert_eq!(CanonicalObject::parse(text, numbers).as_ref(), Ok(object), "the canonical form is not its own");
    let expected = match oracle {
        Ok(value) => value,
        // Integers of any size are let through in old rooms, and serde_json stops at 1e308.
        Err(error) => {
            assert_eq!(numbers, Numbers::Lenient, "{error}");
            assert!(error.to_string().starts_with("number out of range"), "{error}");
            return;
        }
    };
    let found: Value = serde_json::from_slice(text).expect("canonical JSON is JSON");
    assert!(is_same(&found, expected), "{found} is not {expected}");
    if numbers == Numbers::Strict {
        // Keys of serde_json's objects are in order, and it writes no spaces and no escapes that are not needed.
        assert_eq!(found.to_string().as_bytes(), text);
        assert_eq!(CanonicalObject::parse(text, Numbers::Lenient).as_ref(), Ok(object));
    }
    check_members(object, &found);
}

/// Scanning finds the members that parsing finds.
fn check_members(object: &CanonicalObject, value: &Value) {
    let Value::Object(expected) = value else { panic!("an object was read as something else") };
    assert_eq!(Members::new(object.as_bytes()).count(), expected.len());
    for (key, member) in object.members() {
        let quoted = [b"\"", key, b"\""].concat();
        let key = string_value(&quoted).expect("a key is a string");
        let member: Value = serde_json::from_slice(member).expect("a member is JSON");
        assert_eq!(expected.get(key.as_ref()), Some(&member));
    }
}

/// What others can read is refused for a reason that has to do with events only.
fn check_refused(error: &EventError, input: &[u8], oracle: Result<&Value, &serde_json::Error>) {
    let _ = error.to_string();
    match error {
        EventError::NotJson { offset, .. } => {
            assert!(*offset <= input.len());
            assert!(oracle.is_err(), "serde_json reads what is refused: {error}");
        }
        EventError::NotAnObject { .. } => assert!(!matches!(oracle, Ok(Value::Object(_)))),
        EventError::NotAnInteger { .. }
        | EventError::IntegerOutOfRange { .. }
        | EventError::TooDeep { .. }
        | EventError::TooLarge { .. } => {}
        other => panic!("reading JSON cannot fail like this: {other}"),
    }
}

/// Numbers are the same when they are as binary64, give or take the last bit that serde_json does not get right.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => (left - right).abs() <= left.abs().max(right.abs()) * 4.0 * f64::EPSILON,
            _ => left == right,
        },
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|((key, left), (other, right))| key == other && is_same(left, right))
        }
        _ => left == right,
    }
}
