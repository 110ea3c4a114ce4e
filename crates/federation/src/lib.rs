//! Requests from and to other homeservers, below what they are about.
//!
//! # The way of a request to another server
//!
//! 1. [`Client`] takes a place among the requests that run at once, and signs the request
//!    ([`signed_request`]).
//! 2. [`Discovery`] finds out where the server is: from the configuration, `/.well-known`, or the DNS.
//! 3. [`transport`] connects, unless the address is one of a private network, and checks the certificate. Connections are kept
//!    for the next request to the same server.
//! 4. The answer is read up to a limit and within a time.
//!
//! # The way of a request of another server
//!
//! [`Gate::claims`] reads the credentials. [`Gate::admit`] gets the keys of the server ([`ServerKeys`]), checks the signature, and
//! lets no server have more than its share ([`ServerRates`]).
//!
//! Every byte that comes from another server is limited in size, and what waits for one is limited in time. Whom this server asks is
//! often what a client says, so the error does not tell why a server was not reached, and comes after whole seconds.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/>
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | the keys of other servers | `server_keys` | their share of `caches.memory_budget` | they are in the database, and asked for again when they expire |
//! | servers that are not reached ([`Reachability`]) | | 100,000 servers | they are in the database, which is read again after a minute |
//! | where other servers are | `server_destinations` | their share of `caches.memory_budget` | it is looked up again after a while |

pub mod credentials;
pub mod signed_request;
pub mod transport;

mod client;
mod discovery;
mod gate;
mod identity_servers;
mod keys;
mod rates;
mod reachability;

pub use client::{
    Client, ClientObserver, ClientOptions, MAX_SENT_BYTES, OpenAnswer, Outcome, Outgoing, RequestError, Signing,
    Unobserved,
};
pub use discovery::{Destination, Discovery, Host, Lookups, SystemLookups, Target};
pub use gate::{Admitted, Claims, Gate, Incoming, Refusal};
pub use identity_servers::{
    HashDetails, IdentityServer, IdentityServerError, IdentityServers, InviteKey, StoredInvite,
};
pub use keys::{
    FetchedKeys, KeyError, NeededKeys, OldKey, OwnKeys, PublishedKeys, ServerKeys, ServerKeysParts, WantedKeys,
};
pub use rates::{Admission, ServerRate, ServerRates, TooMany};
pub use reachability::{Reachability, Urgency};
