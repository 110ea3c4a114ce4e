use proptest::prelude::*;
use ruma::canonical_json::CanonicalJsonValue;
use serde_json::{Value, json};

use super::*;
use crate::ErrorKind;

fn strict(json: &str) -> Result<String, EventError> {
    read(json, Numbers::Strict)
}

fn read(json: &str, numbers: Numbers) -> Result<String, EventError> {
    CanonicalObject::parse(json.as_bytes(), numbers)
        .map(|object| String::from_utf8(object.as_bytes().to_vec()).unwrap())
}

#[test]
fn the_examples_of_the_specification_come_out_as_it_says() {
    for (input, expected) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
               "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                              {"medium": "msisdn", "address": "123456789"}]}}}"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
        (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
        (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
        (r#"{"a": null}"#, r#"{"a":null}"#),
    ] {
        assert_eq!(strict(input).as_deref(), Ok(expected));
    }
    assert_eq!(read(r#"{"a": -0, "b": 1e10}"#, Numbers::Lenient).as_deref(), Ok(r#"{"a":0,"b":10000000000}"#));
}

#[test]
fn numbers_that_are_not_canonical_are_refused_where_events_must_be_strict() {
    for number in ["1.0", "1e3", "-0", "0.5", "1E-2"] {
        let error = strict(&format!(r#"{{"a":{number}}}"#)).unwrap_err();
        assert_eq!(error, EventError::NotAnInteger { offset: 5 });
        assert_eq!(error.kind(), ErrorKind::BadJson);
    }
    for number in ["9007199254740992", "-9007199254740992", "99999999999999999999999"] {
        assert_eq!(strict(&format!("{{\"a\":{number}}}")), Err(EventError::IntegerOutOfRange { offset: 5 }));
    }
    for number in ["9007199254740991", "-9007199254740991", "0"] {
        assert!(strict(&format!("{{\"a\":{number}}}")).is_ok());
    }
}

#[test]
fn old_rooms_keep_numbers_in_the_form_that_other_servers_hash() {
    for (input, expected) in [
        ("50.0", "50.0"),
        ("50.570", "50.57"),
        ("1e16", "1e+16"),
        ("1.5e-7", "1.5e-07"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-1E2", "-100"),
    ] {
        let json = format!("{{\"a\":{input}}}");
        assert_eq!(read(&json, Numbers::Lenient), Ok(format!("{{\"a\":{expected}}}")));
    }
    assert!(read(r#"{"a":1e999}"#, Numbers::Lenient).is_err());
}

#[test]
fn broken_json_is_refused_with_its_place() {
    for json in [
        "",
        " ",
        "{",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\":1}x",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":tru}",
        "{\"a\":NaN}",
        "{\"a\":[1,]}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u+123\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"",
        "{'a':1}",
    ] {
        assert_eq!(strict(json).unwrap_err().kind(), ErrorKind::NotJson, "{json}");
    }
    let error = CanonicalObject::parse(b"{\"a\":\"\xff\"}", Numbers::Strict).unwrap_err();
    assert_eq!(error, EventError::NotJson { offset: 6, reason: "invalid UTF-8" });
}

#[test]
fn a_value_that_is_no_object_is_json_but_no_content() {
    for json in ["[]", "1", "\"a\"", "null", " true "] {
        assert_eq!(strict(json), Err(EventError::NotAnObject { key: "content" }));
    }
}

#[test]
fn nesting_is_bounded_without_recursing_into_it() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(strict(&nested(MAX_NESTING)).is_ok());
    assert_eq!(strict(&nested(MAX_NESTING + 1)), Err(EventError::TooDeep { limit: MAX_NESTING }));
    assert_eq!(strict(&"[".repeat(1_000_000)), Err(EventError::TooDeep { limit: MAX_NESTING }));
}

#[test]
fn events_are_read_however_deep_they_are() {
    let limits = ParseLimits::event(Numbers::Strict);
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(32_000), "]".repeat(32_000));
    // Each level has its keys in the wrong order, and one of them twice.
    let unsorted = format!("{}1{}", "{\"b\":0,\"b\":".repeat(2_500), ",\"a\":2}".repeat(2_500));
    let sorted = format!("{}1{}", "{\"a\":2,\"b\":".repeat(2_500), "}".repeat(2_500));
    // A stack that would not hold a frame for each level.
    let read = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        for (json, expected) in [(&objects, &objects), (&lists, &lists), (&unsorted, &sorted)] {
            let object = CanonicalObject::parse_within(json.as_bytes(), limits).unwrap();
            assert_eq!(object.as_bytes(), expected.as_bytes());
            assert_eq!(object.members().count(), if expected == &sorted { 2 } else { 1 });
        }
        assert_eq!(nesting(lists.as_bytes()), 32_001);
        let endless = CanonicalObject::parse_within("[".repeat(1_000_000).as_bytes(), limits);
        assert_eq!(endless.unwrap_err().kind(), ErrorKind::TooLarge);
        let unfinished = CanonicalObject::parse_within("{\"a\":".repeat(10_000).as_bytes(), limits);
        assert_eq!(unfinished.unwrap_err().kind(), ErrorKind::NotJson);
    });
    read.unwrap().join().unwrap();
}

#[test]
fn reading_stops_at_the_size_limit() {
    let json = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_EVENT_BYTES));
    assert_eq!(strict(&json).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn of_a_repeated_key_the_last_one_counts() {
    assert_eq!(strict(r#"{"b":1,"a":1,"b":2}"#).as_deref(), Ok(r#"{"a":1,"b":2}"#));
    assert_eq!(strict(r#"{"a":1,"\u0061":[2]}"#).as_deref(), Ok(r#"{"a":[2]}"#));
}

#[test]
fn keys_are_ordered_by_code_point_not_by_their_escapes() {
    let json = "{\"\\\\\":1,\"\\\"\":2,\"!\":3,\"a\":4,\"\\n\":5,\"\u{10000}\":6,\"\u{ffff}\":7,\"a!\":8}";
    let expected = "{\"\\n\":5,\"!\":3,\"\\\"\":2,\"\\\\\":1,\"a\":4,\"a!\":8,\"\u{ffff}\":7,\"\u{10000}\":6}";
    assert_eq!(strict(json).as_deref(), Ok(expected));
}

#[test]
fn a_member_is_added_in_its_place() {
    let object = CanonicalObject::parse(br#"{"a":1,"c":{"d":[1,"]"]}}"#, Numbers::Strict).unwrap();
    assert_eq!(object.with_member("b", b"2").as_bytes(), br#"{"a":1,"b":2,"c":{"d":[1,"]"]}}"#);
    assert_eq!(object.with_member("a", b"2").as_bytes(), br#"{"a":2,"c":{"d":[1,"]"]}}"#);
    assert_eq!(CanonicalObject::empty().with_member("a", b"2").as_bytes(), br#"{"a":2}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[\\\\\"\n\u{0}-\u{20}\u{7f}a]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[\\\\\"\n!a-c日\u{10000}]{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_gets_the_canonical_form_that_ruma_gives_it(value in any_json()) {
        let object = json!({ "value": value });
        let expected = CanonicalJsonValue::try_from(object.clone()).unwrap().to_string();
        let compact = strict(&object.to_string()).unwrap();
        let pretty = strict(&serde_json::to_string_pretty(&object).unwrap()).unwrap();
        prop_assert_eq!(&compact, &expected);
        prop_assert_eq!(&pretty, &expected);
        prop_assert_eq!(strict(&compact).unwrap(), compact);
    }

    #[test]
    fn scanning_finds_every_member(value in any_json()) {
        let object = json!({ "x": value, "y": 1 });
        let canonical = CanonicalObject::from_serialize(&object, Numbers::Strict).unwrap();
        let read_back: Value = serde_json::from_slice(canonical.value("x").unwrap()).unwrap();
        prop_assert_eq!(&read_back, &object["x"]);
        prop_assert_eq!(canonical.value("y"), Some(b"1".as_slice()));
        prop_assert_eq!(canonical.members().count(), 2);
        if let Value::Array(list) = &object["x"] {
            prop_assert_eq!(elements(canonical.value("x").unwrap()).count(), list.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = CanonicalObject::parse(&bytes, Numbers::Strict);
        let _ = CanonicalObject::parse(&bytes, Numbers::Lenient);
        for (key, value) in Members::new(&bytes) {
            prop_assert!(key.len() + value.len() <= bytes.len());
        }
    }

    #[test]
    fn what_is_accepted_is_json_to_others_too(text in "[{}\\[\\]\":,a0-9.eE+\\\\u-]{0,24}") {
        let json = format!("{{\"a\":{text}}}");
        if read(&json, Numbers::Lenient).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&json).is_ok());
        }
    }
}
