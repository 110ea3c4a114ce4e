use std::time::Duration;

use accounts::asking::Asker;
use accounts::registration::{RegistrationError, RegistrationOptions};
use accounts::uia::{Asked, Auth, Authorised, MAX_SESSIONS, Operation, Parameters, Stage, UiaError, unchanged};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::UiaSession;
use testing::{TestDatabase, on_both_databases};

use crate::Parts;

/// A client that is not logged in.
const NOBODY: Asker<'static> = Asker::Address(None);
const TOKEN: &str = "a registration token";

/// A server on which registration takes two stages, the first with [`TOKEN`].
async fn parts_with_two_stages(db: &TestDatabase) -> Parts {
    let parts = Parts::new(db).await;
    parts.registration.reconfigure(RegistrationOptions { enabled: true, require_token: true, allow_guests: false });
    parts.database.insert_admin_registration_token(TOKEN.to_owned()).await.unwrap();
    parts
}

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
        let parts = parts_with_two_stages(&db).await;
        let authorise = async |value: Value| {
            parts.user_interactive_auth.authorise(Operation::Register, NOBODY, asked(None), Some(&auth(value))).await
        };
        let stage = |kind: &str, token: &str, session: &str| json!({ "type": kind, "token": token, "session": session });

        let (session, completed) = challenge(authorise(json!({ "type": "m.login.dummy" })).await);
        assert_eq!(completed, []);
        let wrong = stage("m.login.registration_token", "wrong", &session);
        assert_eq!(challenge(authorise(wrong.clone()).await), (session.clone(), vec![]));
        let right = stage("m.login.registration_token", TOKEN, &session);
        let completed = vec![Stage::RegistrationToken];
        assert_eq!(challenge(authorise(right).await), (session.clone(), completed.clone()));
        // A completed stage is not tried again, and has the answer that it had.
        assert_eq!(challenge(authorise(wrong).await), (session.clone(), completed));
        let authorised = authorise(stage("m.login.dummy", "", &session)).await.unwrap();
        assert_eq!(authorised.authorisation.registration_token.as_deref(), Some(TOKEN));
    }

    async fn what_was_asked_for_is_remembered_and_cannot_be_changed(db: TestDatabase) {
        let parts = parts_with_two_stages(&db).await;
        let uia = &parts.user_interactive_auth;
        let authorise = async |asked: Asked<Color>, auth: Option<&Auth>| {
            uia.authorise(Operation::Register, NOBODY, asked, auth).await
        };
        let outcome = async |color: Option<&str>, auth: &Auth| {
            uia.outcome(Operation::Register, NOBODY, &asked(color), Some(auth)).await.unwrap()
        };
        let with_password = Asked { new_password: Some("looking glass".to_owned()), ..asked(Some("red")) };
        let (session, _) = challenge(authorise(with_password, None).await);
        let first = auth(json!({ "type": "m.login.registration_token", "token": TOKEN, "session": session }));
        challenge(authorise(asked(None), Some(&first)).await);
        let last = auth(json!({ "type": "m.login.dummy", "session": session }));
        assert!(matches!(authorise(asked(Some("blue")), Some(&last)).await, Err(UiaError::Changed)));
        let Authorised { parameters, new_password, authorisation } =
            authorise(asked(None), Some(&last)).await.unwrap();
        assert_eq!(parameters.color.as_deref(), Some("red"));
        assert!(new_password.is_some());

        // A repeated request has the same answer once the operation is done, and a different request has none.
        assert!(outcome(None, &last).await.is_none());
        uia.finish(authorisation.finishing).await.unwrap();
        for (color, is_known) in [(None, true), (Some("red"), true), (Some("blue"), false)] {
            assert_eq!(outcome(color, &last).await.is_some(), is_known, "{color:?}");
        }
        let (other, completed) = challenge(authorise(asked(Some("blue")), Some(&first)).await);
        assert_ne!(other, session);
        assert_eq!(completed, []);
    }

    async fn a_session_is_over_after_half_an_hour(db: TestDatabase) {
        let parts = parts_with_two_stages(&db).await;
        let authorise = async |value: Value| {
            parts.user_interactive_auth.authorise(Operation::Register, NOBODY, asked(None), Some(&auth(value))).await
        };
        let first = json!({ "type": "m.login.registration_token", "token": TOKEN });
        let (session, completed) = challenge(authorise(first).await);
        assert_eq!(completed, [Stage::RegistrationToken]);
        parts.clock.advance(Duration::from_secs(30 * 60));
        let late = json!({ "type": "m.login.dummy", "session": session });
        let (other, completed) = challenge(authorise(late).await);
        assert_ne!(other, session);
        assert_eq!(completed, []);
    }

    async fn a_session_belongs_to_its_operation_and_its_requester(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let (alice, bob) = (parts.register("alice", false).await, parts.register("bob", false).await);
        let (alice, bob) = (parts.requester(&alice).await, parts.requester(&bob).await);
        let authorise = async |operation: Operation, asker: Asker<'_>, auth: Option<&Auth>| {
            parts.user_interactive_auth.authorise(operation, asker, asked(None), auth).await
        };
        let (session, _) = challenge(authorise(Operation::Deactivate, Asker::User(&alice), None).await);
        let password = json!({ "type": "m.login.password", "password": "wonderland", "session": session });
        let password = auth(password);
        for (operation, asker) in
            [(Operation::Deactivate, Asker::User(&bob)), (Operation::DeleteDevices, Asker::User(&alice))]
        {
            let (other, completed) = challenge(authorise(operation, asker, Some(&password)).await);
            assert_ne!(other, session);
            assert_eq!(completed, []);
        }
        let authorised = authorise(Operation::Deactivate, Asker::User(&alice), Some(&password)).await.unwrap();
        assert!(authorised.authorisation.password.is_some());
    }

    async fn flows_depend_on_the_operation_and_on_the_requester(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let alice = parts.requester(&alice).await;
        let uia = &parts.user_interactive_auth;
        for operation in
            [Operation::ChangePassword, Operation::Deactivate, Operation::DeleteDevices, Operation::AddThreepid]
        {
            assert_eq!(uia.flows_for(operation, Some(&alice)).await.unwrap(), [[Stage::Password]], "{operation:?}");
            let refused = uia.flows_for(operation, None).await;
            assert!(matches!(refused, Err(UiaError::LoginRequired)), "{operation:?}");
        }
        let open = uia.flows_for(Operation::Register, None).await.unwrap();
        assert_eq!(open, [[Stage::Dummy], [Stage::RegistrationEmail]]);
        parts.registration.reconfigure(RegistrationOptions::default());
        let refused = uia.flows_for(Operation::Register, None).await;
        assert!(matches!(refused, Err(UiaError::Registration(RegistrationError::Closed))));
    }

    async fn the_opener_of_most_sessions_loses_the_oldest_first(db: TestDatabase) {
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
