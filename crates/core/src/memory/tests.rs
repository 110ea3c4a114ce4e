use std::sync::Arc;

use super::{MemoryBudget, MemoryUsage};
use crate::{Cache, FixedClock, Timestamp};

const MIB: u64 = 1 << 20;

fn budget(bytes: u64) -> MemoryBudget {
    MemoryBudget::new(bytes, Arc::new(FixedClock::new(Timestamp(0))))
}

fn fill(cache: &Cache<u64, Arc<str>>, keys: std::ops::Range<u64>) {
    for key in keys {
        cache.get_or_insert_with(&key, || "x".repeat(500).into());
    }
}

fn total(budget: &MemoryBudget) -> MemoryUsage {
    budget.usage().iter().fold(MemoryUsage::default(), |total, (_, usage)| total.plus(usage))
}

#[test]
fn a_hot_cache_takes_from_an_idle_one_and_gives_back() {
    let budget = budget(8 * MIB);
    let (one, other) = (Cache::new(&budget, "one"), Cache::new(&budget, "other"));
    fill(&one, 0..20_000);
    let alone = one.usage().entries;
    assert!(one.usage().capacity_bytes > 5 * MIB, "nobody else wants anything: {:?}", one.usage());

    for _ in 0..20 {
        fill(&other, 0..10_000);
        assert!(total(&budget).bytes() <= 8 * MIB && total(&budget).capacity_bytes <= 8 * MIB, "{:?}", budget.usage());
    }
    assert!(other.usage().entries > 8_000, "nearly all of the working set fits: {:?}", budget.usage());
    assert!(one.usage().entries < alone / 2 && one.usage().capacity_bytes > 8 * MIB / 32, "{:?}", budget.usage());

    for _ in 0..20 {
        fill(&one, 0..10_000);
    }
    assert!(one.usage().entries > 8_000 && other.usage().entries < 5_000, "{:?}", budget.usage());
}

#[test]
fn two_that_are_used_alike_have_alike() {
    let budget = budget(8 * MIB);
    let (one, other) = (Cache::new(&budget, "one"), Cache::new(&budget, "other"));
    for round in 0..60 {
        fill(&one, round % 7 * 3_000..(round % 7 + 1) * 3_000);
        fill(&other, round % 7 * 3_000..(round % 7 + 1) * 3_000);
    }
    let (one, other) = (one.usage().bytes(), other.usage().bytes());
    assert!(one.min(other) * 2 > one.max(other), "{one} {other}");
}

#[test]
fn a_budget_that_is_changed_applies_at_once() {
    let budget = budget(8 * MIB);
    let caches = [Cache::new(&budget, "one"), Cache::new(&budget, "other")];
    caches.iter().for_each(|cache| fill(cache, 0..20_000));
    let before = total(&budget).bytes();
    assert!(before > 5 * MIB, "{:?}", budget.usage());
    budget.set_bytes(2 * MIB);
    assert!(total(&budget).entry_bytes <= 2 * MIB, "{:?}", budget.usage());
    budget.set_bytes(16 * MIB);
    caches.iter().for_each(|cache| fill(cache, 0..20_000));
    assert!(total(&budget).bytes() > 10 * MIB, "{:?}", budget.usage());
}

#[test]
fn those_of_one_name_are_counted_together_and_who_is_gone_is_not() {
    let budget = budget(MIB);
    let (one, other) = (Cache::new(&budget, "texts"), Cache::new(&budget, "texts"));
    fill(&one, 0..3);
    fill(&other, 0..4);
    let usage = budget.usage();
    assert_eq!((usage.len(), usage[0].1.entries, usage[0].1.misses), (1, 7, 7));
    drop(one);
    assert_eq!(budget.usage()[0].1.entries, 4);
}

#[test]
fn a_load_of_ten_times_the_budget_takes_no_more_than_the_budget() {
    const BUDGET: u64 = 8 * MIB;
    let budget = budget(BUDGET);
    let measured = allocation_counter::measure(|| {
        let texts: Cache<Box<str>, i64> = Cache::new(&budget, "texts");
        let names: Cache<i64, Arc<str>> = Cache::new(&budget, "names");
        let large: Cache<u64, Arc<Vec<u64>>> = Cache::new(&budget, "large");
        let mut filled = 0;
        for number in 0.. {
            let name = format!("@user{number}:server{}.example.org", number % 100);
            names.insert(number, name.as_str().into());
            filled += 3 * name.len() + 100 + 8_000 / 10;
            texts.insert(name.into(), number);
            if number % 10 == 0 {
                large.insert(number.unsigned_abs(), Arc::new(vec![7; 1_000]));
            }
            if filled as u64 > 10 * BUDGET {
                break;
            }
        }
        std::mem::forget((texts, names, large));
    });
    let most = measured.bytes_max;
    assert!(most <= BUDGET / 10 * 11 && most > BUDGET / 2, "{most} bytes of {BUDGET}");
}
