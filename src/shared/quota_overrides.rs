//! What operators set at run time: limits and pauses of single counters, as Redis has them.
//!
//! The control thread reads them and publishes them whole; workers and monitoring look.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

/// What an operator set for one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// The limit in place of the configured one, or the floor of stock.
    pub limit: Option<i64>,
    /// Who set it; empty where that was not noted.
    pub limit_by: String,
    /// Everything is refused.
    pub paused: bool,
    /// Who paused it.
    pub paused_by: String,
}

impl Override {
    /// Nothing is set.
    pub fn is_empty(&self) -> bool {
        self.limit.is_none() && !self.paused
    }
}

/// All of them, by counter.
pub type Overrides = HashMap<Bytes, Override>;

/// The counters whose override is another now, with what holds.
pub fn changes<'a>(former: &'a Overrides, now: &'a Overrides) -> impl Iterator<Item = (&'a Bytes, Override)> {
    let gone = former.keys().filter(|key| !now.contains_key(*key)).map(|key| (key, Override::default()));
    let new = now.iter().filter(|(key, set)| former.get(*key) != Some(set));
    gone.chain(new.map(|(key, set)| (key, set.clone())))
}

/// The latest snapshot, as readers hold it.
pub type OverridesSeen = tokio::sync::watch::Receiver<Arc<Overrides>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_gone_or_another_is_a_change() {
        let of = |pairs: &[(&'static str, i64)]| -> Overrides {
            let set = |limit| Override { limit: Some(limit), ..Override::default() };
            pairs.iter().map(|(key, limit)| (Bytes::from_static(key.as_bytes()), set(*limit))).collect()
        };
        let (former, now) =
            (of(&[("same", 1), ("gone", 2), ("other", 3)]), of(&[("same", 1), ("other", 4), ("new", 5)]));
        let mut found: Vec<_> = changes(&former, &now).map(|(key, set)| (key.clone(), set.limit)).collect();
        found.sort();
        let expect = [("gone", None), ("new", Some(5)), ("other", Some(4))];
        assert_eq!(found, expect.map(|(key, limit)| (Bytes::from_static(key.as_bytes()), limit)));
    }
}
