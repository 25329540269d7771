//! What the journal promises: what was acknowledged is there after a crash, exactly, and nothing is guessed at.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by failing there")]

use std::time::{Duration, Instant};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use hotgate::{
    combine::{
        Action, FlushInDoubt, FlushOutcome, PendingBudget, Recovered, Taken, WriteBehindIdentity,
        WriteBehindKey, WriteBehindOp, WriteBehindPolicy,
    },
    journal::{
        Disk, DiskFile, FlushEnd, Gathered, Journal, JournalClient, JournalOptions, OpenError, OpenFlush,
        OpenKey, Opened, Record, RefusedRecord, SystemDisk, Tear, Ticket,
    },
    resp::{Request, RequestLimits, RequestScan, RequestScanner, encode, parse_integer},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tempfile::TempDir;

type State = BTreeMap<Bytes, OpenKey>;

/// Fails as it is told to, and never syncs: a test cuts files off, not the power.
#[derive(Clone, Default)]
struct TestDisk {
    fault: Arc<AtomicU8>,
}

const WELL: u8 = 0;
const NO_SPACE: u8 = 1;
const NO_SYNC: u8 = 2;

struct TestFile {
    disk: TestDisk,
    file: Box<dyn DiskFile>,
}

impl TestDisk {
    fn check(&self, fault: u8, kind: io::ErrorKind) -> io::Result<()> {
        if self.fault.load(Ordering::SeqCst) == fault { Err(kind.into()) } else { Ok(()) }
    }
}

impl Disk for TestDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.create(path)?;
        Ok(Box::new(TestFile { disk: self.clone(), file }))
    }

    fn publish(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
}

impl DiskFile for TestFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.disk.check(NO_SPACE, io::ErrorKind::StorageFull);
        self.file.append(if full.is_err() { &bytes[..bytes.len() / 2] } else { bytes })?;
        full
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.check(NO_SYNC, io::ErrorKind::Other)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn has_name(&self, path: &Path) -> bool {
        self.file.has_name(path)
    }
}

fn options(directory: &Path, clients: usize) -> JournalOptions {
    JournalOptions {
        directory: directory.to_owned(),
        gateway_id: "g1".to_owned(),
        upstream: "redis:6379".to_owned(),
        adopt: false,
        bytes_max: 1 << 20,
        clients,
    }
}

fn open_on(directory: &Path, disk: &TestDisk) -> Result<Opened, OpenError> {
    Journal::open_on(options(directory, 1), Box::new(disk.clone()))
}

fn open(directory: &Path) -> Result<Opened, OpenError> {
    open_on(directory, &TestDisk::default())
}

/// The one segment of a journal.
fn segment(directory: &Path) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    assert_eq!(segments.len(), 1, "{segments:?}");
    segments.remove(0)
}

fn wait(client: &mut JournalClient, ticket: Ticket) -> Result<(), RefusedRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut news = client.news();
        loop {
            let progress = client.progress();
            if progress.durable_through >= ticket {
                return Ok(());
            }
            if let Some(error) = progress.refused {
                return Err(error);
            }
            news.changed().await;
        }
    })
}

fn write(client: &mut JournalClient, record: Record) -> Result<(), RefusedRecord> {
    let ticket = client.append(record)?;
    wait(client, ticket)
}

fn deltas(key: &str, sum: i64, sequence: u64) -> Record {
    Record::Deltas { key: Bytes::copy_from_slice(key.as_bytes()), sum, count: 1, sequence }
}

/// A history that a gateway could have: some keys, each with deltas and flushes.
struct History {
    rng: SmallRng,
    state: State,
    token: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), state: State::new(), token: 0 }
    }

    /// The next record, and whether it is the end of a flush. The state is the test's own account of it.
    fn next(&mut self) -> (Record, bool) {
        let key = Bytes::from(["a", "{b}", "sku:8421"][self.rng.random_range(0..3)]);
        let mut open = self.state.get(&key).copied().unwrap_or_default();
        let (record, end) = match open.flush {
            Some(flush) if self.rng.random_ratio(1, 2) => {
                let ends = [FlushEnd::Acknowledged, FlushEnd::GivenUp, FlushEnd::Returned];
                let end = ends[self.rng.random_range(0..3)];
                open.flush = None;
                if end == FlushEnd::Returned {
                    open.unflushed.sum += flush.deltas.sum;
                    open.unflushed.count += flush.deltas.count;
                }
                (Record::FlushSettled { key: key.clone(), token: flush.token, end }, true)
            }
            None if open.unflushed.count > 0 && self.rng.random_ratio(1, 2) => {
                self.token += 1;
                let deltas = std::mem::take(&mut open.unflushed);
                let (token, through, first_sent_unix_ms) = (self.token, open.sequence, 77);
                open.flush = Some(OpenFlush { token, deltas, through, first_sent_unix_ms });
                let sum = deltas.sum;
                (Record::FlushStarted { key: key.clone(), token, sum, through, first_sent_unix_ms }, false)
            }
            _ => {
                let sum = self.rng.random_range(-1_000..1_000);
                open.sequence += 1;
                open.unflushed = Gathered { sum: open.unflushed.sum + sum, count: open.unflushed.count + 1 };
                (Record::Deltas { key: key.clone(), sum, count: 1, sequence: open.sequence }, false)
            }
        };
        if open.flush.is_none() && open.unflushed.count == 0 {
            self.state.remove(&key);
        } else {
            self.state.insert(key, open);
        }
        (record, end)
    }
}

/// A segment, and what it has to give for each of its lengths.
struct Recorded {
    bytes: Vec<u8>,
    /// Every state that the history went through.
    states: Vec<State>,
    /// After every commit: the length of the file, and the index of the state. The first is the checkpoint.
    commits: Vec<(usize, usize)>,
}

impl Recorded {
    /// Two lives, so that the segment begins with a checkpoint that says something.
    fn new(seed: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let mut history = History::new(seed);
        let mut recorded = Self { bytes: Vec::new(), states: Vec::new(), commits: Vec::new() };
        for commits in [15, 20] {
            let Opened { mut clients, recovery, journal } = open(directory.path()).unwrap();
            assert_eq!(State::from_iter(recovery.keys), history.state);
            let path = segment(directory.path());
            recorded.states = vec![history.state.clone()];
            recorded.commits = vec![(fs::read(&path).unwrap().len(), 0)];
            while recorded.commits.len() <= commits {
                let (record, settled) = history.next();
                recorded.states.push(history.state.clone());
                if settled {
                    clients[0].settle(record);
                    continue;
                }
                write(&mut clients[0], record).unwrap();
                recorded.commits.push((fs::read(&path).unwrap().len(), recorded.states.len() - 1));
            }
            drop(journal);
            recorded.bytes = fs::read(&path).unwrap();
        }
        recorded
    }

    /// The states that a file of this length may give. Ends of flushes behind the last commit may be there or not.
    fn states_at(&self, length: usize) -> Option<&[State]> {
        let at = self.commits.iter().rposition(|(end, _)| *end <= length)?;
        let next = self.commits.get(at + 1).map_or(self.states.len(), |(_, index)| *index);
        Some(&self.states[self.commits[at].1..next])
    }
}

/// Opens a directory whose one segment has these bytes.
fn open_bytes(bytes: &[u8]) -> (TempDir, Result<Opened, OpenError>) {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("00000000000000000007.segment"), bytes).unwrap();
    let opened = open(directory.path());
    (directory, opened)
}

#[test]
fn a_file_cut_off_anywhere_gives_what_was_acknowledged() {
    let recorded = Recorded::new(0);
    for length in 0..=recorded.bytes.len() {
        let (_directory, opened) = open_bytes(&recorded.bytes[..length]);
        match (recorded.states_at(length), opened) {
            (None, Err(OpenError::Damaged { .. })) => {}
            (Some(states), Ok(Opened { recovery, .. })) => {
                let found = State::from_iter(recovery.keys);
                assert!(states.contains(&found), "length {length}: {found:?}");
                if let Some(torn) = recovery.torn {
                    assert_eq!(torn.offset + torn.bytes, length as u64);
                    assert_eq!(torn.tear, Tear::CutShort, "length {length}");
                }
            }
            (_, Err(error)) => panic!("length {length}: {error}"),
            (None, Ok(_)) => panic!("length {length}: the checkpoint is not whole"),
        }
    }
}

#[test]
fn a_damaged_byte_is_refused_wherever_it_is() {
    let recorded = Recorded::new(7);
    for place in 0..recorded.bytes.len() {
        let mut bytes = recorded.bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        match open_bytes(&bytes).1 {
            Err(OpenError::Damaged { offset, .. }) => assert!(offset as usize <= place),
            // The last frame may end with the first bytes of a sector, and they may be zeros by chance.
            Ok(Opened { recovery, .. }) => {
                let torn = recovery.torn.unwrap();
                assert_eq!(torn.tear, Tear::Unwritten, "byte {place}");
                assert!(torn.offset / 512 < (bytes.len() as u64 - 1) / 512, "byte {place}");
            }
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
}

#[test]
fn a_last_record_that_was_acknowledged_is_not_cut_off() {
    let directory = TempDir::new().unwrap();
    let Opened { journal, mut clients, .. } = open(directory.path()).unwrap();
    let path = segment(directory.path());
    write(&mut clients[0], deltas("k", 1, 1)).unwrap();
    let last = fs::read(&path).unwrap().len();
    write(&mut clients[0], deltas("k", 1, 2)).unwrap();
    drop(journal);
    let whole = fs::read(path).unwrap();
    assert!(whole.len() < 512, "no frame spans sectors");
    for place in last..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            match open_bytes(&bytes).1 {
                Err(OpenError::Damaged { offset, what, .. }) => {
                    assert_eq!(offset as usize, last, "byte {place}");
                    assert!(what.contains("may have been acknowledged"), "{what}");
                }
                Err(error) => panic!("byte {place}: {error}"),
                Ok(Opened { recovery, .. }) => panic!("byte {place}, bit {bit}: {:?}", recovery.torn),
            }
        }
    }
}

/// Where a power failure kept a frame from the disk there are zeros, by whole sectors.
#[test]
fn zeros_of_a_power_failure_are_cut_off_and_told_from_damage() {
    let directory = TempDir::new().unwrap();
    let Opened { journal, mut clients, .. } = open(directory.path()).unwrap();
    write(&mut clients[0], deltas("k", 1, 1)).unwrap();
    let path = segment(directory.path());
    let start = fs::read(&path).unwrap().len();
    write(&mut clients[0], deltas(&"long".repeat(1000), 1, 1)).unwrap();
    drop(journal);
    let whole = fs::read(path).unwrap();
    let zeros = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        open_bytes(&bytes).1
    };
    for (from, to) in [(start, whole.len()), (start, 512), (start, 4096), (1024, 1536), (4096, whole.len())] {
        let recovery = zeros(from, to).unwrap_or_else(|error| panic!("{from}..{to}: {error}")).recovery;
        let bytes = (whole.len() - start) as u64;
        let torn = recovery.torn.unwrap();
        assert_eq!(
            (torn.offset, torn.bytes, torn.tear),
            (start as u64, bytes, Tear::Unwritten),
            "{from}..{to}"
        );
        assert_eq!(recovery.keys.len(), 1, "{from}..{to}");
    }
    for (from, to) in [(1025, 1536), (1024, 1535), (start + 1, 512)] {
        assert!(matches!(zeros(from, to), Err(OpenError::Damaged { .. })), "{from}..{to}");
    }
    // Whole, with a length that nothing was written for.
    let tail = [&whole[..], &[0; 1000]].concat();
    let recovery = open_bytes(&tail).1.unwrap().recovery;
    assert_eq!(recovery.torn.map(|torn| (torn.bytes, torn.tear)), Some((1000, Tear::Unwritten)));
    assert_eq!(recovery.keys.len(), 2);
}

#[test]
fn the_message_about_damage_says_where_and_what_to_do() {
    let mut bytes = Recorded::new(3).bytes;
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    let (directory, opened) = open_bytes(&bytes);
    let text = opened.err().unwrap().to_string();
    let file = directory.path().join("00000000000000000007.segment");
    assert!(text.contains(file.to_str().unwrap()) && text.contains("at byte"), "{text}");
    assert!(text.contains("restore the file from a copy"), "{text}");
    assert_eq!(fs::read(file).unwrap(), bytes, "the file stays as it is");
}

#[test]
fn replay_is_idempotent_and_keeps_the_identity() {
    let recorded = Recorded::new(5);
    let (directory, first) = open_bytes(&recorded.bytes);
    let first = first.unwrap().recovery;
    let second =
        Journal::open(JournalOptions { gateway_id: "g2".to_owned(), ..options(directory.path(), 1) });
    let second = second.unwrap().recovery;
    assert_eq!(first, second);
    assert_eq!(second.gateway_id, "g1", "Redis knows the flushes by it");
    assert!(second.token_floor > 0);
}

/// A journal of the first version says nothing of the upstream.
#[test]
fn a_journal_of_the_first_version_is_taken_over() {
    let recorded = Recorded::new(5).bytes;
    let upstream_at = 16 + "g1".len();
    let length = 4 + "redis:6379".len();
    assert_eq!(&recorded[upstream_at + 4..upstream_at + length], b"redis:6379");
    let header_end = upstream_at + length + 20;
    let mut first = [&recorded[..upstream_at], &recorded[upstream_at + length..header_end]].concat();
    first[8] = 1;
    first.extend(crc32fast::hash(&first).to_le_bytes());
    first.extend(&recorded[header_end + 4..]);
    let (_directory, opened) = open_bytes(&first);
    assert_eq!(opened.unwrap().recovery, open_bytes(&recorded).1.unwrap().recovery);
}

#[test]
fn what_was_acknowledged_for_other_servers_is_refused_unless_it_is_adopted() {
    let recorded = Recorded::new(5).bytes;
    for (upstream, adopt, opens) in [
        ("redis:6379", false, true),
        ("redis:6380,redis:6379", false, true),
        ("redis:6380", false, false),
        ("redis:6380", true, true),
    ] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("00000000000000000007.segment"), &recorded).unwrap();
        let options =
            || JournalOptions { upstream: upstream.to_owned(), adopt, ..options(directory.path(), 1) };
        match Journal::open(options()) {
            Ok(opened) => {
                assert!(opens && !opened.recovery.keys.is_empty(), "{upstream}");
                drop(opened);
                // From then on it is theirs.
                assert!(Journal::open(JournalOptions { adopt: false, ..options() }).is_ok(), "{upstream}");
            }
            Err(error) => {
                assert!(!opens && matches!(error, OpenError::OtherUpstream { .. }), "{upstream}: {error}");
                let text = error.to_string();
                assert!(text.contains("redis:6379") && text.contains("journal_adopt = true"), "{text}");
            }
        }
    }
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()).unwrap());
    let others = JournalOptions { upstream: "redis:6380".to_owned(), ..options(directory.path(), 1) };
    assert!(Journal::open(others).is_ok(), "nothing is pending");
}

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
        let deadline = Instant::now() + Duration::from_secs(60);
        while write(client, deltas("k", 4, 2)).is_err() {
            assert!(Instant::now() < deadline, "{what}: it is not written again");
            std::thread::park_timeout(Duration::from_millis(5));
        }
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
        let deadline = Instant::now() + Duration::from_secs(60);
        while write(client, deltas("k", 4, 2)).is_err() {
            assert!(Instant::now() < deadline, "{what}: it is not written again");
            std::thread::park_timeout(Duration::from_millis(5));
        }
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
        let key = Bytes::from(name(number));
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

/// One counter and its companion.
#[derive(Default)]
struct Redis {
    value: i64,
    remembered: Option<(Vec<u8>, i64, Vec<u8>)>,
}

impl Redis {
    fn flush(&mut self, wire: &[u8]) -> Vec<u8> {
        let limits = RequestLimits {
            bulk_bytes_max: 1 << 20,
            arguments_max: 100,
            inline_bytes_max: 100,
            authenticated: true,
        };
        let mut scanner = RequestScanner::new(limits);
        assert_eq!(scanner.scan(wire), RequestScan::Complete { len: wire.len() });
        let request = Request::new(wire, scanner.spans());
        let args: Vec<_> = request.args().collect();
        let (companion, token) = (args[4].to_vec(), parse_integer(args[5]).unwrap());
        let mut reply = Vec::new();
        match &self.remembered {
            Some((name, last, reply)) if *name == companion && *last == token => return reply.clone(),
            Some((name, last, _)) if *name == companion && *last > token => {
                encode::error(&mut reply, "STALE a later flush of this key was applied");
                return reply;
            }
            _ => {}
        }
        encode::array(&mut reply, 2);
        encode::bulk(&mut reply, b"=");
        encode::bulk(&mut reply, format!("${}", self.value).as_bytes());
        self.value += parse_integer(args[9]).unwrap();
        self.remembered = Some((companion, token, reply.clone()));
        reply
    }

    fn get(&self) -> Vec<u8> {
        let mut reply = Vec::new();
        encode::bulk(&mut reply, self.value.to_string().as_bytes());
        reply
    }
}

/// One life of a gateway that is killed at a random moment.
struct Life {
    machine: WriteBehindKey<u32>,
    budget: PendingBudget,
    client: JournalClient,
    journal: Journal,
    now_ns: u64,
}

const POLICY: WriteBehindPolicy = WriteBehindPolicy {
    flush_interval_ns: 1_000_000,
    flush_deltas_max: 10,
    base_age_ns_max: 1_000_000_000,
    journal: true,
};

impl Life {
    fn new(directory: &Path) -> Self {
        let Opened { journal, mut clients, recovery } = open(directory).unwrap();
        let identity = WriteBehindIdentity {
            gateway_id: recovery.gateway_id.as_bytes(),
            token_floor: recovery.token_floor,
        };
        let mut budget = PendingBudget::new(1_000);
        let open = recovery.keys.first().map(|(_, open)| *open).unwrap_or_default();
        let in_doubt = open.flush.map(|flush| FlushInDoubt {
            token: flush.token,
            sum: flush.deltas.sum,
            count: flush.deltas.count as usize,
            age_ns: 0,
        });
        let (sum, count) = (open.unflushed.sum, open.unflushed.count as usize);
        let recovered = Recovered { in_doubt, sum, count, sequence: open.sequence };
        let machine = WriteBehindKey::recovered(Self::key(), identity, &recovered, 0, &mut budget);
        Self { machine, budget, client: clients.remove(0), journal, now_ns: 0 }
    }

    fn key() -> Bytes {
        Bytes::from_static(b"sku")
    }

    /// Increments once; true if that was acknowledged at once.
    fn increment(&mut self, delta: i64) -> bool {
        let op = WriteBehindOp::Increment(delta);
        let Taken::Answer { delta: Some(delta), .. } =
            self.machine.take(op, 0, self.now_ns, &POLICY, &mut self.budget)
        else {
            return false;
        };
        let (sum, sequence) = (delta.delta, delta.sequence);
        write(&mut self.client, Record::Deltas { key: Self::key(), sum, count: 1, sequence }).unwrap();
        self.machine.durable(sequence);
        true
    }

    /// One thing that is due, over a network that may fail; deltas that were answered by it are written as well.
    fn pump(&mut self, redis: &mut Redis, fate: u32, acknowledged: &mut i64) -> bool {
        let mut answered = Vec::new();
        match self.machine.next(self.now_ns, &POLICY, true, &mut self.budget) {
            Action::AskBase => {
                let reply = redis.get();
                self.machine.base(&reply, self.now_ns, &POLICY, &mut self.budget, |_, taken| {
                    answered.push(taken);
                });
            }
            Action::Flush(flush) => {
                if !flush.resend {
                    let started = Record::FlushStarted {
                        key: Self::key(),
                        token: flush.token,
                        sum: flush.sum,
                        through: flush.through,
                        first_sent_unix_ms: 0,
                    };
                    write(&mut self.client, started).unwrap();
                }
                let mut wire = BytesMut::new();
                self.machine.encode(&mut wire);
                match fate {
                    0 => self.machine.outcome_unknown(),
                    1 => {
                        redis.flush(&wire);
                        self.machine.outcome_unknown();
                    }
                    _ => {
                        let reply = redis.flush(&wire);
                        let outcome = self.machine.settle(
                            &reply,
                            self.now_ns,
                            &POLICY,
                            &mut self.budget,
                            |_, taken| {
                                answered.push(taken);
                            },
                        );
                        let Some(FlushOutcome::Applied { token, .. }) = outcome else {
                            panic!("{outcome:?}")
                        };
                        let end = FlushEnd::Acknowledged;
                        self.client.settle(Record::FlushSettled { key: Self::key(), token, end });
                    }
                }
            }
            Action::NotBefore(at) => self.now_ns = at,
            Action::Idle => return false,
            other => panic!("{other:?}"),
        }
        for taken in answered {
            let Taken::Answer { delta: Some(delta), .. } = taken else { panic!("{taken:?}") };
            let (sum, sequence) = (delta.delta, delta.sequence);
            write(&mut self.client, Record::Deltas { key: Self::key(), sum, count: 1, sequence }).unwrap();
            self.machine.durable(sequence);
            *acknowledged += sum;
        }
        true
    }
}

/// The directory as a process that is killed now would leave it.
fn killed(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A file may be replaced by the next one while this looks; it is the next one that counts.
        let _ = fs::copy(&path, copy.path().join(path.file_name().unwrap()));
    }
    copy
}

#[test]
fn what_was_acknowledged_takes_effect_exactly_once_across_kills() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut redis = Redis::default();
        let mut directory = TempDir::new().unwrap();
        let mut acknowledged = 0;
        for _ in 0..5 {
            let mut life = Life::new(directory.path());
            for _ in 0..rng.random_range(1..60) {
                let delta = rng.random_range(-5..10);
                if rng.random_ratio(1, 2) {
                    acknowledged += if life.increment(delta) { delta } else { 0 };
                } else {
                    life.pump(&mut redis, rng.random_range(0..5), &mut acknowledged);
                }
                life.now_ns += rng.random_range(0..1_000_000);
            }
            directory = killed(directory.path());
            drop(life.journal);
        }
        let mut life = Life::new(directory.path());
        while life.pump(&mut redis, 9, &mut acknowledged) {}
        assert_eq!(redis.value, acknowledged, "seed {seed}");
        drop(life.journal);
        assert!(open(directory.path()).unwrap().recovery.keys.is_empty());
    }
}
