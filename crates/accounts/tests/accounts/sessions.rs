use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use accounts::AccountError;
use accounts::sessions::{AuthenticationError, CheckedDevice, SessionDevice};
use accounts::uia::{Authorisation, NewPassword};
use testing::on_both_databases;

use crate::{LIFETIME, Parts};

on_both_databases! {
    async fn an_access_token_expires_where_it_can_be_refreshed(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let (forever, expiring) = (parts.register("alice", false).await, parts.register("bob", true).await);
        let (forever, expiring) = (forever.tokens.unwrap(), expiring.tokens.unwrap());
        assert_eq!((forever.expires_in, expiring.expires_in), (None, Some(LIFETIME)));
        let sessions = &parts.sessions;
        sessions.authenticate(&expiring.access_token, None).await.unwrap();
        parts.clock.advance(LIFETIME);
        let refused = sessions.authenticate(&expiring.access_token, None).await.unwrap_err();
        assert!(matches!(refused, AuthenticationError::ExpiredToken), "{refused}");
        sessions.authenticate(&forever.access_token, None).await.unwrap();

        let fresh = sessions.refresh(&expiring.refresh_token.unwrap()).await.unwrap();
        sessions.authenticate(&fresh.access_token, None).await.unwrap();
        // Now that the new token has been used, the old one is not even known.
        let refused = sessions.authenticate(&expiring.access_token, None).await.unwrap_err();
        assert!(matches!(refused, AuthenticationError::UnknownToken), "{refused}");
    }

    async fn when_and_from_where_a_device_was_used_is_told_within_minutes(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let tokens = alice.tokens.as_ref().unwrap();
        let use_from = async |last: u8| {
            let address = IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
            let requester = parts.sessions.authenticate(&tokens.access_token, Some(address)).await.unwrap();
            parts.sessions.flush().await.unwrap();
            let device = parts.devices.one(requester.user_sn, &tokens.device_id).await.unwrap();
            (device.last_seen_at.unwrap().0, device.last_seen_address.unwrap())
        };
        // It has been used since it exists.
        parts.clock.advance(Duration::from_secs(300));
        let first = use_from(1).await;
        assert_eq!(first, (1_700_000_300_000, "203.0.113.1".to_owned()));
        parts.clock.advance(Duration::from_secs(299));
        assert_eq!(use_from(2).await, first);
        parts.clock.advance(Duration::from_secs(1));
        assert_eq!(use_from(3).await, (1_700_000_600_000, "203.0.113.3".to_owned()));
    }

    async fn a_token_that_is_revoked_while_it_is_looked_up_stays_revoked(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        for round in 0..20 {
            let user = parts.register(&format!("user{round}"), false).await;
            let tokens = user.tokens.unwrap();
            let user_sn = parts.database.account_by_user_id(user.user_id.as_str()).await.unwrap().unwrap().user_sn;
            let lookups = (0..4).map(|_| {
                let (sessions, token) = (Arc::clone(&parts.sessions), tokens.access_token.clone());
                tokio::spawn(async move { drop(sessions.authenticate(&token, None).await) })
            });
            let lookups: Vec<_> = lookups.collect();
            parts.sessions.delete_all_devices(user_sn, None).await.unwrap();
            for lookup in lookups {
                lookup.await.unwrap();
            }
            let refused = parts.sessions.authenticate(&tokens.access_token, None).await.unwrap_err();
            assert!(matches!(refused, AuthenticationError::UnknownToken), "{refused}");
        }
    }

    async fn a_login_that_was_verified_before_the_password_changed_opens_no_session(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        parts.register("alice", false).await;
        let device = CheckedDevice::try_from(SessionDevice::default()).unwrap();
        let before = parts.accounts.by_password("alice", "wonderland").await.unwrap();
        parts.accounts.set_password("alice", "looking glass").await.unwrap();
        let refused = parts.accounts.log_in(&before, &device).await.unwrap_err();
        assert!(matches!(refused, AccountError::PasswordChanged), "{refused}");

        let before = parts.accounts.by_password("alice", "looking glass").await.unwrap();
        parts.accounts.log_in(&before, &device).await.unwrap();
        parts.accounts.deactivate_by_name("@alice:example.org", false).await.unwrap();
        let refused = parts.accounts.log_in(&before, &device).await.unwrap_err();
        assert!(matches!(refused, AccountError::PasswordChanged), "{refused}");
        assert!(parts.database.devices(before.user_sn).await.unwrap().is_empty());
    }

    async fn what_was_authorised_with_a_password_that_has_changed_since_is_not_done(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let alice = parts.register("alice", false).await;
        let requester = parts.requester(&alice).await;
        let proof = parts.accounts.by_password("alice", "wonderland").await.unwrap();
        let authorisation = Authorisation { password: Some(proof), ..Authorisation::default() };
        parts.accounts.set_password("alice", "looking glass").await.unwrap();
        let new = NewPassword::Plain("mad hatter".to_owned());
        let refused = parts.accounts.change_password(&requester, &authorisation, new, true).await.unwrap_err();
        assert!(matches!(refused, AccountError::PasswordChanged), "{refused}");
        let refused = parts.accounts.deactivate(&authorisation, true).await.unwrap_err();
        assert!(matches!(refused, AccountError::PasswordChanged), "{refused}");
        parts.accounts.by_password("alice", "looking glass").await.unwrap();
    }
}
