use std::borrow::Cow;

use accounts::authentication::{Access, AccessError, Authenticator, Credentials};
use accounts::registration::{NewUser, RegistrationOptions};
use accounts::sessions::{CheckedDevice, SessionDevice};
use accounts::uia::Authorisation;
use testing::on_both_databases;

use crate::Parts;

fn credentials(access_token: &str) -> Credentials<'_> {
    Credentials { access_token: Cow::Borrowed(access_token), address: None }
}

fn device() -> CheckedDevice {
    CheckedDevice::try_from(SessionDevice::default()).unwrap()
}

on_both_databases! {
    async fn guests_users_and_administrators_are_told_apart(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        parts.registration.reconfigure(RegistrationOptions { allow_guests: true, ..RegistrationOptions::default() });
        let guest = parts.registration.register_guest(device()).await.unwrap();
        let user = parts.register("alice", false).await;
        let administrator = NewUser {
            username: Some("root".to_owned()),
            is_admin: true,
            device: Some(device()),
            ..NewUser::default()
        };
        let administrator = parts.registration.register(administrator, Authorisation::default()).await.unwrap();
        let authenticator = Authenticator::new(parts.sessions.clone());
        for (registered, is_user, is_administrator) in
            [(guest, false, false), (user, true, false), (administrator, true, true)]
        {
            let token = registered.tokens.unwrap().access_token;
            let credentials = credentials(&token);
            let requester = authenticator.admit(Some(&credentials), Access::GuestsToo).await.unwrap();
            assert_eq!(requester.user_id, registered.user_id);
            match authenticator.admit(Some(&credentials), Access::Users).await {
                Ok(requester) => assert!(is_user, "{}", requester.user_id),
                Err(error) => assert!(!is_user && matches!(error, AccessError::Guest), "{error}"),
            }
            match authenticator.admit(Some(&credentials), Access::Administrators).await {
                Ok(requester) => assert!(is_administrator, "{}", requester.user_id),
                Err(error) => assert!(!is_administrator && matches!(error, AccessError::NotAdministrator), "{error}"),
            }
        }
    }

    async fn a_request_without_a_valid_token_is_anonymous(db: TestDatabase) {
        let parts = Parts::new(&db).await;
        let authenticator = Authenticator::new(parts.sessions.clone());
        let missing = authenticator.admit(None, Access::GuestsToo).await.unwrap_err();
        assert!(missing.is_anonymous() && matches!(missing, AccessError::MissingToken), "{missing}");
        let unknown = authenticator.admit(Some(&credentials("unknown")), Access::GuestsToo).await.unwrap_err();
        assert!(unknown.is_anonymous() && matches!(unknown, AccessError::Token(_)), "{unknown}");
        assert!(!AccessError::Guest.is_anonymous());
    }
}
