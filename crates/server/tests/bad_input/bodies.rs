//! Wrong bodies: each value of each valid body replaced in turn by what it is not.

use bytes::Bytes;
use serde_json::{Map, Value};
use testing::on_both_databases;

use crate::endpoints::{ENDPOINTS, Endpoint};
use crate::findings::{Expected, Findings};
use crate::world::World;

/// Stands in a body for the text that replaces it, because no `Value` can hold that.
const MARK: &str = "\u{1}the text to replace\u{1}";

/// Further than any parser that recurses goes.
const DEPTH: usize = 10_000;

/// What a kind of value may be replaced by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
    /// Not to be let through anywhere.
    Broken,
    /// Allowed by the grammar, but odd.
    Odd,
}

fn replacements() -> Vec<(Kind, String)> {
    let mut all: Vec<(Kind, String)> = [
        (Kind::Null, "null"),
        (Kind::Bool, "true"),
        (Kind::Number, "5"),
        (Kind::Number, "-1"),
        (Kind::Text, r#""text""#),
        (Kind::List, "[]"),
        (Kind::List, r#"[1, "a", null, {}]"#),
        (Kind::Object, "{}"),
        (Kind::Object, r#"{"a": 1}"#),
        (Kind::Broken, r#""\ud800""#),
        (Kind::Broken, r#"{"\udc00": 1}"#),
        (Kind::Broken, "99999999999999999999999999"),
        (Kind::Broken, "-9007199254740992"),
        (Kind::Odd, "1e400"),
        (Kind::Odd, "1.5"),
        (Kind::Odd, r#""""#),
        (Kind::Odd, r#""nul \u0000 here""#),
        (Kind::Odd, r#"{"nul \u0000 key": "\u0000"}"#),
        (Kind::Odd, r#""../../%00%2f\n\r\u001b[31m""#),
    ]
    .map(|(kind, text)| (kind, text.to_owned()))
    .into();
    all.push((Kind::Odd, format!("\"{}\"", "x".repeat(300))));
    all.push((Kind::Odd, format!("\"{}\"", "\u{1F600}".repeat(20_000))));
    all.push((Kind::Broken, format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))));
    all.push((Kind::Broken, format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH))));
    all
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    }
}

/// The place of every value inside `value`.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    let mut visit = |key: &str, value: &Value| {
        let place = if here.is_empty() { key.to_owned() } else { format!("{here}.{key}") };
        places(value, &place, found);
        found.push(place);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| visit(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| visit(&index.to_string(), value)),
        _ => {}
    }
}

fn at<'a>(body: &'a mut Value, place: &str) -> &'a mut Value {
    // Keys with dots are not split further than they have to be.
    let mut rest = place;
    let mut value = body;
    while !rest.is_empty() {
        let key = match &*value {
            Value::Object(map) => {
                let is_first = |key: &&String| rest == *key || rest.starts_with(&format!("{key}."));
                map.keys().filter(is_first).max_by_key(|key| key.len()).cloned().unwrap()
            }
            _ => rest.split('.').next().unwrap().to_owned(),
        };
        rest = rest[key.len()..].trim_start_matches('.');
        value = match value {
            Value::Object(map) => map.get_mut(&key).unwrap(),
            Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
            _ => unreachable!("{place} is not in the body"),
        };
    }
    value
}

/// What the answer must be if the value at `place`, of the kind `was`, is replaced by one of the kind `becomes`.
fn expected(endpoint: &Endpoint, place: &str, was: Kind, becomes: Kind) -> Expected {
    let is_wrong_type =
        !endpoint.is_free(place) && was != Kind::Null && ![Kind::Null, Kind::Odd].contains(&becomes) && was != becomes;
    if becomes == Kind::Broken || is_wrong_type { Expected::Refused } else { Expected::Orderly }
}

async fn try_fields(world: &World, endpoint: &Endpoint, findings: &mut Findings) {
    let template = world.call(endpoint).await.body.unwrap();
    let mut all = Vec::new();
    places(&template, "", &mut all);
    for place in all {
        for (becomes, text) in replacements() {
            let call = world.call(endpoint).await;
            let mut body = call.body.clone().unwrap();
            let value = at(&mut body, &place);
            let expected = expected(endpoint, &place, kind(value), becomes);
            *value = Value::from(MARK);
            let body = body.to_string().replace(&Value::from(MARK).to_string(), &text);
            let shown: String = text.chars().take(40).collect();
            findings
                .check(call.authorised().body(body), &format!("{} with {place} = {shown}", endpoint.name()), expected)
                .await;
        }
        let call = world.call(endpoint).await;
        let body = without(call.body.clone().unwrap(), &place);
        findings
            .check(call.authorised().json(&body), &format!("{} without {place}", endpoint.name()), Expected::Orderly)
            .await;
    }
}

fn without(mut body: Value, place: &str) -> Value {
    *at(&mut body, place) = Value::from(MARK);
    fn prune(value: Value) -> Value {
        let is_kept = |value: &Value| value != MARK;
        match value {
            Value::Object(map) => Value::Object(
                map.into_iter()
                    .filter(|(_, value)| is_kept(value))
                    .map(|(key, value)| (key, prune(value)))
                    .collect::<Map<_, _>>(),
            ),
            Value::Array(list) => Value::Array(list.into_iter().filter(is_kept).map(prune).collect()),
            other => other,
        }
    }
    prune(body)
}

/// Bodies that are no JSON objects, and what is wrong with them.
fn whole_bodies() -> Vec<(&'static str, Bytes)> {
    vec![
        ("M_NOT_JSON", Bytes::from_static(b"not json")),
        ("M_NOT_JSON", Bytes::from_static(b"{")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": 1,}")),
        ("M_NOT_JSON", Bytes::from_static(b"{} {}")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": \xff}")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": \"\xc3\x28\"}")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": \"\xed\xa0\x80\"}")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": NaN}")),
        ("M_NOT_JSON", Bytes::from_static(b"{\"a\": Infinity}")),
        ("M_NOT_JSON", Bytes::from_static(b"\0")),
        ("M_BAD_JSON", Bytes::from_static(b"[]")),
        ("M_BAD_JSON", Bytes::from_static(b"null")),
        ("M_BAD_JSON", Bytes::from_static(b"\"text\"")),
        ("M_BAD_JSON", Bytes::from_static(b"1")),
        ("M_BAD_JSON", Bytes::from("[".repeat(DEPTH))),
        ("M_BAD_JSON", Bytes::from("{\"a\":".repeat(DEPTH))),
    ]
}

on_both_databases! {
    async fn a_body_that_is_no_json_object_is_refused_by_every_endpoint(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.body().is_some()) {
            for (errcode, body) in whole_bodies() {
                let call = world.call(endpoint).await;
                let answer = call.authorised().body(body.clone()).await;
                assert_eq!(answer.json["errcode"], errcode, "{} with {body:?}: {answer}", endpoint.name());
                answer.error(400, errcode);
            }
        }
    }

    async fn a_body_over_the_limit_is_a_413(db: TestDatabase) {
        let world = World::new(&db).await;
        let body = Bytes::from(format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)));
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.body().is_some()) {
            let call = world.call(endpoint).await;
            call.authorised().body(body.clone()).await.error(413, "M_TOO_LARGE");
        }
    }

    async fn an_error_arrives_although_the_body_was_not_read(db: TestDatabase) {
        let world = World::new(&db).await;
        let body = Bytes::from(format!("{{\"a\": \"{}\"}}", "x".repeat(3 << 20)));
        for _ in 0..20 {
            let path = "/_matrix/client/v3/createRoom";
            world.client().post(path).body(body.clone()).await.error(401, "M_MISSING_TOKEN");
            world.client().put(path).body(body.clone()).await.error(405, "M_UNRECOGNIZED");
            world.client().post("/unknown").body(body.clone()).await.error(404, "M_UNRECOGNIZED");
            world.alice().post(path).body(body.clone()).await.error(413, "M_TOO_LARGE");
        }
    }

    async fn a_wrong_value_in_any_field_is_answered_in_order(db: TestDatabase) {
        let world = World::new(&db).await;
        let mut findings = Findings::default();
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.body().is_some()) {
            try_fields(&world, endpoint, &mut findings).await;
        }
        // What was let through must not break what is read.
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method() == "GET") {
            findings.check(world.call(endpoint).await.valid(), &format!("{} afterwards", endpoint.name()), Expected::Orderly).await;
        }
        world.alice().sync(None, 0).await;
        findings.none();
    }
}
