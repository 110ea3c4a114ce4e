use accounts::registration::{NewUser, RegistrationError};
use accounts::uia::{Authorisation, NewPassword};
use storage::NewAccount;
use testing::on_both_databases;

use crate::Parts;

fn named(name: &str) -> NewUser {
    NewUser {
        username: Some(name.to_owned()),
        password: Some(NewPassword::Plain("wonderland".to_owned())),
        ..NewUser::default()
    }
}

on_both_databases! {
    async fn the_first_token_is_the_same_until_it_is_used_and_makes_an_administrator(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let registration = &parts.registration;
        let token = registration.first_account_token().await.unwrap().unwrap();
        assert_eq!(registration.first_account_token().await.unwrap(), Some(token.clone()));
        assert!(registration.is_token_usable(&token).await.unwrap());

        let presented = Authorisation { registration_token: Some(token.clone()), ..Authorisation::default() };
        let alice = registration.register(named("alice"), presented.clone()).await.unwrap();
        let account = parts.database.account_by_user_id(alice.user_id.as_str()).await.unwrap().unwrap();
        assert!(account.is_admin);
        assert!(!registration.is_token_usable(&token).await.unwrap());
        let refused = registration.register(named("bob"), presented).await.unwrap_err();
        assert!(matches!(refused, RegistrationError::TokenUsedUp), "{refused}");
        assert!(parts.database.account_by_user_id("@bob:example.org").await.unwrap().is_none());
        assert_eq!(registration.first_account_token().await.unwrap(), None);
    }

    async fn an_ordinary_first_account_ends_the_first_token_and_a_guest_does_not(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let registration = &parts.registration;
        let token = registration.first_account_token().await.unwrap().unwrap();
        let guest = NewAccount {
            user_id: "@guest:example.org".to_owned(),
            password_hash: None,
            created_at: homeserver_core::Clock::now(&*parts.clock),
            is_admin: false,
            is_guest: true,
            user_type: None,
        };
        parts.database.write(async move |tx| tx.create_account(&guest).await.map(drop)).await.unwrap();
        assert_eq!(registration.first_account_token().await.unwrap(), Some(token.clone()));

        registration.register(named("alice"), Authorisation::default()).await.unwrap();
        assert!(!registration.is_token_usable(&token).await.unwrap());
        let presented = Authorisation { registration_token: Some(token), ..Authorisation::default() };
        let refused = registration.register(named("mallory"), presented).await.unwrap_err();
        assert!(matches!(refused, RegistrationError::TokenUsedUp), "{refused}");
        assert_eq!(registration.first_account_token().await.unwrap(), None);
    }

    async fn a_taken_name_does_not_use_up_the_token(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let registration = &parts.registration;
        registration.create_user("alice", Some("wonderland".to_owned()), false).await.unwrap();
        parts.database.write(async |tx| {
            let sql = "INSERT INTO registration_tokens (token, uses_allowed, makes_admin) VALUES ('ONCE', 1, FALSE)";
            tx.execute(sql, &[]).await.map(drop)
        }).await.unwrap();
        let presented = Authorisation { registration_token: Some("ONCE".to_owned()), ..Authorisation::default() };
        let refused = registration.register(named("Alice"), presented).await.unwrap_err();
        assert!(matches!(refused, RegistrationError::UserInUse), "{refused}");
        assert!(registration.is_token_usable("ONCE").await.unwrap());
    }
}
