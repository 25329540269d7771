//! Places where a test has the process die, as `kill -9` would: between any two steps of a round.
//!
//! In debug builds, `HOTGATE_LEDGER_DIES=place:n` ends the process at the n-th time that it comes to the place, and further names in the environment
//! have two processes work at once, or give a database less time. Otherwise this is nothing.

use std::time::Duration;

/// Ends the process if this is where it is to die.
pub fn point(place: &str) {
    #[cfg(debug_assertions)]
    debug::point(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

/// Whether a test has set this name in the environment.
pub fn is_set(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os(name).is_some()
}

/// How long a database may take or be silent: a fifth of it where a test has no time for more.
pub fn patience(usual: Duration) -> Duration {
    if is_set("HOTGATE_LEDGER_HASTE") { usual / 5 } else { usual }
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
