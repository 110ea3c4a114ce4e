//! Trying a stage: what each of them takes, and what is wrong with what does not do.

use super::auth::{Auth, ThreepidCredentials};
use super::challenge::Mistake;
use super::session::Session;
use super::{Request, Stage, UiaError, UserInteractiveAuth};
use crate::object::Object;
use crate::rate_limits::LimitedAction;
use crate::threepids::{EMAIL, Purpose, validated_email};

impl UserInteractiveAuth {
    /// Tries the stage that the client names. Returns what is wrong, if anything. A stage that is completed is not tried again.
    pub(super) async fn try_stage<P>(
        &self,
        session: &mut Session<P>,
        request: Request<'_>,
        auth: &Auth,
    ) -> Result<Option<Mistake>, UiaError> {
        let name = auth.stage.as_deref().unwrap_or_default();
        let Some(stage) = request.flows.iter().flat_map(|flow| flow.iter()).find(|stage| stage.name() == name) else {
            return Ok(Some(("M_UNRECOGNIZED", "This operation cannot be authorised by a stage of this type")));
        };
        if session.completed.contains(stage) {
            return Ok(None);
        }
        if !request.flows.iter().any(|flow| is_next(flow, *stage, &session.completed)) {
            return Ok(Some(("M_FORBIDDEN", "Another stage comes before this one: complete a flow in its order")));
        }
        let mistake = match stage {
            Stage::Dummy => None,
            Stage::Password => self.try_password(session, request, auth).await?,
            Stage::RegistrationToken | Stage::FirstAccountToken => {
                self.try_token(session, request, *stage, auth).await?
            }
            Stage::RegistrationEmail => self.try_email(session, request, Purpose::Registration, auth).await?,
            Stage::PasswordResetEmail => self.try_email(session, request, Purpose::PasswordReset, auth).await?,
        };
        if mistake.is_none() {
            session.completed.push(*stage);
        }
        Ok(mistake)
    }

    async fn try_password<P>(
        &self,
        session: &mut Session<P>,
        request: Request<'_>,
        auth: &Auth,
    ) -> Result<Option<Mistake>, UiaError> {
        let Some(requester) = request.asker.requester() else {
            return Ok(Some(("M_FORBIDDEN", "There is no user whose password it could be")));
        };
        let Some(password) = &auth.password else { return Ok(Some(("M_MISSING_PARAM", "The password is missing"))) };
        let is_requester = match &auth.identifier {
            Some(identifier) => self.accounts.is_identifier_of(&identifier.0, requester).await?,
            None => auth.user.as_ref().is_none_or(|name| self.accounts.is_name_of(name, &requester.user_id)),
        };
        if !is_requester {
            return Err(UiaError::OtherUser);
        }
        session.learned.password = self.accounts.proof_of(requester, password).await?;
        Ok(session.learned.password.is_none().then_some(("M_FORBIDDEN", "Wrong password")))
    }

    /// Guesses count for the address, wherever they are made.
    async fn try_token<P>(
        &self,
        session: &mut Session<P>,
        request: Request<'_>,
        stage: Stage,
        auth: &Auth,
    ) -> Result<Option<Mistake>, UiaError> {
        let Some(token) = &auth.token else {
            return Ok(Some(("M_MISSING_PARAM", "The registration token is missing")));
        };
        let guess = self.rate_limits.spend(
            LimitedAction::RegistrationTokenValidity,
            request.asker.key(),
            request.asker.requester(),
        )?;
        match self.database.usable_registration_token(token, self.clock.now()).await? {
            Some(usable) if usable.makes_admin || stage == Stage::RegistrationToken => {
                guess.give_back();
                session.learned.registration_token = Some(token.clone());
                Ok(None)
            }
            _ => {
                guess.keep();
                Ok(Some(("M_UNAUTHORIZED", "This registration token is not valid")))
            }
        }
    }

    async fn try_email<P>(
        &self,
        session: &mut Session<P>,
        request: Request<'_>,
        purpose: Purpose,
        auth: &Auth,
    ) -> Result<Option<Mistake>, UiaError> {
        let creds = auth.threepid_creds.as_ref().or(auth.old_threepid_creds.as_ref());
        let Some(Object(ThreepidCredentials { sid, client_secret })) = creds else {
            return Ok(Some(("M_MISSING_PARAM", "The credentials of the e-mail address (threepid_creds) are missing")));
        };
        let found = validated_email(&self.database, &*self.clock, purpose, sid, client_secret).await?;
        let Some(email) = found else {
            return Ok(Some((
                "M_UNAUTHORIZED",
                "The e-mail address is not confirmed: follow the link in the mail first",
            )));
        };
        if let Some(requester) = request.asker.requester()
            && self.database.threepid_owner(EMAIL, &email.address).await? != Some(requester.user_sn)
        {
            return Err(UiaError::OtherUser);
        }
        session.learned.email = Some(email);
        Ok(None)
    }
}

/// Whether all stages of the flow before this one are completed.
fn is_next(flow: &[Stage], stage: Stage, completed: &[Stage]) -> bool {
    flow.iter().take_while(|before| **before != stage).all(|before| completed.contains(before)) && flow.contains(&stage)
}
