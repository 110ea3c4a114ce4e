use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use homeserver_core::UserSn;

use super::limiter::Limiter;
use super::{Key, Rate};

fn rate(per_second: f64, burst: u32) -> Rate {
    Rate { per_second, burst: NonZeroU32::new(burst).unwrap() }
}

fn limiter(rate: Rate, capacity: usize) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limiter::with_clock(rate, 4, capacity, clock.clone()), clock)
}

const ALICE: Key = Key::user(UserSn(1));
const BOB: Key = Key::user(UserSn(2));

#[test]
fn a_burst_is_allowed_at_once_and_then_the_rate() {
    let (limiter, clock) = limiter(rate(0.2, 3), 100);
    for _ in 0..3 {
        limiter.ask(ALICE, 1, true).unwrap();
    }
    assert_eq!(limiter.ask(ALICE, 1, true), Err(Duration::from_secs(5)));
    limiter.ask(BOB, 1, true).unwrap();
    clock.advance(Duration::from_micros(4_999_500));
    assert_eq!(limiter.ask(ALICE, 1, true), Err(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    limiter.ask(ALICE, 1, true).unwrap();
    limiter.ask(ALICE, 1, true).unwrap_err();
    clock.advance(Duration::from_secs(100));
    for _ in 0..3 {
        limiter.ask(ALICE, 1, true).unwrap();
    }
    limiter.ask(ALICE, 1, true).unwrap_err();
}

#[test]
fn looking_spends_nothing_and_what_is_refused_neither() {
    let (limiter, clock) = limiter(rate(1.0, 1), 100);
    for _ in 0..10 {
        limiter.ask(ALICE, 1, false).unwrap();
    }
    assert_eq!(limiter.keys(), 0);
    limiter.ask(ALICE, 1, true).unwrap();
    for _ in 0..10 {
        assert_eq!(limiter.ask(ALICE, 1, false), Err(Duration::from_secs(1)));
        assert_eq!(limiter.ask(ALICE, 1, true), Err(Duration::from_secs(1)));
    }
    clock.advance(Duration::from_secs(1));
    limiter.ask(ALICE, 1, true).unwrap();
}

#[test]
fn what_is_given_back_can_be_spent_again_and_no_more() {
    let (limiter, clock) = limiter(rate(0.001, 2), 100);
    limiter.ask(ALICE, 2, true).unwrap();
    limiter.give_back(ALICE, 1);
    limiter.ask(ALICE, 1, true).unwrap();
    limiter.ask(ALICE, 1, true).unwrap_err();
    limiter.give_back(BOB, 5);
    assert_eq!(limiter.keys(), 1);
    // A bucket that is full already does not become fuller.
    limiter.give_back(ALICE, 2);
    limiter.give_back(ALICE, 2);
    clock.advance(Duration::from_secs(10_000));
    limiter.ask(ALICE, 2, true).unwrap();
    limiter.ask(ALICE, 1, true).unwrap_err();
}

#[test]
fn more_than_a_burst_counts_as_a_burst() {
    let (limiter, _) = limiter(rate(0.001, 2), 100);
    limiter.ask(ALICE, 50, true).unwrap();
    limiter.ask(ALICE, 1, true).unwrap_err();
}

#[test]
fn the_extremes_of_the_configuration_neither_overflow_nor_stand_still() {
    for extreme in [rate(0.0001, 100_000), rate(1_000_000.0, 100_000), rate(1e-300, u32::MAX), rate(1e300, u32::MAX)] {
        let (limiter, clock) = limiter(extreme, 100);
        clock.advance(Duration::from_hours(24 * 365 * 10));
        limiter.ask(ALICE, u32::MAX, true).unwrap();
        limiter.ask(ALICE, u32::MAX, true).unwrap_err();
        clock.advance(Duration::from_hours(24 * 365 * 40));
        assert_eq!(limiter.ask(ALICE, u32::MAX, true), Ok(()), "{extreme:?}");
    }
}

#[test]
fn keys_at_rest_are_forgotten() {
    let (limiter, clock) = limiter(rate(1.0, 10), 100);
    limiter.ask(ALICE, 1, true).unwrap();
    limiter.ask(BOB, 10, true).unwrap();
    clock.advance(Duration::from_secs(3));
    limiter.forget_those_at_rest();
    assert_eq!(limiter.keys(), 1);
    assert_eq!(limiter.ask(BOB, 10, true), Err(Duration::from_secs(7)));
    clock.advance(Duration::from_secs(11));
    limiter.forget_those_at_rest();
    assert_eq!(limiter.keys(), 0);
}

/// A stream of new addresses neither grows the memory nor frees an address that is limited.
#[test]
fn a_stream_of_new_addresses_is_bounded_and_displaces_itself() {
    const CAPACITY: usize = 1_000;
    let (limiter, clock) = limiter(rate(0.01, 5), CAPACITY);
    limiter.ask(ALICE, 5, true).unwrap();
    for number in 0..20_000_u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number));
        limiter.ask(Key::address(Some(address)), 1, true).unwrap();
        let network = IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64));
        limiter.ask(Key::address(Some(network)), 1, true).unwrap();
        assert!(limiter.keys() <= CAPACITY, "{} after {number}", limiter.keys());
        clock.advance(Duration::from_micros(100));
    }
    limiter.ask(ALICE, 1, true).unwrap_err();
}

/// All IPv6 addresses of one network share a bucket.
#[test]
fn the_addresses_of_one_network_share_a_bucket() {
    let (limiter, _) = limiter(rate(0.01, 5), 100);
    let network = 0x2001_0db8_u128 << 96;
    let asked = (0..1_000_u128).filter(|host| {
        let address = IpAddr::V6(Ipv6Addr::from_bits(network | host));
        limiter.ask(Key::address(Some(address)), 1, true).is_ok()
    });
    assert_eq!((asked.count(), limiter.keys()), (5, 1));
}

mod of_a_server {
    use homeserver_core::RoomSn;
    use ruma::{owned_server_name, owned_user_id};
    use storage::{Database, DatabaseOptions};
    use testing::TestDatabase;

    use super::*;
    use crate::rate_limits::{LimitedAction, RateLimits};
    use crate::sessions::Requester;

    async fn limits(db: &TestDatabase) -> RateLimits {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        RateLimits::new(database, owned_server_name!("example.org"), |_| Some(rate(0.001, 2)))
    }

    fn alice(is_rate_limited: bool) -> Requester {
        let mut alice = Requester::on_behalf_of(UserSn(1), owned_user_id!("@alice:example.org"));
        alice.is_rate_limited = is_rate_limited;
        alice
    }

    const ROOM: Key = Key::room(RoomSn(7));

    /// As users of an application service whose registration says so.
    #[tokio::test]
    async fn who_is_exempt_neither_spends_nor_gives_back_what_others_share() {
        let db = TestDatabase::sqlite();
        let limits = limits(&db).await;
        let (alice, exempt) = (alice(true), alice(false));
        for _ in 0..5 {
            limits.spend_by_user(LimitedAction::Message, &exempt).unwrap().keep();
            limits.spend(LimitedAction::JoinsPerRoom, ROOM, Some(&exempt)).unwrap().keep();
        }
        assert_eq!(limits.burst(LimitedAction::Message, Some(&exempt)), None);
        for _ in 0..2 {
            limits.spend(LimitedAction::JoinsPerRoom, ROOM, Some(&alice)).unwrap().keep();
        }
        limits.spend(LimitedAction::JoinsPerRoom, ROOM, Some(&exempt)).unwrap().give_back();
        let refused = limits.spend(LimitedAction::JoinsPerRoom, ROOM, Some(&alice)).err().unwrap();
        assert_eq!(refused.kind, LimitedAction::JoinsPerRoom);
        let counts = limits.counts().into_iter().find(|counts| counts.kind == LimitedAction::JoinsPerRoom).unwrap();
        assert_eq!((counts.refused, counts.keys), (1, 1));
    }

    #[tokio::test]
    async fn what_has_happened_is_spent_as_far_as_there_is_something() {
        let db = TestDatabase::sqlite();
        let (limits, alice) = (limits(&db).await, alice(true));
        limits.spend(LimitedAction::InvitesPerRoom, ROOM, Some(&alice)).unwrap().keep();
        limits.record(LimitedAction::InvitesPerRoom, ROOM, Some(&alice), 5);
        limits.spend(LimitedAction::InvitesPerRoom, ROOM, Some(&alice)).map(drop).unwrap_err();
        limits.record(LimitedAction::InvitesPerRoom, Key::room(RoomSn(8)), Some(&alice), 0);
        limits.spend(LimitedAction::InvitesPerRoom, Key::room(RoomSn(8)), Some(&alice)).unwrap().keep();
    }
}
