//! The components that handlers use. A handler lists exactly those it needs: `State(sessions): State<Arc<Sessions>>`.

use std::sync::Arc;

use axum::extract::FromRef;
use services::capabilities::Capabilities;
use services::discovery::Discovery;
use services::sessions::Sessions;

use crate::edge::RequestObserver;

macro_rules! components {
    ($($(#[$doc:meta])* $field:ident: $component:ty,)*) => {
        /// Every component that some handler uses.
        pub struct Components {
            $($(#[$doc])* pub $field: $component,)*
        }

        $(impl FromRef<ApiState> for $component {
            fn from_ref(state: &ApiState) -> Self {
                state.0.$field.clone()
            }
        })*
    };
}

components! {
    /// Told about every request that was answered; the metrics.
    observer: Option<Arc<dyn RequestObserver>>,
    /// What this server tells about itself in `/capabilities`.
    capabilities: Arc<Capabilities>,
    /// What this server tells about itself in `/.well-known`.
    discovery: Arc<Discovery>,
    /// Who an access token belongs to.
    sessions: Arc<Sessions>,
}

/// The state of the routers, cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Components>);

impl ApiState {
    /// The state made of `components`.
    pub fn new(components: Components) -> Self {
        Self(Arc::new(components))
    }
}
