//! What the journal promises: what was acknowledged is there after a crash, exactly, and nothing is guessed at.
//!
//! Here are the disk that fails as it is told to, and the short ways to write and to open; the promises are in the files beside.

mod disk;
mod lives;
mod segment;
mod versions;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::Bytes;
use hotgate::journal::{
    Disk, DiskFile, Journal, JournalClient, JournalCluster, JournalKey, JournalOptions, OpenError, Opened,
    Record, RefusedRecord, SystemDisk, Ticket,
};
use hotgate::route::ClusterId;

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

fn cluster(name: &str, servers: &str) -> JournalCluster {
    JournalCluster { name: name.to_owned(), servers: servers.to_owned() }
}

/// A counter in the cluster of this position.
fn key(cluster: u16, name: &str) -> JournalKey {
    JournalKey { cluster: ClusterId(cluster), name: Bytes::copy_from_slice(name.as_bytes()) }
}

fn options(directory: &Path, clients: usize) -> JournalOptions {
    JournalOptions {
        directory: directory.to_owned(),
        gateway_id: "g1".to_owned(),
        clusters: vec![cluster("default", "redis:6379"), cluster("other", "redis:6390")],
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
    Record::Deltas { key: self::key(0, key), sum, count: 1, sequence }
}
