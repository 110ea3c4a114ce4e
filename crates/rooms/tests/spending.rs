//! What is spent for a change of a room that fails.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use std::num::NonZeroU32;

use accounts::rate_limits::{LimitedAction, Rate, RateLimits, SpentOnce};
use accounts::sessions::Requester;
use homeserver_core::UserSn;
use rooms::RoomError;
use ruma::{owned_server_name, owned_user_id};
use storage::{Database, DatabaseOptions, StorageError};
use testing::TestDatabase;

async fn limits_and_user(db: &TestDatabase) -> (RateLimits, Requester) {
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let mut alice = Requester::on_behalf_of(UserSn(1), owned_user_id!("@alice:example.org"));
    alice.is_rate_limited = true;
    let rate = Rate { per_second: 0.001, burst: NonZeroU32::new(2).unwrap() };
    (RateLimits::new(database, owned_server_name!("example.org"), |_| Some(rate)), alice)
}

#[tokio::test]
async fn a_write_that_the_database_refuses_stays_spent_and_what_the_server_cannot_do_does_not() {
    let db = TestDatabase::sqlite();
    let (limits, alice) = limits_and_user(&db).await;
    let fail =
        |error: RoomError| limits.spend_by_user(LimitedAction::Message, &alice).unwrap().settle(Err::<(), _>(error));
    for _ in 0..5 {
        fail(StorageError::Unavailable("the network is down".to_owned()).into()).unwrap_err();
        fail(RoomError::NotInRoom).unwrap_err();
        fail(RoomError::Contended).unwrap_err();
    }
    fail(StorageError::Statement("the index row is too large".to_owned()).into()).unwrap_err();
    let several = SpentOnce::new(&limits);
    several.spend(LimitedAction::Message, &alice).unwrap();
    let refused = StorageError::Constraint("the ID is taken".to_owned());
    several.settle(Err::<(), RoomError>(refused.into())).unwrap_err();
    assert!(limits.spend_by_user(LimitedAction::Message, &alice).is_err());
}
