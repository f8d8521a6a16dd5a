//! How far a hash table is searched.

/// So many slots of a hash table are looked at for a key. Those of tables that are full to four fifths are found long before; who writes a file so
/// that its tokens collide gains nothing by having more of them.
pub(crate) const MOST_PROBES: usize = 1024;

/// The slots that are looked at for a key, one after the other, the first of them in the place that its hash says. There is a power of two of
/// slots.
#[inline]
pub(crate) fn probes(first: usize, slots: usize) -> impl Iterator<Item = usize> {
    let mask = slots.wrapping_sub(1);
    let places = (0..MOST_PROBES).map(move |step| first.wrapping_add(step) & mask);
    #[cfg(test)]
    let places = places.inspect(|_| count());
    places
}

#[cfg(test)]
thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a place that this thread looks at.
#[cfg(test)]
pub(crate) fn count() {
    COUNT.set(COUNT.get() + 1);
}

/// How many places this thread looks at for some work.
#[cfg(test)]
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    let result = work();
    (result, COUNT.get() - before)
}
