use std::time::Duration;

use serde_json::{Value, json};
use services::uia::{Auth, Authorisation, Flow, MAX_SESSIONS, Operation, Stage, UiaError};
use storage::UiaSession;
use testing::on_both_databases;

use crate::Parts;

const TWO_STAGES: [Flow; 1] = [&[Stage::Dummy, Stage::Password]];

fn auth(value: Value) -> Auth {
    serde_json::from_value(value).unwrap()
}

/// The session and the completed stages of a refusal.
fn challenge(refused: Result<Authorisation, UiaError>) -> (String, Vec<Stage>) {
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
        let operation = Operation { name: "test", requester: Some(&alice), flows: &TWO_STAGES };
        let authorise = async |value: Value| parts.user_interactive_auth.authorise(operation, Some(&auth(value))).await;

        let (session, completed) = challenge(authorise(json!({ "type": "m.login.dummy" })).await);
        assert_eq!(completed, [Stage::Dummy]);
        let wrong = json!({ "type": "m.login.password", "password": "wrong", "session": session });
        assert_eq!(challenge(authorise(wrong).await), (session.clone(), vec![Stage::Dummy]));
        let right = json!({ "type": "m.login.password", "password": "wonderland", "session": session });
        assert_eq!(authorise(right).await.unwrap(), Authorisation::default());
    }

    async fn a_session_is_over_after_half_an_hour(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let alice = parts.requester(&alice).await;
        let operation = Operation { name: "test", requester: Some(&alice), flows: &TWO_STAGES };
        let authorise = async |value: Value| parts.user_interactive_auth.authorise(operation, Some(&auth(value))).await;
        let (session, _) = challenge(authorise(json!({ "type": "m.login.dummy" })).await);
        parts.clock.advance(Duration::from_secs(30 * 60));
        let late = json!({ "type": "m.login.password", "password": "wonderland", "session": session });
        let (other, completed) = challenge(authorise(late).await);
        assert_ne!(other, session);
        assert_eq!(completed, []);
    }

    async fn the_oldest_sessions_make_place_for_new_ones(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let now = homeserver_core::Clock::now(&*parts.clock);
        for number in 0..3 {
            let session = UiaSession {
                session_id: format!("session{number}"),
                operation: "test".to_owned(),
                user_sn: None,
                completed: "[]".to_owned(),
                details: "{}".to_owned(),
                created_at: now.plus(Duration::from_secs(number)),
            };
            parts.database.store_uia_session(session).await.unwrap();
        }
        let start = now.minus(Duration::from_secs(60));
        parts.database.prune_uia_sessions(start, MAX_SESSIONS).await.unwrap();
        assert!(parts.database.uia_session("session0", start).await.unwrap().is_some());
        parts.database.prune_uia_sessions(start, 2).await.unwrap();
        assert!(parts.database.uia_session("session0", start).await.unwrap().is_none());
        assert!(parts.database.uia_session("session1", start).await.unwrap().is_some());
    }
}
