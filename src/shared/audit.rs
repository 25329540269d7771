//! Who changed what: the changes that operators made, in a bounded list that survives a restart where a directory is configured.
//!
//! Whoever carries a change out notes it here before it answers. `HOTGATE AUDIT`, `/api/audit` and the dashboard show the list. Each
//! change is a line of the log as well. A change that is made again and again, as a sale is moved in steps, is one entry that counts.
//!
//! Holds no password: callers leave them out. Keys come as `admin.hash_key_names` wants them shown. Owns no file: what is noted goes
//! to the thread that writes ([`crate::control::audit_file`]) over a bounded channel. At its bound a change is kept in memory only,
//! and the log says so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Changes that are kept; the oldest gives way. With texts as long as they may be, 6 MiB.
pub const ENTRIES_MAX: usize = 1000;

/// The longest text of an entry, in bytes. A longer one is cut.
pub const TEXT_BYTES_MAX: usize = 1024;

/// A change like the last one is counted there for as long, in milliseconds.
const GROUPED_MS: u64 = 60_000;

/// Between two writings of an entry that counts, in milliseconds.
const REWRITTEN_MS: u64 = 1000;

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
    /// Its number; later ones are higher.
    pub id: u64,
    /// When it was made first, in milliseconds of the Unix clock.
    pub at_ms: u64,
    /// When it was made last.
    pub last_ms: u64,
    /// How often.
    pub times: u64,
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
            times: 1,
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

    /// Whether it is what has become of that entry since.
    pub fn is_counted_in(&self, former: &Self) -> bool {
        (self.id, self.at_ms) == (former.id, former.at_ms) && self.repeats(former)
    }

    /// Whether it is the same change by the same user again.
    fn repeats(&self, former: &Self) -> bool {
        let who_and_what =
            |entry: &Self| [&entry.user, &entry.address, &entry.change, &entry.object].map(String::clone);
        let how =
            |entry: &Self| [&entry.before, &entry.after, &entry.reason, &entry.outcome].map(String::clone);
        who_and_what(self) == who_and_what(former) && how(self) == how(former)
    }

    fn bounded(mut self) -> Self {
        let texts = [&mut self.user, &mut self.address, &mut self.change, &mut self.object];
        texts.into_iter().for_each(cut);
        [&mut self.before, &mut self.after, &mut self.reason, &mut self.outcome].into_iter().for_each(cut);
        self
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let most = TEXT_BYTES_MAX - '…'.len_utf8();
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

struct Noted {
    entries: VecDeque<AuditEntry>,
    next_id: u64,
    /// When the last of them was handed to the writer.
    written_ms: u64,
    /// Where they go to be written, until the process ends.
    writer: Option<Writer>,
}

/// The thread that writes.
pub struct Writer {
    /// Where it takes entries; it ends when nothing more can come.
    pub entries: SyncSender<AuditEntry>,
    /// The thread itself.
    pub thread: JoinHandle<()>,
}

impl Noted {
    fn write(&mut self, entry: AuditEntry, now_ms: u64) {
        self.written_ms = now_ms;
        let refused = self.writer.as_ref().is_some_and(|writer| writer.entries.try_send(entry).is_err());
        if refused {
            tracing::error!(
                "an operator's change is in memory only: others wait to be written to gateway.state_dir"
            );
        }
    }
}

/// The list. Only cold threads take its lock, for as long as it takes to add or copy entries.
pub struct Audit {
    noted: Mutex<Noted>,
}

impl Audit {
    /// A list that goes on behind these entries of former processes, the oldest first.
    pub fn new(former: Vec<AuditEntry>, writer: Option<Writer>) -> Self {
        let next_id = former.iter().map(|entry| entry.id).max().map_or(1, |last| last.saturating_add(1));
        let mut entries = VecDeque::from(former);
        entries.drain(..entries.len().saturating_sub(ENTRIES_MAX));
        Self { noted: Mutex::new(Noted { entries, next_id, written_ms: 0, writer }) }
    }

    fn locked(&self) -> MutexGuard<'_, Noted> {
        // A panic while it was held leaves a list that is still a list.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change, which gets its number and time.
    pub fn record(&self, entry: AuditEntry) {
        let mut entry = entry.bounded();
        let mut noted = self.locked();
        let now_ms = now_ms();
        if let Some(last) = noted.entries.back_mut().filter(|last| entry.repeats(last))
            && now_ms.saturating_sub(last.last_ms) <= GROUPED_MS
        {
            (last.times, last.last_ms) = (last.times + 1, now_ms);
            let last = last.clone();
            if now_ms.saturating_sub(noted.written_ms) >= REWRITTEN_MS {
                noted.write(last, now_ms);
            }
            return;
        }
        (entry.id, entry.at_ms, entry.last_ms) = (noted.next_id, now_ms, now_ms);
        let AuditEntry { user, address, change, object, before, after, reason, outcome, .. } = &entry;
        tracing::info!(user, address, change, object, before, after, reason, outcome, "an operator's change");
        noted.next_id += 1;
        noted.write(entry.clone(), now_ms);
        if noted.entries.len() == ENTRIES_MAX {
            noted.entries.pop_front();
        }
        noted.entries.push_back(entry);
    }

    /// The latest of them, the latest first.
    pub fn latest(&self, count: usize) -> Vec<AuditEntry> {
        self.locked().entries.iter().rev().take(count).cloned().collect()
    }

    /// Has what was noted written, and lets the writer end: what is noted from now on is kept in memory only.
    pub fn close(&self) {
        let writer = self.locked().writer.take();
        if let Some(Writer { entries, thread }) = writer {
            drop(entries);
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(latest.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        assert_eq!(latest[0].outcome, DONE);
        assert_eq!(audit.latest(usize::MAX).len(), ENTRIES_MAX);
    }

    #[test]
    fn the_same_again_is_counted() {
        let audit = Audit::new(Vec::new(), None);
        ["a", "a", "a", "b", "a"].into_iter().for_each(|object| audit.record(entry(object)));
        let times: Vec<u64> = audit.latest(9).iter().map(|entry| entry.times).collect();
        assert_eq!(times, [1, 1, 3]);
    }

    #[test]
    fn numbers_go_on_behind_those_of_former_processes() {
        let former = vec![AuditEntry { id: 41, ..entry("a") }];
        let audit = Audit::new(former, None);
        audit.record(entry("b"));
        assert_eq!(audit.latest(9).iter().map(|entry| entry.id).collect::<Vec<_>>(), [42, 41]);
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
