//! A list of what happened, bounded in number and bytes, that survives a restart where a directory is configured.
//!
//! Whoever has something to tell records it. What is recorded again and again within a minute is one entry that counts. At the bound the
//! oldest entry gives way; of entries that come in crowds ([`Entry::comes_in_crowds`]) at most half of the list is kept while others
//! need the room.
//!
//! Owns no file: what is recorded goes to the thread that writes ([`crate::control::kept_file`]) over a bounded channel. At its bound an
//! entry is kept in memory only, and the log says so. Deliberately knows no kind of entry: [`super::audit`] and [`super::events`] do.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Entries that are kept. With eight texts as long as they may be, 8 MiB.
pub const ENTRIES_MAX: usize = 1000;

/// The longest text of an entry, in bytes. A longer one is cut.
pub const TEXT_BYTES_MAX: usize = 1024;

/// An entry like the last one is counted there for as long, in milliseconds.
const GROUPED_MS: u64 = 60_000;

/// Between two writings of an entry that counts, in milliseconds.
const REWRITTEN_MS: u64 = 1000;

/// What every entry has. The list fills it in, but for how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stamp {
    /// Its number; later ones are higher.
    pub id: u64,
    /// When it happened first, in milliseconds of the Unix clock.
    pub at_ms: u64,
    /// When it happened last.
    pub last_ms: u64,
    /// How often; of slots and of connections, how many.
    pub times: u64,
}

impl Stamp {
    /// Of what happened so often just now.
    pub fn times(times: u64) -> Self {
        Self { times, ..Self::default() }
    }
}

/// What a list keeps.
pub trait Entry: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// Names its files and its thread.
    const FILE: &'static str;
    /// What they are, in messages.
    const WHAT: &'static str;

    /// Its number, times and count.
    fn stamp(&self) -> &Stamp;
    /// The same, for the list to fill in.
    fn stamp_mut(&mut self) -> &mut Stamp;
    /// Its texts, to be cut.
    fn texts(&mut self) -> Vec<&mut String>;
    /// Whether it is the same again.
    fn repeats(&self, former: &Self) -> bool;
    /// Whether so many of its kind may come that they must not drive out the others.
    fn comes_in_crowds(&self) -> bool {
        false
    }
    /// Writes its line of the log, if nobody else does.
    fn log(&self) {}

    /// Whether it is what has become of that entry since.
    fn is_counted_in(&self, former: &Self) -> bool {
        (self.stamp().id, self.stamp().at_ms) == (former.stamp().id, former.stamp().at_ms)
            && self.repeats(former)
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

struct Noted<E> {
    entries: VecDeque<E>,
    next_id: u64,
    /// When the last of them was handed to the writer.
    written_ms: u64,
    /// Where they go to be written, until the process ends.
    writer: Option<Writer<E>>,
}

/// The thread that writes.
pub struct Writer<E> {
    /// Where it takes entries; it ends when nothing more can come.
    pub entries: SyncSender<E>,
    /// The thread itself.
    pub thread: JoinHandle<()>,
}

impl<E: Entry> Noted<E> {
    fn write(&mut self, entry: E, now_ms: u64) {
        self.written_ms = now_ms;
        let refused = self.writer.as_ref().is_some_and(|writer| writer.entries.try_send(entry).is_err());
        if refused {
            tracing::error!("{} in memory only: others wait to be written to gateway.state_dir", E::WHAT);
        }
    }

    /// Makes room for one.
    fn make_room(&mut self) {
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let is_crowded =
            self.entries.iter().filter(|entry| entry.comes_in_crowds()).count() > ENTRIES_MAX / 2;
        let place = self.entries.iter().position(|entry| !is_crowded || entry.comes_in_crowds());
        self.entries.remove(place.unwrap_or(0));
    }
}

/// The list. Only cold threads take its lock, for as long as it takes to add or copy entries.
pub struct KeptList<E> {
    noted: Mutex<Noted<E>>,
}

impl<E: Entry> KeptList<E> {
    /// A list that goes on behind these entries of former processes, the oldest first.
    pub fn new(former: Vec<E>, writer: Option<Writer<E>>) -> Self {
        let next_id =
            former.iter().map(|entry| entry.stamp().id).max().map_or(1, |last| last.saturating_add(1));
        let mut entries = VecDeque::from(former);
        entries.drain(..entries.len().saturating_sub(ENTRIES_MAX));
        Self { noted: Mutex::new(Noted { entries, next_id, written_ms: 0, writer }) }
    }

    fn locked(&self) -> MutexGuard<'_, Noted<E>> {
        // A panic while it was held leaves a list that is still a list.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an entry, which gets its number and time.
    pub fn record(&self, mut entry: E) {
        entry.texts().into_iter().for_each(cut);
        let mut noted = self.locked();
        let now_ms = now_ms();
        if let Some(last) = noted.entries.back_mut().filter(|last| entry.repeats(last))
            && now_ms.saturating_sub(last.stamp().last_ms) <= GROUPED_MS
        {
            let stamp = last.stamp_mut();
            (stamp.times, stamp.last_ms) = (stamp.times.saturating_add(entry.stamp().times), now_ms);
            let last = last.clone();
            if now_ms.saturating_sub(noted.written_ms) >= REWRITTEN_MS {
                noted.write(last, now_ms);
            }
            return;
        }
        let stamp = entry.stamp_mut();
        (stamp.id, stamp.at_ms, stamp.last_ms) = (noted.next_id, now_ms, now_ms);
        entry.log();
        noted.next_id += 1;
        noted.write(entry.clone(), now_ms);
        noted.make_room();
        noted.entries.push_back(entry);
    }

    /// The latest of them, the latest first.
    pub fn latest(&self, count: usize) -> Vec<E> {
        self.locked().entries.iter().rev().take(count).cloned().collect()
    }

    /// Those with a higher number than `id`, the oldest first.
    pub fn after(&self, id: u64) -> Vec<E> {
        self.locked().entries.iter().filter(|entry| entry.stamp().id > id).cloned().collect()
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
