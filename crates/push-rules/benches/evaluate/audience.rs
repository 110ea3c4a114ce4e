//! All members of a room.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use homeserver_core::UserSn;
use push_rules::{Audience, CompiledRules, Compiler, Member, Ruleset};
use ruma::push::FlattenedJson;

use crate::{
    rules::{message, plain_message, prepared, twenty_rules},
    theirs::{Theirs, raw},
};

struct Room {
    rulesets: Vec<Ruleset>,
    compiled: Vec<Arc<CompiledRules>>,
    user_ids: Vec<String>,
}

impl Room {
    /// A room in which one of so many members has twenty rules beside the default ones; 0 for none.
    fn new(members: usize, one_in: usize) -> Self {
        let compiler = Compiler::new(256 * 1024 * 1024);
        let rulesets: Vec<Ruleset> = (0..members)
            .map(|member| {
                let has_own = member.checked_rem(one_in).is_some_and(|rest| rest == 0);
                if has_own { twenty_rules(member) } else { Ruleset::default() }
            })
            .collect();
        let compiled = rulesets.iter().map(|ruleset| compiler.compile(ruleset)).collect();
        Self {
            rulesets,
            compiled,
            user_ids: (0..members).map(|member| format!("@member{member}:example.org")).collect(),
        }
    }

    fn audience(&self) -> Audience {
        let mut audience = Audience::new();
        for ((user, user_id), rules) in (0..).zip(&self.user_ids).zip(&self.compiled) {
            audience.insert(Member { user: UserSn(user), user_id, display_name: None, rules: Arc::clone(rules) });
        }
        audience
    }

    fn theirs(&self) -> Vec<Theirs> {
        let count = u32::try_from(self.user_ids.len()).unwrap();
        let users = self.rulesets.iter().zip(&self.user_ids);
        users.map(|(ruleset, user_id)| Theirs::new(ruleset, user_id, count)).collect()
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    for members in [1_000, 10_000] {
        for (one_in, whose) in [(0, "default rules"), (10, "default rules, one in ten with twenty more")] {
            let room = Room::new(members, one_in);
            let mut group = criterion.benchmark_group(format!("{members} members with {whose}"));
            group.throughput(Throughput::Elements(u64::try_from(members).unwrap()));
            group.sample_size(20);
            compare(&mut group, &room, "plain message", &plain_message());
            if one_in == 0 {
                let mentioned = ["@member7:example.org", "@member900:example.org"];
                compare(&mut group, &room, "two mentions", &message("Have a look, please.", &mentioned));
            }
            group.finish();
        }
    }
}

fn compare(group: &mut BenchmarkGroup<'_, WallTime>, room: &Room, what: &str, json: &str) {
    let (audience, theirs, raw) = (room.audience(), room.theirs(), raw(json));
    let member_count = u64::try_from(room.user_ids.len()).unwrap();
    let event = prepared(json, member_count);
    let notified = audience.evaluate(&event).len();
    assert_eq!(notified, theirs.iter().filter(|user| user.notifies(&raw)).count());
    println!("{what}, {member_count} members: {notified} notified");
    group.bench_function(format!("{what}: one pass, event prepared"), |bencher| {
        bencher.iter(|| audience.evaluate(black_box(&event)).len());
    });
    group.bench_function(format!("{what}: one pass, with preparation"), |bencher| {
        bencher.iter(|| audience.evaluate(&prepared(black_box(json), member_count)).len());
    });
    group.bench_function(format!("{what}: one pass, with preparation and building the audience"), |bencher| {
        bencher.iter(|| room.audience().evaluate(&prepared(black_box(json), member_count)).len());
    });
    group.bench_function(format!("{what}: baseline, ruma, event read once"), |bencher| {
        bencher.iter(|| {
            let event = FlattenedJson::from_raw(black_box(&raw));
            theirs.iter().filter(|user| user.notifies_flattened(&event)).count()
        });
    });
    group.bench_function(format!("{what}: baseline, ruma, get_match"), |bencher| {
        bencher.iter(|| theirs.iter().filter(|user| user.notifies(black_box(&raw))).count());
    });
}
