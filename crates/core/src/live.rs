//! Settings that a running server may change.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A value that is read much and replaced now and then, as a whole. Clones share it.
///
/// Reading takes no lock and counts no references: a reader never waits for another one or for a replacement.
/// Each component has a `Live` of the few settings that it uses, and reads it once for each piece of work; the reading
/// does not change during that piece of work.
///
/// ```
/// use homeserver_core::Live;
///
/// let limit = Live::new(10);
/// let of_the_component = limit.clone();
/// limit.replace(20);
/// assert_eq!(*of_the_component.read(), 20);
/// ```
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value now, for a moment: not to be kept across an `await`, where [`Live::snapshot`] is the one to use.
    #[must_use]
    pub fn read(&self) -> Reading<T> {
        Reading(self.0.load())
    }

    /// The value now, for as long as it is needed.
    #[must_use]
    pub fn snapshot(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value. Later readings see the new one.
    pub fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Live<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// What [`Live::read`] found.
pub struct Reading<T>(Guard<Arc<T>>);

impl<T> Deref for Reading<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::Live;

    #[test]
    fn what_was_read_stays_as_it_was_while_others_read_the_new_value() {
        let live = Live::new("old");
        let (reading, snapshot) = (live.read(), live.snapshot());
        live.replace("new");
        assert_eq!((*reading, *snapshot, *live.read()), ("old", "old", "new"));
    }

    #[test]
    fn readers_never_see_half_of_a_change() {
        let live = Live::new((0_u32, 0_u32));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 1_000 {
                        let (one, other) = *live.read();
                        assert!(one == other && one >= last, "{one} {other} after {last}");
                        last = one;
                    }
                });
            }
            for number in 1..=1_000 {
                live.replace((number, number));
            }
        });
    }
}
