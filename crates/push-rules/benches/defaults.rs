//! What the default rules cost in memory: as constants that are borrowed, beside owned text for every user.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has to stop")]

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use allocation_counter::{AllocationInfo, measure};
use criterion::{Criterion, criterion_group, criterion_main};
use homeserver_core::UserSn;
use push_rules::{
    Audience, Compiler, Member, NewRule, PreparedEvent, RoomContext, RuleKind, RulePosition, Ruleset, SenderPower,
};
use ruma::{OwnedUserId, push};

const USERS: usize = 1_000;
const OWN_RULES: [usize; 3] = [0, 5, 20];

/// A user's rules, without text of the default ones.
fn borrowed(own_rules: usize) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for number in 0..own_rules {
        let rule = NewRule::parse(RuleKind::Content, br#"{"pattern":"cake","actions":["notify"]}"#).unwrap();
        ruleset.put(RuleKind::Content, &number.to_string(), rule, RulePosition::default()).unwrap();
    }
    ruleset
}

/// A user's rules with all text owned, as ruma has them.
fn owned(own_rules: usize, user_id: &OwnedUserId) -> push::Ruleset {
    let mut ruleset = push::Ruleset::server_default(user_id);
    for number in 0..own_rules {
        let rule = push::NewPatternedPushRule::new(number.to_string(), "cake".to_owned(), vec![push::Action::Notify]);
        ruleset.insert(push::NewPushRule::Content(rule), None, None).unwrap();
    }
    ruleset
}

fn kept(info: &AllocationInfo) -> String {
    let users = u64::try_from(USERS).unwrap();
    let bytes = u64::try_from(info.bytes_current).unwrap() / users;
    format!("{} allocations, {bytes} bytes", u64::try_from(info.count_current).unwrap() / users)
}

/// What an event costs for a room of that many members, beside the room's audience, which is kept.
fn one_pass(compiler: &Compiler) {
    let mut audience = Audience::new();
    for user in 0..10_000 {
        let user_id = format!("@member{user}:example.org");
        let rules = compiler.compile(&Ruleset::default());
        audience.insert(Member { user: UserSn(user), user_id: &user_id, display_name: None, rules });
    }
    let json =
        br#"{"type":"m.room.message","sender":"@bob:example.org","content":{"body":"Hello","msgtype":"m.text"}}"#;
    let notifications = BTreeMap::new();
    let (room_id, sender_power) = ("!room:example.org", SenderPower::Level(0));
    let room = RoomContext { room_id, member_count: 10_000, sender_power, notifications: &notifications };
    let cost = measure(|| {
        let event = PreparedEvent::new(json, room).unwrap();
        assert_eq!(audience.evaluate(&event).len(), 10_000);
    });
    println!("one message for 10,000 members: {} allocations, {} bytes", cost.count_total, cost.bytes_total);
}

fn memory(criterion: &mut Criterion) {
    let user_id = OwnedUserId::try_from("@alice:example.org").unwrap();
    let compiler = Compiler::new(1024 * 1024);
    one_pass(&compiler);
    for own_rules in OWN_RULES {
        let (ours, theirs) = (borrowed(own_rules), owned(own_rules, &user_id));
        let (mut kept_ours, mut kept_theirs, mut kept_compiled) = (Vec::new(), Vec::new(), Vec::new());
        let ours = measure(|| kept_ours.extend((0..USERS).map(|_| ours.clone())));
        let compiled = measure(|| {
            kept_compiled.extend(kept_ours.iter().map(|ruleset| Arc::clone(&compiler.compile(ruleset))));
        });
        let theirs = measure(|| kept_theirs.extend((0..USERS).map(|_| theirs.clone())));
        println!("a user with {own_rules} rules of their own keeps");
        println!("  borrowed default rules: {}; compiled and shared: {} more", kept(&ours), kept(&compiled));
        println!("  baseline, owned text (ruma): {}", kept(&theirs));
        // Users without rules of their own share the constants, so they must keep no memory.
        let name = format!("push rules of a user with {own_rules} of their own");
        let each = |info: &AllocationInfo| u64::try_from(info.count_current).unwrap() / u64::try_from(USERS).unwrap();
        println!("counted: {name}: {} against {} allocations", each(&ours), each(&theirs));
        black_box((kept_ours, kept_theirs, kept_compiled));
    }
    let mut group = criterion.benchmark_group("the rules of a user, copied");
    for own_rules in OWN_RULES {
        let (ours, theirs) = (borrowed(own_rules), owned(own_rules, &user_id));
        group.bench_function(format!("borrowed, {own_rules} own rules"), |bencher| bencher.iter(|| ours.clone()));
        group.bench_function(format!("baseline: owned, {own_rules} own rules"), |bencher| {
            bencher.iter(|| theirs.clone());
        });
    }
    group.finish();
}

criterion_group!(benches, memory);
criterion_main!(benches);
