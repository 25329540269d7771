//! A directory has one owner, and a disk that fails, fills or loses the file takes nothing and loses nothing.

use std::fs;
use std::sync::atomic::Ordering;

use hotgate::journal::{FlushEnd, Gathered, Journal, OpenError, Opened, Record, RefusedRecord};
use tempfile::TempDir;

use super::{NO_SPACE, NO_SYNC, TestDisk, WELL, deltas, key, open, open_on, options, segment, wait, write};
use crate::support::wait_until;

#[test]
fn a_file_that_lost_its_name_takes_no_record() {
    for what in ["removed", "moved", "replaced"] {
        let directory = TempDir::new().unwrap();
        let place = directory.path().join("journal");
        let mut opened = open(&place).unwrap();
        let client = &mut opened.clients[0];
        write(client, deltas("k", 1, 1)).unwrap();
        match what {
            "removed" => fs::remove_dir_all(&place).unwrap(),
            "moved" => fs::rename(&place, directory.path().join("elsewhere")).unwrap(),
            _ => {
                let path = segment(&place);
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
            }
        }
        let refused = write(client, deltas("k", 2, 2)).unwrap_err();
        assert!(refused.to_string().contains("was removed or replaced"), "{what}: {refused}");
        fs::create_dir_all(&place).unwrap();
        wait_until("it is written again", || write(client, deltas("k", 4, 2)).is_ok());
        drop(opened);
        let recovered = open(&place).unwrap().recovery.keys;
        assert_eq!(recovered[0].1.unflushed.sum, 5, "{what}");
    }
}

#[test]
fn a_directory_belongs_to_one_process() {
    let directory = TempDir::new().unwrap();
    let first = open(directory.path()).unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::InUse { .. })));
    drop(first);
    assert!(open(directory.path()).is_ok());
}

/// Whoever removes a directory, or the lock in it, takes the lock away.
#[test]
fn a_directory_that_was_made_again_belongs_to_the_same_process() {
    for what in ["the directory", "the lock"] {
        let directory = TempDir::new().unwrap();
        let place = directory.path().join("journal");
        let mut opened = open(&place).unwrap();
        let client = &mut opened.clients[0];
        write(client, deltas("k", 1, 1)).unwrap();
        if what == "the lock" {
            fs::remove_file(place.join("lock")).unwrap();
        } else {
            fs::remove_dir_all(&place).unwrap();
            write(client, deltas("k", 2, 2)).unwrap_err();
            fs::create_dir_all(&place).unwrap();
        }
        wait_until("it is written again", || write(client, deltas("k", 4, 2)).is_ok());
        assert!(matches!(open(&place), Err(OpenError::InUse { .. })), "{what}: another process has it");
        // Of two that want it the second is told, and takes nothing more.
        fs::remove_dir_all(&place).unwrap();
        fs::create_dir_all(&place).unwrap();
        let other = open(&place).unwrap();
        let refused = write(client, deltas("k", 8, 3)).unwrap_err();
        assert!(refused.to_string().contains("another process has locked it"), "{what}: {refused}");
        drop(other);
    }
}

#[test]
fn one_sync_stands_for_many_records() {
    const RECORDS: u64 = 2_000;
    let directory = TempDir::new().unwrap();
    let Opened { journal, clients, .. } = Journal::open(options(directory.path(), 3)).unwrap();
    let writers: Vec<_> = (0_i64..)
        .zip(clients)
        .map(|(index, mut client)| {
            std::thread::spawn(move || {
                let key = format!("k{index}");
                let tickets = (1..=RECORDS).map(|sequence| {
                    client.append(deltas(&key, index, sequence)).expect("the queue has room for all")
                });
                let last = tickets.last().unwrap();
                wait(&mut client, last).unwrap();
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let facts = journal.facts();
    assert_eq!(facts.records, 3 * RECORDS);
    assert!(facts.commits < facts.records / 2, "{facts:?}");
    drop(journal);
    let keys = open(directory.path()).unwrap().recovery.keys;
    let found: Vec<_> = keys.iter().map(|(_, open)| open.unflushed).collect();
    let expect: Vec<_> =
        (0_i64..3).map(|index| Gathered { sum: index * RECORDS as i64, count: RECORDS }).collect();
    assert_eq!(found, expect);
}

#[test]
fn a_disk_that_fails_takes_nothing_and_loses_nothing() {
    for fault in [NO_SPACE, NO_SYNC] {
        let directory = TempDir::new().unwrap();
        let disk = TestDisk::default();
        let Opened { journal, mut clients, .. } = open_on(directory.path(), &disk).unwrap();
        let client = &mut clients[0];
        write(client, deltas("k", 1, 1)).unwrap();
        disk.fault.store(fault, Ordering::SeqCst);
        let error = write(client, deltas("k", 10, 2)).unwrap_err();
        match fault {
            NO_SPACE => assert!(matches!(error, RefusedRecord::NotWritten(_)), "{error}"),
            _ => assert!(matches!(error, RefusedRecord::NotSynced(_)), "{error}"),
        }
        assert!(client.append(deltas("k", 100, 2)).is_err(), "it refuses until it can write");
        assert!(journal.facts().faulty);
        disk.fault.store(WELL, Ordering::SeqCst);
        while client.append(deltas("k", 1_000, 2)).is_err() {
            client.progress();
            std::thread::yield_now();
        }
        write(client, deltas("k", 10_000, 3)).unwrap();
        drop(journal);
        let keys = open(directory.path()).unwrap().recovery.keys;
        assert_eq!(keys[0].1.unflushed, Gathered { sum: 11_001, count: 3 });
    }
}

#[test]
fn a_full_journal_still_takes_flushes_and_then_has_room() {
    let directory = TempDir::new().unwrap();
    let Opened { journal: _journal, mut clients, .. } = open(directory.path()).unwrap();
    let client = &mut clients[0];
    let name = |number: u64| format!("{number}:{}", "x".repeat(4_000));
    let mut written = 0;
    let error = loop {
        match write(client, deltas(&name(written), 1, 1)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "it is bounded");
    };
    assert_eq!(error, RefusedRecord::Full);
    for number in 0..written {
        let key = key(0, &name(number));
        let started =
            Record::FlushStarted { key: key.clone(), token: 1, sum: 1, through: 1, first_sent_unix_ms: 0 };
        write(client, started).unwrap();
        client.settle(Record::FlushSettled { key, token: 1, end: FlushEnd::Acknowledged });
    }
    while client.append(deltas("k", 1, 1)) == Err(RefusedRecord::Full) {
        std::thread::yield_now();
    }
    let files: u64 =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(files <= 1 << 20, "{files}");
}

#[test]
fn a_record_that_contradicts_is_refused_and_not_written() {
    let directory = TempDir::new().unwrap();
    let Opened { journal, mut clients, .. } = open(directory.path()).unwrap();
    write(&mut clients[0], deltas("k", 1, 5)).unwrap();
    let error = write(&mut clients[0], deltas("k", 1, 5)).unwrap_err();
    assert!(matches!(error, RefusedRecord::Contradiction(_)), "{error}");
    write(&mut clients[0], deltas("k", 1, 6)).unwrap();
    drop(journal);
    assert_eq!(open(directory.path()).unwrap().recovery.keys[0].1.unflushed, Gathered { sum: 2, count: 2 });
}
