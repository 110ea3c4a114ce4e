use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use ruma::OwnedServerName;

use super::{Lookups, dns, well_known};
use crate::transport::Web;

/// Asks the hosts themselves, and the DNS servers of this machine.
pub struct SystemLookups {
    web: Web,
    resolver: Option<TokioResolver>,
}

impl SystemLookups {
    /// Asks hosts by `web`. Where this machine has no DNS server, nobody has SRV records.
    #[must_use]
    pub fn new(web: Web) -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let resolver = resolver.inspect_err(|error| {
            tracing::warn!(%error, "servers are looked for without SRV records: this machine's DNS servers are not known");
        });
        Self { web, resolver: resolver.ok() }
    }
}

impl Lookups for SystemLookups {
    fn well_known<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Option<(OwnedServerName, Duration)>> {
        well_known::look_up(&self.web, host).boxed()
    }

    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>> {
        async move {
            match &self.resolver {
                Some(resolver) => dns::srv(resolver, name).await,
                None => Vec::new(),
            }
        }
        .boxed()
    }
}
