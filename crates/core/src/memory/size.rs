//! How much memory a value takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ruma::{OwnedRoomId, OwnedUserId};

/// The size of a value on the heap.
///
/// The size is that of the allocations, not of the requests: see [`allocation_bytes`]. Values that share an allocation
/// count it each.
pub trait HeapSize {
    /// Bytes on the heap that dropping the value frees, beside the value itself.
    fn heap_bytes(&self) -> usize;
}

/// The size of an allocation for this many bytes: jemalloc has four sizes between a power of two and the next.
#[must_use]
pub const fn allocation_bytes(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

/// The bytes of the table of a `HashMap` or `HashSet` with a capacity of `capacity` entries of type `T`.
#[must_use]
pub const fn table_bytes<T>(capacity: usize) -> usize {
    let places = match capacity {
        0 => return 0,
        1..=3 => 4,
        4..=7 => 8,
        _ => (capacity * 8 / 7).next_power_of_two(),
    };
    allocation_bytes(places * (size_of::<T>() + 1) + 16)
}

macro_rules! without_heap {
    ($($type:ty),*) => {$(
        impl HeapSize for $type {
            fn heap_bytes(&self) -> usize {
                0
            }
        }
    )*};
}

without_heap! {
    (), bool, u8, u16, u32, u64, usize, i32, i64, f64,
    crate::UserSn, crate::RoomSn, crate::DeviceSn, crate::EventSn, crate::TypeSn, crate::KeySn, crate::ServerSn, crate::Position
}

impl<const N: usize> HeapSize for [u8; N] {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl HeapSize for Box<str> {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.len())
    }
}

impl HeapSize for String {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.capacity())
    }
}

/// The reference counts beside the value in an `Arc`.
const REFERENCE_COUNTS_BYTES: usize = 2 * size_of::<usize>();

impl HeapSize for Arc<str> {
    fn heap_bytes(&self) -> usize {
        allocation_bytes((self.len() + REFERENCE_COUNTS_BYTES).next_multiple_of(align_of::<usize>()))
    }
}

impl<T: HeapSize> HeapSize for Arc<T> {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(size_of::<T>() + REFERENCE_COUNTS_BYTES) + T::heap_bytes(self)
    }
}

impl<T: HeapSize> HeapSize for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, HeapSize::heap_bytes)
    }
}

impl<T: HeapSize> HeapSize for Vec<T> {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.capacity() * size_of::<T>()) + self.iter().map(HeapSize::heap_bytes).sum::<usize>()
    }
}

impl<A: HeapSize, B: HeapSize> HeapSize for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl<K: HeapSize, V: HeapSize, S> HeapSize for HashMap<K, V, S> {
    fn heap_bytes(&self) -> usize {
        let of_entries: usize = self.iter().map(|(key, value)| key.heap_bytes() + value.heap_bytes()).sum();
        table_bytes::<(K, V)>(self.capacity()) + of_entries
    }
}

impl<T: HeapSize, S> HeapSize for HashSet<T, S> {
    fn heap_bytes(&self) -> usize {
        table_bytes::<T>(self.capacity()) + self.iter().map(HeapSize::heap_bytes).sum::<usize>()
    }
}

impl<T: HeapSize> HeapSize for Mutex<T> {
    fn heap_bytes(&self) -> usize {
        self.lock().heap_bytes()
    }
}

impl<T: HeapSize> HeapSize for RwLock<T> {
    fn heap_bytes(&self) -> usize {
        self.read().heap_bytes()
    }
}

impl HeapSize for OwnedUserId {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.as_str().len())
    }
}

impl HeapSize for OwnedRoomId {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.as_str().len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::{HeapSize, allocation_bytes};

    #[test]
    fn sizes_are_those_of_the_allocator() {
        for (asked, given) in [(0, 0), (1, 8), (9, 16), (17, 32), (100, 112), (129, 160), (257, 320), (5_000, 5_120)] {
            assert_eq!(allocation_bytes(asked), given);
        }
    }

    #[track_caller]
    fn assert_honest<T: HeapSize>(make: impl Fn(usize) -> T) {
        let mut made: Vec<T> = Vec::with_capacity(100);
        let taken = allocation_counter::measure(|| made.extend((0..100).map(make))).bytes_current;
        let counted: usize = made.iter().map(HeapSize::heap_bytes).sum();
        let taken = usize::try_from(taken).unwrap();
        assert!((taken..=taken + taken / 4 + 800).contains(&counted), "{counted} counted, {taken} taken");
    }

    #[test]
    fn what_is_counted_is_what_is_allocated_and_up_to_a_quarter_that_the_allocator_adds() {
        assert_honest(|number| "x".repeat(number).into_boxed_str());
        assert_honest(|number| Arc::<str>::from("x".repeat(number)));
        assert_honest(|number| vec![7_u64; number]);
        assert_honest(|number| Arc::new((0..number).map(|key| (key, "x".repeat(key))).collect::<HashMap<_, _>>()));
        assert_honest(|number| (number % 2 == 0).then(|| (number, "x".repeat(number))));
    }
}
