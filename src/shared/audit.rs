//! Who changed what: the changes that operators made, in a [`KeptList`].
//!
//! Whoever carries a change out notes it here before it answers. `HOTGATE AUDIT`, `/api/audit` and the dashboard show the list. Each
//! change is a line of the log as well. A change that is made again and again, as a sale is moved in steps, is one entry that counts.
//!
//! Holds no password: callers leave them out. Keys come as `admin.hash_key_names` wants them shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kept::{Entry, KeptList, Stamp};

/// The changes that operators made.
pub type Audit = KeptList<AuditEntry>;

/// What became of a change that was made.
pub const DONE: &str = "done";

/// Who asked for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The user, or the name of the token.
    pub user: String,
    /// Where the request came from.
    pub address: String,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.user)
    }
}

/// A change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditEntry {
    /// Its number, when it was made and how often.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Who made it: a user, or the name of a token.
    pub user: String,
    /// From where.
    pub address: String,
    /// What was asked for: `quota pause`, `acl setuser`, `reload`, ...
    pub change: String,
    /// Of what: a key, a user, a node.
    pub object: String,
    /// What held before, where that is known.
    pub before: String,
    /// What holds now.
    pub after: String,
    /// Why, if that was said.
    pub reason: String,
    /// [`DONE`], or why it was not.
    pub outcome: String,
}

impl AuditEntry {
    /// A change that was made.
    pub fn new(by: &Author, change: impl Into<String>, object: impl Into<String>) -> Self {
        Self {
            user: by.user.clone(),
            address: by.address.clone(),
            change: change.into(),
            object: object.into(),
            stamp: Stamp::times(1),
            outcome: DONE.to_owned(),
            ..Self::default()
        }
    }

    /// With what held before and what holds now.
    pub fn from_to(mut self, before: impl Into<String>, after: impl Into<String>) -> Self {
        (self.before, self.after) = (before.into(), after.into());
        self
    }

    /// With the text of the reason, if one was given.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// With what became of it, where it failed or that is not known.
    pub fn failed(mut self, why: impl Into<String>) -> Self {
        self.outcome = why.into();
        self
    }
}

impl Entry for AuditEntry {
    const FILE: &'static str = "audit";
    const WHAT: &'static str = "changes of operators";

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn stamp_mut(&mut self) -> &mut Stamp {
        &mut self.stamp
    }

    fn texts(&mut self) -> Vec<&mut String> {
        let Self { user, address, change, object, before, after, reason, outcome, .. } = self;
        vec![user, address, change, object, before, after, reason, outcome]
    }

    /// The same change by the same user again.
    fn repeats(&self, former: &Self) -> bool {
        let stamp = former.stamp;
        Self { stamp, ..self.clone() } == *former
    }

    fn log(&self) {
        let Self { user, address, change, object, before, after, reason, outcome, .. } = self;
        tracing::info!(user, address, change, object, before, after, reason, outcome, "an operator's change");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::kept::{ENTRIES_MAX, TEXT_BYTES_MAX, Writer};

    fn entry(object: &str) -> AuditEntry {
        let by = Author { user: "ops".into(), address: "10.0.0.9:1".into() };
        AuditEntry::new(&by, "quota pause", object).from_to("as configured", "paused")
    }

    #[test]
    fn the_latest_come_first_and_the_oldest_give_way() {
        let audit = Audit::new(Vec::new(), None);
        (0..ENTRIES_MAX + 5).for_each(|number| audit.record(entry(&number.to_string())));
        let latest = audit.latest(2);
        let ids = [ENTRIES_MAX as u64 + 5, ENTRIES_MAX as u64 + 4];
        assert_eq!(latest.iter().map(|entry| entry.stamp.id).collect::<Vec<_>>(), ids);
        assert_eq!(latest[0].outcome, DONE);
        assert_eq!(audit.latest(usize::MAX).len(), ENTRIES_MAX);
    }

    #[test]
    fn the_same_again_is_counted() {
        let audit = Audit::new(Vec::new(), None);
        ["a", "a", "a", "b", "a"].into_iter().for_each(|object| audit.record(entry(object)));
        let times: Vec<u64> = audit.latest(9).iter().map(|entry| entry.stamp.times).collect();
        assert_eq!(times, [1, 1, 3]);
    }

    #[test]
    fn numbers_go_on_behind_those_of_former_processes() {
        let former = vec![AuditEntry { stamp: Stamp { id: 41, ..Stamp::default() }, ..entry("a") }];
        let audit = Audit::new(former, None);
        audit.record(entry("b"));
        assert_eq!(audit.latest(9).iter().map(|entry| entry.stamp.id).collect::<Vec<_>>(), [42, 41]);
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let audit = Audit::new(Vec::new(), None);
        audit.record(entry(&"ü".repeat(TEXT_BYTES_MAX)).because("r".repeat(9 * TEXT_BYTES_MAX)));
        let kept = &audit.latest(1)[0];
        assert!(kept.object.ends_with('…') && kept.object.len() <= TEXT_BYTES_MAX);
        assert_eq!(kept.reason.len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn a_full_channel_loses_nothing_in_memory() {
        let (entries, written) = std::sync::mpsc::sync_channel(1);
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            waits.recv().unwrap();
            assert_eq!(written.iter().count(), 1);
        });
        let audit = Audit::new(Vec::new(), Some(Writer { entries, thread }));
        ["a", "b"].into_iter().for_each(|object| audit.record(entry(object)));
        assert_eq!(audit.latest(9).len(), 2);
        go_on.send(()).unwrap();
        audit.close();
    }
}
