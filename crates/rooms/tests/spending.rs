//! What is spent for a change of a room that fails.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use std::num::NonZeroU32;
use std::sync::Arc;

use accounts::rate_limits::{Kind, Rate, RateLimits, SpentOnce};
use accounts::registration::{NewUser, Registration, RegistrationOptions};
use accounts::sessions::{CheckedDevice, Requester, SessionDevice, SessionOptions, Sessions};
use accounts::uia::Authorisation;
use homeserver_core::SystemClock;
use rooms::RoomError;
use ruma::owned_server_name;
use storage::{Database, DatabaseOptions, Interned, StorageError};
use testing::TestDatabase;

async fn limits_and_user(db: &TestDatabase) -> (RateLimits, Requester) {
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let (name, clock) = (owned_server_name!("example.org"), Arc::new(SystemClock));
    let interned = Arc::new(Interned::new(database.clone()));
    let sessions = Arc::new(Sessions::new(database.clone(), interned, clock.clone(), SessionOptions::default()));
    let options = RegistrationOptions::default();
    let registration = Registration::new(database.clone(), clock, name.clone(), options, None, sessions.clone());
    let device = Some(CheckedDevice::try_from(SessionDevice::default()).unwrap());
    let user = NewUser { username: Some("alice".to_owned()), device, ..NewUser::default() };
    let registered = registration.register(user, Authorisation::default()).await.unwrap();
    let requester = sessions.authenticate(&registered.tokens.unwrap().access_token, None).await.unwrap();
    let rate = Rate { per_second: 0.001, burst: NonZeroU32::new(2).unwrap() };
    (RateLimits::new(database, name, |_| Some(rate)), requester)
}

#[tokio::test]
async fn a_write_that_the_database_refuses_stays_spent_and_what_the_server_cannot_do_does_not() {
    let db = TestDatabase::sqlite();
    let (limits, alice) = limits_and_user(&db).await;
    let fail = |error: RoomError| limits.spend_by_user(Kind::Message, &alice).unwrap().settle(Err::<(), _>(error));
    for _ in 0..5 {
        fail(StorageError::Unavailable("the network is down".to_owned()).into()).unwrap_err();
        fail(RoomError::NotInRoom).unwrap_err();
        fail(RoomError::Contended).unwrap_err();
    }
    fail(StorageError::Statement("the index row is too large".to_owned()).into()).unwrap_err();
    let several = SpentOnce::new(&limits);
    several.spend(Kind::Message, &alice).unwrap();
    let refused = StorageError::Constraint("the ID is taken".to_owned());
    several.settle(Err::<(), RoomError>(refused.into())).unwrap_err();
    assert!(limits.spend_by_user(Kind::Message, &alice).is_err());
}
