//! What it costs to know whom a token belongs to, when the token was used before; and the plain baseline, the hash alone.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::hint::black_box;
use std::sync::Arc;

use accounts::registration::{NewUser, Registration, RegistrationOptions};
use accounts::sessions::{CheckedDevice, SessionDevice, SessionOptions, Sessions};
use accounts::uia::Authorisation;
use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt as _;
use homeserver_core::SystemClock;
use ruma::owned_server_name;
use sha2::{Digest as _, Sha256};
use storage::{Database, DatabaseOptions, Interned};
use testing::TestDatabase;

fn authenticate(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let db = TestDatabase::sqlite();
    let (sessions, token) = runtime.block_on(async {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let clock = Arc::new(SystemClock);
        let interned = Arc::new(Interned::new(database.clone()));
        let sessions = Arc::new(Sessions::new(database.clone(), interned, clock.clone(), SessionOptions::default()));
        let (name, options) = (owned_server_name!("example.org"), RegistrationOptions::default());
        let registration = Registration::new(database, clock, name, options, None, sessions.clone());
        let device = Some(CheckedDevice::try_from(SessionDevice::default()).unwrap());
        let user = NewUser { username: Some("alice".to_owned()), device, ..NewUser::default() };
        let registered = registration.register(user, Authorisation::default()).await.unwrap();
        let token = registered.tokens.unwrap().access_token;
        sessions.authenticate(&token, None).await.unwrap();
        (sessions, token)
    });
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("authenticate");
    group.bench_function("hash alone", |bencher| {
        bencher.iter(|| black_box(Sha256::digest(black_box(&token).as_bytes())));
    });
    group.bench_function("known token", |bencher| {
        // A known token needs no waiting, so the future is ready at once.
        bencher.iter(|| sessions.authenticate(black_box(&token), None).now_or_never().unwrap().unwrap());
    });
    group.finish();
}

criterion_group!(benches, authenticate);
criterion_main!(benches);
