//! The paths of an API, with their versions.

use axum::Router;
use axum::routing::MethodRouter;

use crate::state::ApiState;

/// Collects the routes below one prefix, each under every version by which it is called.
pub(crate) struct Paths {
    prefix: &'static str,
    /// The versions that had the paths of version 3 before Matrix 1.1. Clients in use still call them.
    before_v3: &'static [&'static str],
    router: Router<ApiState>,
}

impl Paths {
    /// Paths below `prefix`, such as `/_matrix/client`.
    pub(crate) fn below(prefix: &'static str) -> Self {
        Self { prefix, before_v3: &[], router: Router::new() }
    }

    /// Serves the paths of version 3 under these versions too.
    pub(crate) fn with_v3_also_as(self, before_v3: &'static [&'static str]) -> Self {
        Self { before_v3, ..self }
    }

    /// A path of version 3.
    pub(crate) fn v3(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        let versions = self.before_v3;
        versions
            .iter()
            .fold(self, |paths, version| paths.under(version, path, methods.clone()))
            .under("v3", path, methods)
    }

    /// A path of version 1.
    pub(crate) fn v1(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.under("v1", path, methods)
    }

    /// The path that an endpoint had as a proposal. Clients choose it that find no claim of the version which the endpoint came with.
    pub(crate) fn draft(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.under("unstable", path, methods)
    }

    /// A path that has no version.
    pub(crate) fn unversioned(self, path: &str, methods: MethodRouter<ApiState>) -> Self {
        let router = self.router.route(&format!("{}{path}", self.prefix), methods);
        Self { router, ..self }
    }

    pub(crate) fn into_router(self) -> Router<ApiState> {
        self.router
    }

    fn under(self, version: &str, path: &str, methods: MethodRouter<ApiState>) -> Self {
        self.unversioned(&format!("/{version}{path}"), methods)
    }
}
