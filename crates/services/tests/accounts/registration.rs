use services::registration::{NewUser, RegistrationError};
use services::uia::Authorisation;
use testing::on_both_databases;

use crate::Parts;

fn named(name: &str) -> NewUser {
    NewUser { username: Some(name.to_owned()), password: Some("wonderland".to_owned()), ..NewUser::default() }
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

    async fn a_taken_name_does_not_use_up_the_token(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let registration = &parts.registration;
        let token = registration.first_account_token().await.unwrap().unwrap();
        registration.create_user("alice", Some("wonderland".to_owned()), false).await.unwrap();
        let presented = Authorisation { registration_token: Some(token.clone()), ..Authorisation::default() };
        let refused = registration.register(named("Alice"), presented).await.unwrap_err();
        assert!(matches!(refused, RegistrationError::UserInUse), "{refused}");
        assert!(registration.is_token_usable(&token).await.unwrap());
    }
}
