//! One user.

use std::hint::black_box;

use criterion::Criterion;
use push_rules::{Compiler, Recipient, Ruleset};
use ruma::push::FlattenedJson;

use crate::{
    rules::{message, plain_message, prepared, twenty_rules},
    theirs::{Theirs, raw},
};

const ALICE: &str = "@alice:example.org";
const RECIPIENT: Recipient<'static> = Recipient { user_id: ALICE, display_name: None };

pub(crate) fn bench(criterion: &mut Criterion) {
    let json = plain_message();
    let (event, raw) = (prepared(&json, 1_000), raw(&json));
    let flattened = FlattenedJson::from_raw(&raw);
    for (name, ruleset) in [("default rules", Ruleset::default()), ("twenty rules more", twenty_rules(0))] {
        let rules = Compiler::new(1024 * 1024).compile(&ruleset);
        let theirs = Theirs::new(&ruleset, ALICE, 1_000);
        assert_eq!(rules.evaluate(&event, &RECIPIENT).is_some(), theirs.notifies(&raw));
        let mut group = criterion.benchmark_group(format!("one user with {name}"));
        group.bench_function("event prepared", |bencher| {
            bencher.iter(|| rules.evaluate(black_box(&event), &RECIPIENT));
        });
        group.bench_function("with preparation", |bencher| {
            bencher.iter(|| rules.evaluate(&prepared(black_box(&json), 1_000), &RECIPIENT).is_some());
        });
        group.bench_function("baseline: ruma, event read before", |bencher| {
            bencher.iter(|| theirs.notifies_flattened(black_box(&flattened)));
        });
        group.bench_function("baseline: ruma, get_match", |bencher| {
            bencher.iter(|| theirs.notifies(black_box(&raw)));
        });
        group.finish();
    }
}

/// Stopping at the first rule that matches, beside looking at all rules.
pub(crate) fn early_exit(criterion: &mut Criterion) {
    let rules = Compiler::new(1024 * 1024).compile(&twenty_rules(0));
    let video = message("x", &[]).replace("m.text", "m.video");
    let notice = plain_message().replace("m.text", "m.notice");
    let keyword = message("Good morning everybody, there is an outage, is anybody looking at it already?", &[]);
    let mut group = criterion.benchmark_group("early exit with twenty rules more");
    for (place, rule_id, json) in [
        ("4th rule, an override rule", "override 0 of 0", video.as_str()),
        ("5th rule, a default override rule", ".m.rule.suppress_notices", &notice),
        ("21st rule, a keyword", "outage", &keyword),
        ("33rd rule, an underride rule", ".m.rule.message", &plain_message()),
    ] {
        let event = prepared(json, 1_000);
        let mut matching = 0;
        rules.for_each_match(&event, &RECIPIENT, |_| matching += 1);
        assert_eq!(rules.evaluate(&event, &RECIPIENT).map(|found| found.rule_id), Some(rule_id));
        println!("{place}: {matching} rules match in all");
        group.bench_function(format!("{place}: early exit"), |bencher| {
            bencher.iter(|| rules.evaluate(black_box(&event), &RECIPIENT));
        });
        group.bench_function(format!("{place}: baseline, all rules"), |bencher| {
            bencher.iter(|| {
                let mut first = None;
                rules.for_each_match(black_box(&event), &RECIPIENT, |found| {
                    first.get_or_insert(found);
                });
                first
            });
        });
    }
    group.finish();
}
