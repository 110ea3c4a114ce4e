//! The spellings of a client path.

use axum::Router;
use axum::routing::MethodRouter;

use crate::state::ApiState;

/// Collects the routes of the client-server API, each under every prefix by which clients in use call it.
pub(super) struct ClientPaths(Router<ApiState>);

impl ClientPaths {
    pub(super) fn new() -> Self {
        Self(Router::new())
    }

    /// A path of version 3: also under `r0`, its name before Matrix 1.1, and under `unstable`.
    pub(super) fn v3(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.under(&["v3", "r0", "unstable"], path, methods)
    }

    /// A path that appeared after Matrix 1.1, with version 1.
    pub(super) fn v1(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.under(&["v1"], path, methods)
    }

    /// The path that an endpoint had as a proposal. Clients choose it that find no claim of the version which the endpoint came with.
    pub(super) fn draft(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.under(&["unstable"], path, methods)
    }

    /// A path as it is.
    pub(super) fn at(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        Self(self.0.route(path, methods))
    }

    pub(super) fn into_router(self) -> Router<ApiState> {
        self.0
    }

    fn under(self, versions: &[&str], path: &str, methods: MethodRouter<ApiState>) -> Self {
        let route = |router: Router<ApiState>, version: &&str| {
            router.route(&format!("/_matrix/client/{version}{path}"), methods.clone())
        };
        Self(versions.iter().fold(self.0, route))
    }
}
