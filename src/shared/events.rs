//! What happened to the gateway and its servers: keys that became hot, nodes that went away, reloads, changes by operators, starts and
//! stops, in a [`KeptList`].
//!
//! Whoever brings an event about records it; what only shows in figures is recorded by `control/events`. `HOTGATE EVENTS`, `/api/events`
//! and the dashboard show the list.
//!
//! Names keys as `admin.hash_key_names` wants them shown, and holds no password: callers see to it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::kept::{Entry, KeptList, Stamp};
pub use super::labels::EventKind;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Its number, when it happened and how often.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The label of an [`EventKind`]. Another version of the gateway may know others.
    pub kind: String,
    /// What it is about: a key, a node, a table of the configuration.
    pub subject: String,
    /// The rest of it, as a clause.
    pub text: String,
    /// Who brought it about, if somebody did.
    pub by: String,
}

impl Event {
    /// Something that happened once.
    pub fn new(kind: EventKind, subject: impl Into<String>, text: impl Into<String>) -> Self {
        let (kind, subject, text) = (kind.label().to_owned(), subject.into(), text.into());
        Self { stamp: Stamp::times(1), kind, subject, text, by: String::new() }
    }

    /// By whom.
    pub fn by(self, by: impl ToString) -> Self {
        Self { by: by.to_string(), ..self }
    }

    /// Of so many at once.
    pub fn of(mut self, count: u64) -> Self {
        self.stamp.times = count;
        self
    }

    /// Whether it is of that kind.
    pub fn is(&self, kind: EventKind) -> bool {
        self.kind == kind.label()
    }
}

impl Entry for Event {
    const FILE: &'static str = "events";
    const WHAT: &'static str = "events";

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn stamp_mut(&mut self) -> &mut Stamp {
        &mut self.stamp
    }

    fn texts(&mut self) -> Vec<&mut String> {
        let Self { kind, subject, text, by, .. } = self;
        vec![kind, subject, text, by]
    }

    fn repeats(&self, former: &Self) -> bool {
        let stamp = former.stamp;
        Self { stamp, ..self.clone() } == *former
    }

    fn comes_in_crowds(&self) -> bool {
        self.is(EventKind::Hot) || self.is(EventKind::Cooled)
    }
}

/// The list, and how many events of each kind this process has recorded.
pub struct Events {
    list: KeptList<Event>,
    counts: [AtomicU64; EventKind::COUNT],
}

impl Events {
    /// Nothing has been counted yet.
    pub fn new(list: KeptList<Event>) -> Self {
        Self { list, counts: Default::default() }
    }

    /// Records an event.
    pub fn record(&self, event: Event) {
        if let Some(kind) = EventKind::ALL.iter().find(|kind| event.is(**kind)) {
            self.counts[kind.index()].fetch_add(event.stamp.times, Ordering::Relaxed);
        }
        self.list.record(event);
    }

    /// The latest of them, the latest first.
    pub fn latest(&self, count: usize) -> Vec<Event> {
        self.list.latest(count)
    }

    /// Those with a higher number than `id`, the oldest first.
    pub fn after(&self, id: u64) -> Vec<Event> {
        self.list.after(id)
    }

    /// What this process has recorded, by [`EventKind`].
    pub fn counts(&self) -> [u64; EventKind::COUNT] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// As [`KeptList::close`].
    pub fn close(&self) {
        self.list.close();
    }
}

impl Default for Events {
    /// A list in memory only.
    fn default() -> Self {
        Self::new(KeptList::new(Vec::new(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::kept::ENTRIES_MAX;

    #[test]
    fn what_repeats_is_added_up_and_counted_by_its_kind() {
        let events = Events::default();
        for slots in [3, 4] {
            events.record(Event::new(EventKind::SlotsMoved, "a:1 to b:1", "").of(slots));
        }
        events.record(Event::new(EventKind::NodeDown, "a:1", "it is silent"));
        let latest = events.latest(9);
        assert_eq!(latest.iter().map(|event| event.stamp.times).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(events.counts()[EventKind::SlotsMoved.index()], 7);
        assert_eq!(events.after(1), latest[..1]);
    }

    #[test]
    fn keys_that_become_hot_do_not_drive_out_what_is_rare() {
        let events = Events::default();
        events.record(Event::new(EventKind::Failover, "a:1 to b:1", ""));
        for number in 0..3 * ENTRIES_MAX {
            events.record(Event::new(EventKind::Hot, number.to_string(), ""));
        }
        let kept = events.latest(usize::MAX);
        assert_eq!(kept.len(), ENTRIES_MAX);
        assert!(kept.last().unwrap().is(EventKind::Failover) && kept[0].subject == "2999");
    }
}
