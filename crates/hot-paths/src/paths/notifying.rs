//! Whom a message notifies.

use std::collections::BTreeMap;
use std::hint::black_box;

use homeserver_core::UserSn;
use push_rules::{
    Audience, Compiler, Member, NewRule, PreparedEvent, Recipient, RoomContext, RuleKind, RulePosition, Ruleset,
    SenderPower,
};

const MEMBERS: i64 = 1_000;
const MESSAGE: &str = r#"{"content":{"body":"Good morning everybody, shall we have lunch around the corner today?",
    "m.mentions":{},"msgtype":"m.text"},"event_id":"$k2lqT3ZvVq0Q9eGmJ2B3uX1x0s4pS8uG7a6Yw5d4c3E",
    "origin_server_ts":1750000000000,"sender":"@sender:example.org","type":"m.room.message"}"#;
const KEYWORDS: [&str; 6] = ["cake", "deploy", "outage", "on*call", "prod*down", "b?g"];
static NOTIFICATIONS: BTreeMap<String, i64> = BTreeMap::new();

fn prepared() -> PreparedEvent<'static> {
    let room = RoomContext {
        room_id: "!room:example.org",
        member_count: 1_000,
        sender_power: SenderPower::Level(0),
        notifications: &NOTIFICATIONS,
    };
    PreparedEvent::new(black_box(MESSAGE).as_bytes(), room).unwrap()
}

fn with_keywords() -> Ruleset {
    let mut ruleset = Ruleset::default();
    for keyword in KEYWORDS {
        let rule = format!(r#"{{"pattern":"{keyword}","actions":["notify"]}}"#);
        let rule = NewRule::parse(RuleKind::Content, rule.as_bytes()).unwrap();
        ruleset.put(RuleKind::Content, keyword, rule, RulePosition::default()).unwrap();
    }
    ruleset
}

/// One member in ten has keywords.
pub(super) fn audience() -> Box<dyn FnMut()> {
    let compiler = Compiler::new(1 << 20);
    let mut audience = Audience::new();
    for user in 0..MEMBERS {
        let ruleset = if user % 10 == 0 { with_keywords() } else { Ruleset::default() };
        let user_id = format!("@member{user}:example.org");
        let rules = compiler.compile(&ruleset);
        audience.insert(Member { user: UserSn(user), user_id: &user_id, display_name: None, rules });
    }
    Box::new(move || drop(black_box(audience.evaluate(&prepared()))))
}

pub(super) fn one_user() -> Box<dyn FnMut()> {
    let rules = Compiler::new(1 << 20).compile(&with_keywords());
    let recipient = Recipient { user_id: "@alice:example.org", display_name: None };
    Box::new(move || assert!(black_box(rules.evaluate(&prepared(), &recipient)).is_some()))
}
