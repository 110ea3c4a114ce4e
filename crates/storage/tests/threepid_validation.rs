//! Sessions in which addresses are proven, on both engines.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use homeserver_core::{Timestamp, UserSn};
use storage::{Database, DatabaseOptions, UserThreepid, ValidationRequest};
use testing::{TestDatabase, on_both_databases};

const NOW: Timestamp = Timestamp(1_000_000);
const LATER: Timestamp = Timestamp(2_000_000);
const PURPOSE: &str = "registration";
const ADDRESS: &str = "alice@example.com";

async fn open(database: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(database.url())).await.unwrap()
}

fn request(session_id: &str, now: Timestamp, expires_at: Timestamp) -> ValidationRequest {
    ValidationRequest {
        session_id: session_id.to_owned(),
        purpose: PURPOSE,
        address: ADDRESS.to_owned(),
        client_secret_hash: [7; 32],
        send_attempt: 1,
        next_link: None,
        now,
        expires_at,
    }
}

async fn store(database: &Database, request: ValidationRequest) -> String {
    database.write(async move |tx| tx.store_validation(&request).await).await.unwrap()
}

async fn confirm(database: &Database, session_id: &'static str, token: u8, now: Timestamp) -> bool {
    let confirm = database.write(async move |tx| tx.confirm_validation(session_id, [token; 32], now, LATER).await);
    confirm.await.unwrap().is_some_and(|session| session.validated_at == Some(now))
}

on_both_databases! {
    async fn a_session_that_expired_is_not_begun_again_and_its_tokens_are_worth_nothing(db: TestDatabase) {
        let database = open(&db).await;
        assert_eq!(store(&database, request("old", NOW, NOW.plus(std::time::Duration::from_secs(1)))).await, "old");
        assert!(database.add_validation_token("old".to_owned(), [1; 32], NOW).await.unwrap().is_some());
        let much_later = Timestamp(1_500_000);
        assert!(database.validation_session("old", much_later).await.unwrap().is_none());
        assert!(!confirm(&database, "old", 1, much_later).await);
        assert!(database.add_validation_token("old".to_owned(), [2; 32], much_later).await.unwrap().is_none());
        assert_eq!(store(&database, request("new", much_later, LATER)).await, "new");
        assert!(!database.has_validation_token("new", [1; 32]).await.unwrap());
        assert!(!confirm(&database, "new", 1, much_later).await);
        database.close().await;
    }

    async fn a_confirmed_session_is_used_once_and_for_its_purpose(db: TestDatabase) {
        let database = open(&db).await;
        store(&database, request("one", NOW, LATER)).await;
        // Not before it is confirmed.
        let take = async |purpose: &'static str| {
            database.write(async move |tx| tx.take_validation("one", purpose, NOW).await).await.unwrap()
        };
        assert!(take(PURPOSE).await.is_none());
        database.add_validation_token("one".to_owned(), [1; 32], NOW).await.unwrap();
        assert!(!confirm(&database, "one", 2, NOW).await);
        assert!(confirm(&database, "one", 1, NOW).await);
        // A second click does not make it younger.
        assert!(!confirm(&database, "one", 1, Timestamp(NOW.0 + 5)).await);
        assert!(take("password_reset").await.is_none());
        assert_eq!(take(PURPOSE).await.unwrap().address, ADDRESS);
        assert!(take(PURPOSE).await.is_none());
        database.close().await;
    }

    async fn what_expired_and_what_is_too_much_is_removed(db: TestDatabase) {
        let database = open(&db).await;
        for number in 0..5_u8 {
            let mut request = request(&format!("s{number}"), NOW, Timestamp(NOW.0 + 10 * i64::from(number)));
            request.client_secret_hash = [number; 32];
            store(&database, request).await;
        }
        assert_eq!(database.prune_validation_sessions(Timestamp(NOW.0 + 10), 2).await.unwrap(), 3);
        assert!(database.validation_session("s2", NOW).await.unwrap().is_none());
        assert!(database.validation_session("s3", NOW).await.unwrap().is_some());
        assert_eq!(database.prune_validation_sessions(Timestamp(NOW.0 + 10), 2).await.unwrap(), 0);
        database.close().await;
    }

    async fn an_address_stays_with_whoever_has_it(db: TestDatabase) {
        let database = open(&db).await;
        let threepid = |at: i64| UserThreepid {
            medium: "email".to_owned(),
            address: ADDRESS.to_owned(),
            validated_at: Timestamp(at),
            added_at: Timestamp(at),
        };
        let add = async |user: i64, threepid: UserThreepid| {
            database.write(async move |tx| tx.add_threepid(UserSn(user), &threepid).await).await.unwrap()
        };
        assert!(add(1, threepid(5)).await);
        assert!(!add(2, threepid(6)).await);
        assert!(add(1, threepid(7)).await);
        let listed = database.user_threepids(UserSn(1)).await.unwrap();
        assert_eq!(listed, [UserThreepid { validated_at: Timestamp(7), ..threepid(5) }]);
        assert_eq!(database.threepid_owner("email", ADDRESS).await.unwrap(), Some(UserSn(1)));
        database.close().await;
    }
}
