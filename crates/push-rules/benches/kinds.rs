//! Each kind of pattern beside a regular expression of the same meaning, both compiled before.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has to stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use push_rules::Glob;
use regex::Regex;

const USER: &str = "@a.member123:example.org";
const BODY: &str = "Good morning everybody, shall we have lunch at the new place around the corner today?";
const CYRILLIC_BODY: &str = "Доброе утро всем, пойдём сегодня обедать в новое место за углом?";

/// A kind, a pattern, and the value that it is compared with.
const VALUES: [(&str, &str, &str); 30] = [
    ("literal, equal", "m.room.message", "m.room.message"),
    ("literal, shorter value", "m.room.message", "m.room.member"),
    ("literal, longer value", "m.room.member", "m.room.message"),
    ("literal, another value as long", "m.room.message", "m.room.topic.a"),
    ("literal, in capital letters", "m.room.message", "M.ROOM.MESSAGE"),
    ("prefix, there", "@a.member*", USER),
    ("prefix, missing", "@b.member*", USER),
    ("suffix, there", "*:example.org", USER),
    ("suffix, missing", "*:example.com", USER),
    ("prefix and suffix, there", "@a*:example.org", USER),
    ("prefix and suffix, missing", "@a*:example.com", USER),
    ("contains, there", "*member*", USER),
    ("contains, missing", "*missing*", USER),
    ("contains, there, a body", "*corner*", BODY),
    ("contains, missing, a body", "*corners*", BODY),
    ("contains, there, in capital letters", "*member*", "@A.MEMBER123:EXAMPLE.ORG"),
    ("`?`, there", "@a.m?mber???:example.org", USER),
    ("`?`, missing", "@a.m?mber???:example.com", USER),
    ("`?` in the middle, there", "*m?mber*", USER),
    ("`?` in the middle, missing", "*m?ssing*", USER),
    ("`?` in the middle, there, a body", "*c?rner*", BODY),
    ("`?` in the middle, missing, a body", "*c?rners*", BODY),
    ("nothing but `?` and stars", "*?*", USER),
    ("two in the middle", "@*member*example*", USER),
    ("not ASCII, literal", "Обед", "обед"),
    ("not ASCII, prefix", "доброе*", CYRILLIC_BODY),
    ("not ASCII, contains, there", "*обедать*", CYRILLIC_BODY),
    ("not ASCII, contains, missing", "*ужинать*", CYRILLIC_BODY),
    ("not ASCII, `?` in the middle", "*об?дать*", CYRILLIC_BODY),
    ("ASCII, contains, missing, not in a body of ASCII", "*corner*", CYRILLIC_BODY),
];

/// A kind, a pattern, and the body in which its words are looked for.
const BODIES: [(&str, &str, &str); 10] = [
    ("a word, there", "lunch", BODY),
    ("a word, missing", "outage", BODY),
    ("a part of a word", "every", BODY),
    ("two words, there", "new place", BODY),
    ("with a star, there", "new*corner", BODY),
    ("with a star, missing", "prod*down", BODY),
    ("with `?`, there", "c?rner", BODY),
    ("with `?`, missing", "c?ke", BODY),
    ("not ASCII, there", "обедать", CYRILLIC_BODY),
    ("not ASCII, missing", "ужинать", CYRILLIC_BODY),
];

fn translated(pattern: &str) -> String {
    regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
}

fn whole_values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("values of each kind");
    for (kind, pattern, value) in VALUES {
        let (glob, regex) = (Glob::new(pattern), Regex::new(&format!("(?is)^{}$", translated(pattern))).unwrap());
        assert_eq!(glob.matches(value), regex.is_match(value), "{kind}");
        group.bench_function(BenchmarkId::new("glob", kind), |bencher| {
            bencher.iter(|| glob.matches(black_box(value)));
        });
        group.bench_function(BenchmarkId::new("baseline: regex", kind), |bencher| {
            bencher.iter(|| regex.is_match(black_box(value)));
        });
    }
    group.finish();
}

fn words(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("words of each kind");
    for (kind, pattern, body) in BODIES {
        let expression = format!("(?is)(?:^|[^0-9A-Za-z_]){}(?:[^0-9A-Za-z_]|$)", translated(pattern));
        let (glob, regex) = (Glob::new(pattern), Regex::new(&expression).unwrap());
        assert_eq!(glob.matches_words(body), regex.is_match(body), "{kind}");
        group.bench_function(BenchmarkId::new("glob", kind), |bencher| {
            bencher.iter(|| glob.matches_words(black_box(body)));
        });
        group.bench_function(BenchmarkId::new("baseline: regex", kind), |bencher| {
            bencher.iter(|| regex.is_match(black_box(body)));
        });
    }
    group.finish();
}

criterion_group!(benches, whole_values, words);
criterion_main!(benches);
