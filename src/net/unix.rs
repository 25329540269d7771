//! Unix sockets: how a path becomes a listener, and when its file goes.
//!
//! The file is removed when the process ends, unless another process has put its own socket there meanwhile. One that a killed process
//! left behind is taken over; one at which somebody listens is not.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::BoundListener;

/// The file of a socket that this process listens on. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number, by which a file is told from another of the same name.
    identity: (u64, u64),
}

/// The identity of no file.
const NONE: (u64, u64) = (0, 0);

impl SocketFile {
    /// The file of a socket that another process has bound there, if it is there still.
    ///
    /// # Errors
    /// It is not.
    pub fn inherited(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Leaves the file where it is when this is dropped: another process listens there.
    pub fn leave(&mut self) {
        self.identity = NONE;
    }

    /// Who may connect from now on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn permit(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It goes with the directory if not now, and the next start takes it over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, which gets these permissions, with at most `backlog` peers that wait. Gives as many listeners as asked for, which
/// share one queue. With `take_over`, the place of another process that listens there is taken: whom it has accepted stays with it.
///
/// # Errors
/// Somebody listens there, the path is something else's or longer than about 100 bytes, or the system refuses.
pub fn listen_at(
    path: &Path,
    mode: u32,
    backlog: u32,
    listeners: usize,
    take_over: bool,
) -> io::Result<(SocketFile, Vec<BoundListener>)> {
    make_room(path, take_over)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Under another name until it listens: who connects to the path finds the former socket or this one, and never none.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    socket.bind(&SockAddr::unix(&fresh)?)?;
    let placed = place(&socket, &fresh, path, mode, backlog);
    if placed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    let file = SocketFile { path: path.to_owned(), identity: placed? };
    Ok((file, copies(&UnixListener::from(socket), path, listeners)?))
}

/// As [`listen_at`], at the socket that another process has bound there.
///
/// # Errors
/// The file has gone, or the system refuses.
pub fn listen_on_inherited(
    descriptor: OwnedFd,
    path: &Path,
    mode: u32,
    listeners: usize,
) -> io::Result<(SocketFile, Vec<BoundListener>)> {
    let file = SocketFile::inherited(path)?;
    file.permit(mode)?;
    Ok((file, copies(&UnixListener::from(descriptor), path, listeners)?))
}

fn copies(listener: &UnixListener, path: &Path, count: usize) -> io::Result<Vec<BoundListener>> {
    (0..count).map(|_| listener.try_clone().map(|own| BoundListener::Unix(own, path.into()))).collect()
}

fn place(socket: &Socket, fresh: &Path, path: &Path, mode: u32, backlog: u32) -> io::Result<(u64, u64)> {
    fs::set_permissions(fresh, fs::Permissions::from_mode(mode))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let identity = identity(fresh)?;
    fs::rename(fresh, path)?;
    Ok(identity)
}

/// Looks whether a socket may be put at `path`.
fn make_room(path: &Path, take_over: bool) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file there is no socket"));
    }
    // Nobody listens at one that a killed process left behind.
    match UnixStream::connect(path) {
        Ok(_) if !take_over => Err(io::ErrorKind::AddrInUse.into()),
        _ => Ok(()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
