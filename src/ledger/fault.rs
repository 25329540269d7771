//! Places where a test has the process die, as `kill -9` would: between any two steps of a round.
//!
//! In debug builds, `HOTGATE_LEDGER_DIES=place:n` ends the process at the n-th time that it comes to the place. Otherwise this is nothing.

/// Ends the process if this is where it is to die.
pub fn point(place: &str) {
    #[cfg(debug_assertions)]
    debug::point(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(debug_assertions)]
mod debug {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let wanted = std::env::var("HOTGATE_LEDGER_DIES").ok()?;
        let (place, times) = wanted.split_once(':')?;
        Some((place.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });

    pub fn point(place: &str) {
        if let Some((wanted, times)) = &*WANTED
            && wanted == place
            && times.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }
}
