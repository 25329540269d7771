//! A segment that was cut off or damaged: what was acknowledged comes back, and damage is told from a tear.

use std::{collections::BTreeMap, fs};

use hotgate::journal::{
    FlushEnd, Gathered, Journal, JournalKey, JournalOptions, OpenError, OpenFlush, OpenKey, Opened, Record,
    Tear,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tempfile::TempDir;

use super::{deltas, key, open, options, segment, write};

type State = BTreeMap<JournalKey, OpenKey>;

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
        let (cluster, name) = [(0, "a"), (1, "a"), (0, "sku:8421")][self.rng.random_range(0..3)];
        let key = key(cluster, name);
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
