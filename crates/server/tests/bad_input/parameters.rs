//! Wrong parameters in paths and query strings.

use testing::on_both_databases;

use crate::endpoints::ENDPOINTS;
use crate::findings::{Expected, Findings};
use crate::world::World;

/// Encoded as they are sent. No parameter of any path can be one of the first.
const BROKEN: &[&str] = &["%00", "a%00b", "%ff%fe", "%c0%80", "%ed%a0%80", "%e2%82"];
const ODD: &[&str] = &[
    "",
    "%",
    "%z",
    "%zz",
    "%2",
    "%2F",
    "%2e%2e",
    "..",
    ".",
    "%20",
    "+",
    "%0d%0aX:%20y",
    "x",
    "!",
    "@",
    "%23",
    "$",
    "%21:",
    "@:",
    "%3A",
    "%F0%9F%98%80",
    "'",
    "%22",
    ";drop",
    "9223372036854775808",
    "-1",
    "@a:localhost:99999",
    "!a:[::1",
    "%25%30%30",
];

fn long() -> Vec<String> {
    ["%21", "%40", "%23", "$", ""]
        .iter()
        .flat_map(|sigil| [300, 5_000].map(|length| format!("{sigil}{}:localhost", "a".repeat(length))))
        .collect()
}

/// The path with the segment at `index` replaced.
fn replaced(path: &str, index: usize, segment: &str) -> String {
    let segments = path.split('/').enumerate().map(|(at, old)| if at == index { segment } else { old });
    segments.collect::<Vec<_>>().join("/")
}

on_both_databases! {
    async fn a_wrong_parameter_in_any_path_is_answered_in_order(db: TestDatabase) {
        let world = World::new(&db).await;
        let mut findings = Findings::default();
        for endpoint in ENDPOINTS {
            let full = endpoint.full_path();
            let parameters = full.split('/').enumerate().filter(|(_, segment)| segment.starts_with('{'));
            for (index, parameter) in parameters {
                let odd = ODD.iter().map(|text| (Expected::Orderly, (*text).to_owned()));
                let odd = odd.chain(long().into_iter().map(|text| (Expected::Orderly, text)));
                // Who is no administrator is refused whatever the path says.
                let refused = if endpoint.is_for_administrators() { Expected::Orderly } else { Expected::Refused };
                let broken = BROKEN.iter().map(|text| (refused, (*text).to_owned()));
                for (expected, segment) in broken.chain(odd) {
                    let mut call = world.call(endpoint).await;
                    call.path = replaced(&call.path, index, &segment);
                    let shown: String = segment.chars().take(40).collect();
                    findings.check(call.valid(), &format!("{} with {parameter} = {shown}", endpoint.name()), expected).await;
                }
            }
        }
        findings.none();
    }

    async fn a_wrong_value_in_any_query_string_is_answered_in_order(db: TestDatabase) {
        let world = World::new(&db).await;
        let mut findings = Findings::default();
        for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.query.is_empty()) {
            for (key, old) in endpoint.query.split('&').map(|pair| pair.split_once('=').unwrap()) {
                let is_typed = old.parse::<u64>().is_ok() || ["true", "false"].contains(&old);
                let refused = if is_typed { Expected::Refused } else { Expected::Orderly };
                let long = "a".repeat(8_000);
                for (expected, value) in [
                    (Expected::Refused, "%00"), (Expected::Refused, "%ff"), (Expected::Refused, "%ed%a0%80"),
                    (refused, "text"), (refused, "-1"), (refused, "1.5"), (refused, "1e400"), (refused, "%5B%5D"),
                    (refused, "99999999999999999999999999"), (Expected::Orderly, ""), (Expected::Orderly, "%"),
                    (Expected::Orderly, "%zz"), (Expected::Orderly, "%7B"), (Expected::Orderly, "%7B%22room%22%3A1%7D"),
                    (Expected::Orderly, "s1_99999999999999999999"), (Expected::Orderly, "s1_-1"), (Expected::Orderly, "t1_x"),
                    (Expected::Orderly, "0"), (Expected::Orderly, long.as_str()),
                ] {
                    let mut call = world.call(endpoint).await;
                    call.query = call.query.replacen(&format!("{key}={old}"), &format!("{key}={value}"), 1);
                    let shown: String = value.chars().take(40).collect();
                    findings.check(call.valid(), &format!("{} with ?{key}={shown}", endpoint.name()), expected).await;
                }
                let mut call = world.call(endpoint).await;
                call.query = format!("{}&{key}=other", call.query);
                findings.check(call.valid(), &format!("{} with {key} twice", endpoint.name()), Expected::Orderly).await;
            }
        }
        findings.none();
    }
}
