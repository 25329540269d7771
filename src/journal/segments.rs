//! The segment files of a journal: which one counts, reading it at the start, and moving on to the next.
//!
//! Every segment begins with a checkpoint: everything that is pending at that time. So one segment is enough, the newest
//! counts, and older ones are deleted as soon as it exists. Pending deltas are sums, so a checkpoint is small however many
//! deltas were journaled. A shard that is away for an hour keeps no old file alive.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    disk::{Disk, DiskFile},
    error::OpenError,
    frame::{self, FrameWriter, Header, JournalCluster},
    frame_head::FRAME_HEAD_BYTES,
    ledger::{Contradiction, Ledger},
    tail::Tear,
};

/// Records in one frame stop at this many bytes: what is lost at most of a read-ahead when a tail is torn, and some
/// milliseconds of writing.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

/// The file that a process keeps locked.
const LOCK: &str = "lock";
const SEGMENT: &str = "segment";
const UNFINISHED: &str = "unfinished";

/// A tail that a crash left incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// The byte at which it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// How it is incomplete. That says whether anything in it may have been acknowledged.
    pub tear: Tear,
}

/// The journal as it was found at the start.
#[derive(Debug)]
pub(super) struct Found {
    pub gateway_id: Option<String>,
    pub clusters: Vec<JournalCluster>,
    pub ledger: Ledger,
    pub torn: Option<TornTail>,
    /// Files that the next segment makes superfluous.
    pub obsolete: Vec<PathBuf>,
    pub next_number: u64,
}

/// Makes the directory if need be, and takes it for this process as long as the file is open.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |error| OpenError::Io { path, error }
    };
    if !directory.is_dir() {
        fs::create_dir_all(directory).map_err(at(directory))?;
        // Else a power failure could take the directory away with all that is in it.
        let directory = directory.canonicalize().map_err(at(directory))?;
        let parent = directory.parent().unwrap_or(&directory);
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))?;
    }
    take_lock(directory)
}

/// Takes a directory that is there for this process.
pub(super) fn take_lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|error| OpenError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

/// Reads what a former process left. Changes nothing.
pub(super) fn find(directory: &Path) -> Result<Found, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |error| OpenError::Io { path, error }
    };
    let mut found = Found {
        gateway_id: None,
        clusters: Vec::new(),
        ledger: Ledger::default(),
        torn: None,
        obsolete: Vec::new(),
        next_number: 0,
    };
    let mut newest = None;
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        let Some(number) = number(&path) else { continue };
        found.next_number = found.next_number.max(number + 1);
        if path.extension().is_some_and(|extension| extension == SEGMENT) {
            newest = newest.max(Some((number, path.clone())));
        }
        found.obsolete.push(path);
    }
    if let Some((_, path)) = newest {
        read(&fs::read(&path).map_err(at(&path))?, path, &mut found)?;
    }
    Ok(found)
}

fn number(path: &Path) -> Option<u64> {
    let extension = path.extension()?;
    let ours = extension == SEGMENT || extension == UNFINISHED;
    ours.then(|| path.file_stem()?.to_str()?.parse().ok()).flatten()
}

fn read(bytes: &[u8], path: PathBuf, found: &mut Found) -> Result<(), OpenError> {
    let damaged = |offset, what| OpenError::Damaged { file: path.clone(), offset, what };
    let scan = frame::scan(bytes).map_err(|damage| damaged(damage.offset, damage.what))?;
    found.gateway_id = Some(String::from_utf8_lossy(&scan.header.gateway_id).into_owned());
    found.clusters = scan.header.clusters;
    found.ledger = Ledger::new(scan.header.token_floor);
    for (offset, record) in &scan.records {
        found.ledger.apply(record).map_err(|Contradiction(what)| damaged(*offset, what))?;
    }
    found.torn = scan.torn.map(|(offset, tear)| TornTail {
        file: path.clone(),
        offset,
        bytes: bytes.len() as u64 - offset,
        tear,
    });
    Ok(())
}

/// The segment that is written.
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    frames: FrameWriter,
    bytes: u64,
}

/// Where an append failed.
pub(super) enum AppendError {
    Write(io::Error),
    Sync(io::Error),
}

impl Segment {
    /// Bytes of the file that are on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a frame on disk. After a failure the segment must not be written again: what the kernel keeps of it after
    /// a failed sync is not known (see "PostgreSQL's fsync() surprise", LWN 2018).
    pub fn append(&mut self, frame: &mut [u8]) -> Result<(), AppendError> {
        self.frames.seal(frame);
        let done = self
            .file
            .append(frame)
            .map_err(AppendError::Write)
            .and_then(|()| self.file.sync().map_err(AppendError::Sync))
            // Looked at last, so that what is acknowledged was there after it had been synced.
            .and_then(|()| self.look_at_name());
        match done {
            Ok(()) => self.bytes += frame.len() as u64,
            Err(_) => self.cut_off(),
        }
        done
    }

    fn look_at_name(&self) -> Result<(), AppendError> {
        match self.file.has_name(&self.path) {
            true => Ok(()),
            false => Err(AppendError::Write(io::Error::other(lost_name(&self.path)))),
        }
    }

    /// Takes back what the failed append may have left. Should that fail too, an incomplete frame is a torn tail, and
    /// a complete one is superseded by the next segment.
    fn cut_off(&mut self) {
        if let Err(error) = self.file.truncate(self.bytes) {
            tracing::warn!(%error, "the journal's last record could not be taken back");
        }
    }
}

fn lost_name(path: &Path) -> String {
    format!(
        "{} was removed or replaced while the process ran; make its directory again, for this process alone",
        path.display()
    )
}

/// The files in the directory.
pub(super) struct Segments {
    pub disk: Box<dyn Disk>,
    pub directory: PathBuf,
    pub gateway_id: String,
    pub clusters: Vec<JournalCluster>,
    pub next_number: u64,
    pub obsolete: Vec<PathBuf>,
    /// Keeps the directory for this process as long as the file has its name.
    pub lock: File,
}

impl Segments {
    /// Sees to it that the directory is still this process's alone. Whoever removed it took the lock away with it, and then
    /// another process could take what is pending here for what a dead one left.
    pub fn hold(&mut self) -> io::Result<()> {
        if !self.lock.has_name(&self.directory.join(LOCK)) {
            self.lock = take_lock(&self.directory).map_err(|error| match error {
                OpenError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                    io::Error::other(lost_name(&self.directory))
                }
                other => io::Error::other(other.to_string()),
            })?;
        }
        Ok(())
    }

    /// Makes the next segment, with a checkpoint of `ledger`, and deletes all older files. After a failure the
    /// segment before must not be written any more, since this one may have got its name.
    pub fn advance(&mut self, ledger: &Ledger) -> io::Result<Segment> {
        self.hold()?;
        let number = self.next_number;
        self.next_number += 1;
        let unfinished = self.directory.join(format!("{number:020}.{UNFINISHED}"));
        let path = self.directory.join(format!("{number:020}.{SEGMENT}"));
        let made = self.make(&unfinished, ledger);
        let made = made.and_then(|mut segment| {
            self.disk.publish(&unfinished, &path)?;
            segment.path.clone_from(&path);
            Ok(segment)
        });
        match made {
            Ok(segment) => {
                let disk = &mut self.disk;
                self.obsolete.retain(|old| match disk.remove(old) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(%error, file = %old.display(), "an old journal file could not be deleted");
                        true
                    }
                    _ => false,
                });
                self.obsolete.push(path);
                Ok(segment)
            }
            Err(error) => {
                // What is left of it is deleted with the others when there is a next one.
                if self.disk.remove(&unfinished).is_err() {
                    self.obsolete.extend([unfinished, path]);
                }
                Err(error)
            }
        }
    }

    fn make(&mut self, path: &Path, ledger: &Ledger) -> io::Result<Segment> {
        let salt = rand::random();
        let mut frames = FrameWriter::new(salt);
        let mut checkpoint = Vec::new();
        let mut records = ledger.checkpoint().peekable();
        while records.peek().is_some() {
            let start = checkpoint.len();
            checkpoint.resize(start + FRAME_HEAD_BYTES, 0);
            while checkpoint.len() - start < FRAME_BYTES_MAX
                && let Some(record) = records.next()
            {
                record.encode(&mut checkpoint);
            }
            frames.seal(&mut checkpoint[start..]);
        }
        let header = Header {
            gateway_id: self.gateway_id.clone().into_bytes(),
            clusters: self.clusters.clone(),
            salt,
            token_floor: ledger.token_last(),
            checkpoint_bytes: checkpoint.len() as u64,
        };
        let bytes = [header.encode(), checkpoint].concat();
        let mut file = self.disk.create(path)?;
        file.append(&bytes)?;
        file.sync()?;
        Ok(Segment { file, path: path.to_owned(), frames, bytes: bytes.len() as u64 })
    }
}
