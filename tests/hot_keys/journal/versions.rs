//! Whose increments a journal holds: clusters by name, their servers, and journals of versions that knew one cluster.

use std::fs;

use hotgate::journal::{
    Gathered, Journal, JournalCluster, JournalOptions, OpenError, OpenFlush, Opened, Recovery,
};
use tempfile::TempDir;

use super::{cluster, deltas, key, open, options, write};

/// A segment as version 2 wrote it, before the server 127.0.0.1:17391: `INCRBY wb:a 5`, `INCR wb:b` and its flush, `INCRBY wb:b 7`,
/// `DECR wb:b` and the start of a flush; then the process was killed.
const VERSION_2: &str = "\
686f74676a726e6c020000002800000038326565613134326330383762653130646632303939303731306564393065333334\
3565316335370f0000003132372e302e302e313a3137333931b574743a00000000000000000000000000000000e267499a1d\
e5a3f72100000000000000000000008b1c3436010400000077623a6105000000000000000100000000000000010000000000\
00001de5a3f7210000000100000000000000cb1c49c9010400000077623a6201000000000000000100000000000000010000\
00000000001de5a3f72900000002000000000000005391cc22020400000077623a623ed50b00000000000100000000000000\
0100000000000000d12a6327a20100001de5a3f7110000000300000000000000e06f6c20030400000077623a623ed50b0000\
0000001de5a3f7210000000400000000000000c7caa6b7010400000077623a62070000000000000001000000000000000200\
0000000000001de5a3f7210000000500000000000000cf849645010400000077623a62ffffffffffffffff01000000000000\
0003000000000000001de5a3f7290000000600000000000000e18b8d95020400000077623a62a6020c000000000006000000\
000000000300000000000000dd2a6327a2010000";

fn version_2() -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    VERSION_2.as_bytes().chunks(2).map(digits).collect()
}

/// The same as version 1 wrote it: its header did not name the servers.
fn version_1() -> Vec<u8> {
    let bytes = version_2();
    let upstream_at = 16 + 40;
    let length = 4 + "127.0.0.1:17391".len();
    assert_eq!(&bytes[upstream_at + 4..upstream_at + length], b"127.0.0.1:17391");
    let header_end = upstream_at + length + 20;
    let mut first = [&bytes[..upstream_at], &bytes[upstream_at + length..header_end]].concat();
    first[8] = 1;
    first.extend(crc32fast::hash(&first).to_le_bytes());
    first.extend(&bytes[header_end + 4..]);
    first
}

/// Opens a directory whose one segment has these bytes, by a process with these clusters.
fn open_before(bytes: &[u8], clusters: &[JournalCluster]) -> (TempDir, Result<Recovery, OpenError>) {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("00000000000000000007.segment"), bytes).unwrap();
    let options = JournalOptions { clusters: clusters.to_vec(), ..options(directory.path(), 1) };
    let recovery = Journal::open(options).map(|opened| opened.recovery);
    (directory, recovery)
}

#[test]
fn a_journal_of_a_version_with_one_cluster_is_taken_over() {
    // The cluster called default, wherever it stands now.
    let clusters = [cluster("first", "redis:6379"), cluster("default", "127.0.0.1:17391")];
    for bytes in [version_1(), version_2()] {
        let (directory, recovery) = open_before(&bytes, &clusters);
        let Recovery { gateway_id, token_floor, mut keys, torn } = recovery.unwrap();
        assert_eq!(gateway_id, "82eea142c087be10df20990710ed90e3345e1c57");
        assert_eq!((token_floor, torn), (787_110, None));
        keys.sort_by(|one, other| one.0.cmp(&other.0));
        let [(a, open_a), (b, open_b)] = &keys[..] else { panic!("{keys:?}") };
        assert_eq!((a, b), (&key(1, "wb:a"), &key(1, "wb:b")));
        assert_eq!((open_a.unflushed, open_a.flush), (Gathered { sum: 5, count: 1 }, None));
        let deltas = Gathered { sum: 6, count: 2 };
        let flush = OpenFlush { token: 787_110, deltas, through: 3, first_sent_unix_ms: 1_795_957_140_189 };
        assert_eq!((open_b.unflushed, open_b.flush), (Gathered::default(), Some(flush)));
        // What is written from then on is of this version.
        let again = JournalOptions { clusters: clusters.to_vec(), ..options(directory.path(), 1) };
        assert_eq!(Journal::open(again).unwrap().recovery.keys, keys);
    }
    let (_directory, refused) = open_before(&version_2(), &[cluster("default", "redis:6379")]);
    assert!(matches!(refused, Err(OpenError::OtherUpstream { .. })), "{refused:?}");
}

/// Clusters are known by their names, in whatever order a process has them.
#[test]
fn one_name_in_two_clusters_is_two_counters() {
    let directory = TempDir::new().unwrap();
    let Opened { journal, mut clients, .. } = open(directory.path()).unwrap();
    write(&mut clients[0], deltas("a", 5, 1)).unwrap();
    let other = hotgate::journal::Record::Deltas { key: key(1, "a"), sum: 7, count: 1, sequence: 1 };
    write(&mut clients[0], other).unwrap();
    drop(journal);
    let clusters =
        vec![cluster("other", "redis:6390"), cluster("new", "x:1"), cluster("default", "redis:6379")];
    let reordered = || JournalOptions { clusters: clusters.clone(), ..options(directory.path(), 1) };
    for _ in 0..2 {
        let recovery = Journal::open(reordered()).unwrap().recovery;
        let sums: Vec<_> =
            recovery.keys.iter().map(|(key, open)| (key.clone(), open.unflushed.sum)).collect();
        assert_eq!(sums, [(key(0, "a"), 7), (key(2, "a"), 5)]);
    }
    let without =
        JournalOptions { clusters: clusters[1..].to_vec(), adopt: true, ..options(directory.path(), 1) };
    match Journal::open(without) {
        Err(OpenError::NoCluster { name, .. }) => assert_eq!(name, "other"),
        other => panic!("{:?}", other.map(|opened| opened.recovery)),
    }
}

#[test]
fn what_was_acknowledged_for_other_servers_is_refused_unless_it_is_adopted() {
    let recorded = version_2();
    for (upstream, adopt, opens) in [
        ("127.0.0.1:17391", false, true),
        ("redis:6380,127.0.0.1:17391", false, true),
        ("redis:6380", false, false),
        ("redis:6380", true, true),
    ] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("00000000000000000007.segment"), &recorded).unwrap();
        let options = || JournalOptions {
            clusters: vec![cluster("default", upstream)],
            adopt,
            ..options(directory.path(), 1)
        };
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
                assert!(text.contains("127.0.0.1:17391") && text.contains("journal_adopt = true"), "{text}");
            }
        }
    }
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()).unwrap());
    let others =
        JournalOptions { clusters: vec![cluster("default", "redis:6380")], ..options(directory.path(), 1) };
    assert!(Journal::open(others).is_ok(), "nothing is pending");
}
