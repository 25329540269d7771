//! What a [`KeptList`] holds on disk: `audit.jsonl` and `events.jsonl` in `gateway.state_dir`, one JSON object a line.
//!
//! Owns a thread for each list, which writes and syncs what is recorded, off every other thread. Two files hold at most
//! [`FILE_BYTES_MAX`] each: when `audit.jsonl` is full it becomes `audit.1.jsonl`, in place of the former one. At the start both are
//! read. A line that can't be read, as the last one after a crash, is passed over.
//!
//! One process writes at a time. Another that was started in the same directory waits for the lock with what it has to write, and
//! writes when the former has ended.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::shared::kept::{ENTRIES_MAX, Entry, KeptList, Writer};

/// The size of each of the two files, some thousand entries.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Entries that may wait to be written. Beyond it further ones are kept in memory only.
const WAITING_MAX: usize = 256;

/// Between two attempts to write what could not be written.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads what former processes kept in the directory, and starts the thread that writes there. Without a directory the list is
/// in memory only.
///
/// # Errors
/// The directory can't be made, or what is in it can't be read.
pub fn start<E: Entry>(directory: Option<&Path>) -> io::Result<KeptList<E>> {
    let Some(directory) = directory else { return Ok(KeptList::new(Vec::new(), None)) };
    fs::create_dir_all(directory)?;
    let files = Files::of(directory, E::FILE);
    let former = files.read()?;
    let (sender, entries) = sync_channel(WAITING_MAX);
    let thread =
        thread::Builder::new().name(E::FILE.to_owned()).spawn(move || write_all::<E>(files, &entries))?;
    Ok(KeptList::new(former, Some(Writer { entries: sender, thread })))
}

struct Files {
    current: PathBuf,
    former: PathBuf,
    lock: PathBuf,
}

impl Files {
    fn of(directory: &Path, name: &str) -> Self {
        let named = |end| directory.join(format!("{name}.{end}"));
        Self { current: named("jsonl"), former: named("1.jsonl"), lock: named("lock") }
    }

    /// What is in both, the oldest first.
    fn read<E: Entry>(&self) -> io::Result<Vec<E>> {
        let mut entries: Vec<E> = Vec::new();
        for file in [&self.former, &self.current] {
            let mut text = Vec::new();
            match File::open(file) {
                // A rotation may be due, so the current one may be longer by one entry.
                Ok(file) => file.take(2 * FILE_BYTES_MAX).read_to_end(&mut text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in text.split(|byte| *byte == b'\n') {
                let Ok(entry) = serde_json::from_slice::<E>(line) else { continue };
                // One that counts is written again. Another process may have given the same number to another entry.
                match entries.last_mut().filter(|last| entry.is_counted_in(last)) {
                    Some(last) => *last = entry,
                    None => entries.push(entry),
                }
            }
        }
        Ok(entries)
    }

    /// The files, if no other process writes to them.
    fn open(&self) -> io::Result<Option<Open>> {
        let owned = |options: &mut OpenOptions, path| options.create(true).mode(0o600).open(path);
        let lock = owned(OpenOptions::new().write(true).truncate(false), &self.lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let mut file = owned(OpenOptions::new().read(true).append(true), &self.current)?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            // A crash may have torn the last line, which must not swallow the next.
            file.write_all(b"\n")?;
            bytes += 1;
        }
        Ok(Some(Open { _lock: lock, file, bytes }))
    }
}

/// The file that is written to, and the lock that says so.
struct Open {
    _lock: File,
    file: File,
    bytes: u64,
}

/// Writes what comes until nothing more can come.
fn write_all<E: Entry>(files: Files, entries: &Receiver<E>) {
    let (mut waiting, mut open, mut complained) = (VecDeque::new(), None, false);
    loop {
        let ended = match entries.recv_timeout(RETRY_PAUSE) {
            Ok(entry) => {
                waiting.push_back(entry);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if let Err(error) = write_waiting(&files, &mut open, &mut waiting) {
            open = None;
            if !complained {
                let file = files.current.display();
                tracing::error!(%file, "{} can't be written, and wait in memory: {error}", E::WHAT);
            }
            complained = true;
        } else if waiting.is_empty() && complained {
            tracing::info!("{} are written again", E::WHAT);
            complained = false;
        }
        while waiting.len() > ENTRIES_MAX {
            waiting.pop_front();
        }
        if ended {
            if !waiting.is_empty() {
                let waiting = waiting.len();
                tracing::error!(waiting, "the process ends before {} could be written", E::WHAT);
            }
            return;
        }
    }
}

fn write_waiting<E: Entry>(
    files: &Files,
    open: &mut Option<Open>,
    waiting: &mut VecDeque<E>,
) -> io::Result<()> {
    while let Some(entry) = waiting.front() {
        if open.is_none() {
            *open = files.open()?;
        }
        let Some(current) = open else { return Ok(()) };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if current.bytes + line.len() as u64 > FILE_BYTES_MAX {
            fs::rename(&files.current, &files.former)?;
            let options = OpenOptions::new().create(true).append(true).mode(0o600).open(&files.current);
            (current.file, current.bytes) = (options?, 0);
        }
        current.file.write_all(&line)?;
        current.file.sync_data()?;
        current.bytes += line.len() as u64;
        waiting.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::audit::{Audit, AuditEntry, Author};
    use crate::shared::kept::Stamp;

    fn record(audit: &Audit, object: &str) {
        audit.record(AuditEntry::new(&Author::default(), "quota pause", object).because("r".repeat(900)));
    }

    fn objects(audit: &Audit) -> Vec<String> {
        audit.latest(usize::MAX).into_iter().rev().map(|entry| entry.object).collect()
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart_even_behind_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let first = start::<AuditEntry>(Some(directory.path())).unwrap();
        record(&first, "a");
        first.close();
        let file = directory.path().join("audit.jsonl");
        let mut torn = fs::read(&file).unwrap();
        torn.extend_from_slice(b"{\"id\":2,\"obj");
        fs::write(&file, torn).unwrap();
        let second = start::<AuditEntry>(Some(directory.path())).unwrap();
        record(&second, "b");
        second.close();
        let third = start::<AuditEntry>(Some(directory.path())).unwrap();
        assert_eq!(objects(&third), ["a", "b"]);
        assert_eq!(third.latest(1)[0].stamp.id, 2);
        third.close();
    }

    #[test]
    fn the_files_are_bounded_and_hold_the_latest() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::of(directory.path(), "audit");
        let total = 3 * FILE_BYTES_MAX / 1000;
        let entry = |id: u64| {
            let entry = AuditEntry::new(&Author::default(), "quota pause", "k").because("r".repeat(900));
            AuditEntry { stamp: Stamp { id, ..entry.stamp }, ..entry }
        };
        let (mut open, mut waiting) = (None, (1..=total).map(entry).collect::<VecDeque<_>>());
        write_waiting(&files, &mut open, &mut waiting).unwrap();
        for name in ["audit.jsonl", "audit.1.jsonl"] {
            assert!(fs::metadata(directory.path().join(name)).unwrap().len() <= FILE_BYTES_MAX, "{name}");
        }
        let ids: Vec<u64> = files.read().unwrap().iter().map(|entry: &AuditEntry| entry.stamp.id).collect();
        assert!(ids.len() > 900 && ids.is_sorted(), "{}", ids.len());
        assert_eq!(ids.last(), Some(&total));
    }

    #[test]
    fn a_second_process_writes_once_the_first_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let first = start::<AuditEntry>(Some(directory.path())).unwrap();
        record(&first, "a");
        let files = Files::of(directory.path(), "audit");
        while files.read::<AuditEntry>().unwrap().is_empty() {
            thread::yield_now();
        }
        let second = start::<AuditEntry>(Some(directory.path())).unwrap();
        record(&second, "b");
        record(&first, "c");
        first.close();
        second.close();
        let third = start::<AuditEntry>(Some(directory.path())).unwrap();
        assert_eq!(objects(&third), ["a", "c", "b"]);
        third.close();
    }
}
