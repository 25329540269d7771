//! The few things that a journal does to a file system, behind a trait so that their failures can be tried.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// A file system.
pub trait Disk: Send {
    /// Makes an empty file, in place of one of that name.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file its lasting name: when it returns, the file has it after any crash.
    fn publish(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// A file that only grows.
pub trait DiskFile: Send {
    /// Writes all of it at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all that was appended is on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file off, as far as the disk still does anything.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Whether this is the file of that name: one that was removed is written as before, and nobody will ever read it.
    fn has_name(&self, path: &Path) -> bool;
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().create(true).write(true).truncate(true).open(path)?))
    }

    fn publish(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        let directory = to.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.sync_data()
    }

    fn has_name(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let named = fs::metadata(path).map(identity);
        named.is_ok_and(|named| self.metadata().map(identity).is_ok_and(|own| own == named))
    }
}
