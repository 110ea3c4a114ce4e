//! Patterns: compiled or not, remembered or not, beside regular expressions and a matcher that tries again.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has to stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use push_rules::{Glob, PatternCache};
use regex::Regex;

const BODY: &str = "Good morning everybody, shall we have lunch at the new place around the corner today?";

/// Patterns as users have them. Half of them are in the body.
const PATTERNS: [&str; 6] = ["lunch", "outage", "new*corner", "prod*down", "c?rner", "c?ke"];

/// The pattern as a regular expression, for whole values.
fn whole(pattern: &str) -> Regex {
    Regex::new(&format!("(?is)^{}$", translated(pattern))).unwrap()
}

/// The pattern as a regular expression, for words in a body.
fn words(pattern: &str) -> Regex {
    Regex::new(&format!("(?is)(?:^|[^0-9A-Za-z_]){}(?:[^0-9A-Za-z_]|$)", translated(pattern))).unwrap()
}

fn translated(pattern: &str) -> String {
    regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
}

/// The rules of globs, tried one after the other.
fn trying(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| trying(rest, text.get(skipped..).unwrap_or_default())),
        Some((unit, rest)) => {
            text.split_first().is_some_and(|(first, text)| (*unit == b'?' || unit == first) && trying(rest, text))
        }
    }
}

fn remembering(criterion: &mut Criterion) {
    let cache = PatternCache::new(1024 * 1024);
    let mut group = criterion.benchmark_group("one pattern from its text");
    for pattern in ["outage", "new*corner", "c?rner"] {
        group.bench_with_input(BenchmarkId::new("remembered", pattern), pattern, |bencher, pattern| {
            bencher.iter(|| cache.glob(black_box(pattern)));
        });
        group.bench_with_input(BenchmarkId::new("compiled each time", pattern), pattern, |bencher, pattern| {
            bencher.iter(|| Glob::new(black_box(pattern)));
        });
        group.bench_with_input(
            BenchmarkId::new("baseline: regex compiled each time", pattern),
            pattern,
            |bencher, pattern| {
                bencher.iter(|| words(black_box(pattern)));
            },
        );
    }
    group.finish();
    let mut group = criterion.benchmark_group("six patterns in a body of 85 bytes");
    let globs = PATTERNS.map(Glob::new);
    let regexes = PATTERNS.map(words);
    let found = globs.iter().filter(|glob| glob.matches_words(BODY)).count();
    assert_eq!(found, regexes.iter().filter(|regex| regex.is_match(BODY)).count());
    println!("{found} of the patterns are in the body");
    group.bench_function("compiled before", |bencher| {
        bencher.iter(|| globs.iter().filter(|glob| glob.matches_words(black_box(BODY))).count());
    });
    group.bench_function("remembered", |bencher| {
        bencher.iter(|| PATTERNS.iter().filter(|text| cache.glob(text).matches_words(black_box(BODY))).count());
    });
    group.bench_function("compiled each time", |bencher| {
        bencher.iter(|| PATTERNS.iter().filter(|text| Glob::new(text).matches_words(black_box(BODY))).count());
    });
    group.bench_function("baseline: regex compiled before", |bencher| {
        bencher.iter(|| regexes.iter().filter(|regex| regex.is_match(black_box(BODY))).count());
    });
    group.bench_function("baseline: regex compiled each time", |bencher| {
        bencher.iter(|| PATTERNS.iter().filter(|text| words(text).is_match(black_box(BODY))).count());
    });
    group.finish();
}

fn whole_values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a whole value");
    for (pattern, value) in [
        ("m.room.message", "m.room.message"),
        ("m.room.message", "m.room.member"),
        ("@muted*:example.org", "@member123:example.org"),
        ("@member*", "@member123:example.org"),
        ("*:example.org", "@member123:example.org"),
        ("*member*", "@a.member123:example.org"),
        ("*missing*", "@a.member123:example.org"),
        ("!r??m:example.org", "!room:example.org"),
    ] {
        let (glob, regex) = (Glob::new(pattern), whole(pattern));
        let name = format!("{pattern} on {value}");
        group
            .bench_function(BenchmarkId::new("glob", &name), |bencher| bencher.iter(|| glob.matches(black_box(value))));
        group.bench_function(BenchmarkId::new("baseline: regex compiled before", &name), |bencher| {
            bencher.iter(|| regex.is_match(black_box(value)));
        });
        group.bench_function(BenchmarkId::new("baseline: regex compiled each time", &name), |bencher| {
            bencher.iter(|| whole(black_box(pattern)).is_match(value));
        });
    }
    group.finish();
}

/// Patterns that are made to take long.
fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostile patterns");
    group.sample_size(10);
    for (name, pattern, length) in [
        ("*a, 5 times, b, on 60 bytes", format!("{}b", "*a".repeat(5)), 60),
        ("*a, 200 times, b, on 60,000 bytes", format!("{}b", "*a".repeat(200)), 60_000),
        ("a?*, 150 times, b, on 60,000 bytes", format!("{}b", "a?*".repeat(150)), 60_000),
        ("*, then ?, 60 times, b, on 60,000 bytes", format!("*{}b", "?".repeat(60)), 60_000),
    ] {
        let text = "a".repeat(length);
        let (glob, regex) = (Glob::new(&pattern), whole(&pattern));
        group.bench_function(BenchmarkId::new("glob", name), |bencher| bencher.iter(|| glob.matches(black_box(&text))));
        group.bench_function(BenchmarkId::new("baseline: regex compiled before", name), |bencher| {
            bencher.iter(|| regex.is_match(black_box(&text)));
        });
        if length == 60 {
            group.bench_function(BenchmarkId::new("baseline: trying again", name), |bencher| {
                bencher.iter(|| trying(pattern.as_bytes(), black_box(text.as_bytes())));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, remembering, whole_values, hostile);
criterion_main!(benches);
