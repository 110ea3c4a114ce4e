//! What a client is told that has stages to complete.

use serde_json::{Value, json};

use super::{Flow, Stage};

/// What was wrong with a stage: error code and sentence.
pub(super) type Mistake = (&'static str, &'static str);

/// What a client is told that has stages to complete.
#[derive(Debug)]
pub struct Challenge {
    /// The secret name of the session.
    pub session: String,
    /// The ways to authorise the operation.
    pub flows: Vec<Flow>,
    /// The stages that are completed.
    pub completed: Vec<Stage>,
    /// What was wrong with the stage that was tried: error code and sentence.
    pub mistake: Option<(&'static str, &'static str)>,
}

impl Challenge {
    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Value {
        let names = |stages: &[Stage]| stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
        let flows: Vec<_> = self.flows.iter().map(|flow| json!({ "stages": names(flow) })).collect();
        let mut body =
            json!({ "session": self.session, "flows": flows, "params": {}, "completed": names(&self.completed) });
        if let (Some((errcode, sentence)), Some(body)) = (self.mistake, body.as_object_mut()) {
            body.insert("errcode".to_owned(), errcode.into());
            body.insert("error".to_owned(), sentence.into());
        }
        body
    }
}
