//! A device that does not fetch its messages does not fill the database.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use std::sync::Arc;

use accounts::rate_limits::RateLimits;
use accounts::sessions::Requester;
use encryption::to_device::{QueueLimits, ToDevice, ToDeviceError, ToDeviceMessages};
use homeserver_core::{DeviceSn, Position, SystemClock, Timestamp, UserSn};
use ruma::{UserId, server_name};
use storage::{Database, DatabaseOptions, Interned, NewAccount};
use testing::on_both_databases;

const LIMITS: QueueLimits = QueueLimits { messages: 2, bytes: 400, request_bytes: 500 };

/// A user with a device of this ID.
async fn register(database: &Database, user_id: &str, device_id: &'static str) -> (UserSn, DeviceSn) {
    let account = NewAccount {
        user_id: user_id.to_owned(),
        password_hash: None,
        created_at: Timestamp(1),
        is_admin: false,
        is_guest: false,
        user_type: None,
    };
    let registering = database.write(async move |tx| {
        let user_sn = tx.create_account(&account).await?.unwrap();
        Ok((user_sn, tx.ensure_device(user_sn, device_id, None, None, Timestamp(1)).await?))
    });
    registering.await.unwrap()
}

fn messages(to: &[&str], content: &str) -> ToDeviceMessages {
    let of_user = |user_id: &&str| {
        let content = serde_json::from_str(content).unwrap();
        (UserId::parse(*user_id).unwrap(), [("*".to_owned(), content)].into())
    };
    to.iter().map(of_user).collect()
}

on_both_databases! {
    async fn a_full_queue_refuses_the_whole_request_until_it_is_fetched(db: TestDatabase) {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let interned = Arc::new(Interned::new(database.clone()));
        let rate_limits = RateLimits::new(database.clone(), server_name!("localhost").to_owned(), |_| None);
        let to_device =
            ToDevice::follow(&database, interned, Arc::new(SystemClock), LIMITS, Arc::new(rate_limits));
        let (alice, _) = register(&database, "@alice:x", "A").await;
        let (_, full) = register(&database, "@bob:x", "FULL").await;
        let (_, empty) = register(&database, "@carol:x", "EMPTY").await;
        let sender = Requester::on_behalf_of(alice, UserId::parse("@alice:x").unwrap());
        let send = async |transaction: &str, to: &[&str], content: &str| {
            to_device.send(&sender, "m.test", transaction, messages(to, content)).await
        };
        send("1", &["@bob:x"], "{}").await.unwrap();
        send("2", &["@bob:x"], "{}").await.unwrap();
        let refused = send("3", &["@carol:x", "@bob:x"], "{}").await.unwrap_err();
        assert!(matches!(&refused, ToDeviceError::QueueFull { device_id, .. } if **device_id == *"FULL"), "{refused}");
        // What was sent before has the same answer as then.
        send("2", &["@bob:x"], "{}").await.unwrap();
        let end = database.position().await.unwrap();
        let waiting = async |device_sn| to_device.messages(device_sn, Position::START, end).await.unwrap().events.len();
        assert_eq!((waiting(full).await, waiting(empty).await), (2, 0));

        to_device.delivered(full, end).await.unwrap();
        let large = format!("{{\"text\":\"{}\"}}", "x".repeat(400));
        send("4", &["@bob:x"], &large).await.unwrap_err();
        let half = format!("{{\"text\":\"{}\"}}", "x".repeat(250));
        let refused = send("5", &["@bob:x", "@carol:x"], &half).await.unwrap_err();
        assert!(matches!(refused, ToDeviceError::TooMuch { limit: 500 }), "{refused}");
        send("6", &["@bob:x", "@carol:x"], "{}").await.unwrap();
        let end = database.position().await.unwrap();
        for device_sn in [full, empty] {
            assert_eq!(to_device.messages(device_sn, Position::START, end).await.unwrap().events.len(), 1);
        }
    }
}
