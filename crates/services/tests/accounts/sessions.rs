use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use services::sessions::AuthenticationError;
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
}
