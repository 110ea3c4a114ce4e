use std::time::Duration;

use accounts::uia::{Asked, Auth, Authorised, Flow, MAX_SESSIONS, Operation, Parameters, Stage, UiaError, unchanged};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::UiaSession;
use testing::on_both_databases;

use crate::Parts;

const TWO_STAGES: [Flow; 1] = [&[Stage::Dummy, Stage::Password]];

#[derive(Clone, Default, Serialize, Deserialize)]
struct Color {
    #[serde(default)]
    color: Option<String>,
}

impl Parameters for Color {
    fn complete(self, before: Self) -> Option<Self> {
        Some(Self { color: unchanged(self.color, before.color)? })
    }

    fn repeat(&self, done: &Self) -> bool {
        self.color.is_none() || self.color == done.color
    }
}

fn asked(color: Option<&str>) -> Asked<Color> {
    Color { color: color.map(str::to_owned) }.into()
}

fn auth(value: Value) -> Auth {
    serde_json::from_value(value).unwrap()
}

/// The session and the completed stages of a refusal.
fn challenge(refused: Result<Authorised<Color>, UiaError>) -> (String, Vec<Stage>) {
    match refused {
        Err(UiaError::Incomplete(challenge)) => (challenge.session, challenge.completed),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was authorised"),
    }
}

on_both_databases! {
    async fn stages_are_completed_one_after_the_other(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let alice = parts.requester(&alice).await;
        let operation = Operation::of_user("test", &alice, &TWO_STAGES);
        let authorise = async |value: Value| {
            parts.user_interactive_auth.authorise(operation, asked(None), Some(&auth(value))).await
        };

        let early = json!({ "type": "m.login.password", "password": "wonderland" });
        let (session, completed) = challenge(authorise(early).await);
        assert_eq!(completed, []);
        let dummy = json!({ "type": "m.login.dummy", "session": session });
        assert_eq!(challenge(authorise(dummy.clone()).await), (session.clone(), vec![Stage::Dummy]));
        let wrong = json!({ "type": "m.login.password", "password": "wrong", "session": session });
        assert_eq!(challenge(authorise(wrong).await), (session.clone(), vec![Stage::Dummy]));
        // A completed stage is not tried again, and has the answer that it had.
        assert_eq!(challenge(authorise(dummy).await), (session.clone(), vec![Stage::Dummy]));
        let right = json!({ "type": "m.login.password", "password": "wonderland", "session": session });
        assert!(authorise(right).await.unwrap().authorisation.password.is_some());
    }

    async fn what_was_asked_for_is_remembered_and_cannot_be_changed(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let alice = parts.requester(&alice).await;
        let operation = Operation::of_user("test", &alice, &TWO_STAGES);
        let uia = &parts.user_interactive_auth;
        let with_password = Asked { new_password: Some("looking glass".to_owned()), ..asked(Some("red")) };
        let first = uia.authorise(operation, with_password.clone(), None).await;
        let (session, _) = challenge(first);
        let dummy = auth(json!({ "type": "m.login.dummy", "session": session }));
        challenge(uia.authorise(operation, asked(None), Some(&dummy)).await);
        let right = auth(json!({ "type": "m.login.password", "password": "wonderland", "session": session }));
        let changed = uia.authorise(operation, asked(Some("blue")), Some(&right)).await;
        assert!(matches!(changed, Err(UiaError::Changed)));
        let Authorised { parameters, new_password, authorisation } =
            uia.authorise(operation, asked(None), Some(&right)).await.unwrap();
        assert_eq!(parameters.color.as_deref(), Some("red"));
        assert!(new_password.is_some());

        // Whoever asks again once it is done has the same answer, and whoever asks for something else has none.
        assert!(uia.outcome(operation, &asked(None), Some(&right)).await.unwrap().is_none());
        uia.finish(authorisation.finishing).await.unwrap();
        for (color, is_known) in [(None, true), (Some("red"), true), (Some("blue"), false)] {
            let outcome = uia.outcome(operation, &asked(color), Some(&right)).await.unwrap();
            assert_eq!(outcome.is_some(), is_known, "{color:?}");
        }
        let (other, completed) = challenge(uia.authorise(operation, asked(Some("blue")), Some(&dummy)).await);
        assert_ne!(other, session);
        assert_eq!(completed, []);
    }

    async fn a_session_is_over_after_half_an_hour(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let alice = parts.requester(&alice).await;
        let operation = Operation::of_user("test", &alice, &TWO_STAGES);
        let authorise = async |value: Value| {
            parts.user_interactive_auth.authorise(operation, asked(None), Some(&auth(value))).await
        };
        let (session, _) = challenge(authorise(json!({ "type": "m.login.dummy" })).await);
        parts.clock.advance(Duration::from_secs(30 * 60));
        let late = json!({ "type": "m.login.password", "password": "wonderland", "session": session });
        let (other, completed) = challenge(authorise(late).await);
        assert_ne!(other, session);
        assert_eq!(completed, []);
    }

    async fn whoever_has_opened_most_sessions_makes_place_for_others(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let now = homeserver_core::Clock::now(&*parts.clock);
        let store = async |name: &str, opener: &str, age: u64| {
            let session = UiaSession {
                session_id: name.to_owned(),
                operation: "test".to_owned(),
                user_sn: None,
                opener: opener.to_owned(),
                completed: "[]".to_owned(),
                details: "{}".to_owned(),
                parameters: "{}".to_owned(),
                outcome: None,
                created_at: now.minus(Duration::from_secs(age)),
            };
            parts.database.store_uia_session(session, 3).await.unwrap();
        };
        let start = now.minus(Duration::from_secs(60));
        let is_there =
            async |name: &str| parts.database.uia_session(name, start).await.unwrap().is_some();
        // The oldest of all, but the only one of its opener.
        store("victim", "ipv4:1", 50).await;
        for (name, age) in [("one", 40), ("two", 30), ("three", 20), ("four", 10)] {
            store(name, "ipv4:2", age).await;
        }
        assert!(!is_there("one").await);
        parts.database.prune_uia_sessions(start, MAX_SESSIONS).await.unwrap();
        assert!(is_there("two").await);
        parts.database.prune_uia_sessions(start, 2).await.unwrap();
        let left = [is_there("victim").await, is_there("two").await, is_there("three").await, is_there("four").await];
        assert_eq!(left, [true, false, false, true]);
    }
}
