//! The temporary directory of a group of private servers, the processes in it, and the watchdog that outlives this process.
//!
//! A process killed with `kill -9` runs no destructors, and without `unsafe` a child cannot ask the kernel to die with
//! its parent (`PR_SET_PDEATHSIG`). So each directory has a watchdog: a shell that reads from a pipe whose other end only
//! this process holds. When this process ends, however it ends, the read ends; the shell then kills the servers whose
//! pid files are in the directory, and removes it. In the ordinary case the destructors have done both before and the
//! watchdog is killed first, so that it never acts on the pid of a process that is already gone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::PrivateRedisError;

/// A server is up within a tenth of a second on an idle machine; a loaded one may take this long.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// Between two looks at a log.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// `$1` is the directory. Each server has a directory in it, and a file `pid` there while it runs.
const WATCHDOG: &str = r#"read -r _; kill -9 $(cat "$1"/*/pid) 2>/dev/null; rm -rf "$1""#;

/// Shared by the servers of a group; removed when the last of them is dropped.
pub(super) struct ServerDirectory {
    watchdog: Child,
    directory: TempDir,
}

impl ServerDirectory {
    pub(super) fn create() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hotgate-redis-").tempdir()?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "hotgate-watchdog"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's foreground group: a Ctrl-C must not end it before its work is done.
            .process_group(0)
            .spawn()?;
        Ok(Self { watchdog, directory })
    }

    /// Makes the directory of one server.
    pub(super) fn server_directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for ServerDirectory {
    fn drop(&mut self) {
        end_child(&mut self.watchdog);
    }
}

/// Becomes `$2` with the arguments behind it, once `$1/pid` has its process id: from its first moment the watchdog knows it.
const WITH_PID: &str = r#"echo $$ >"$1/pid" && shift && exec "$@""#;

/// A process in its directory. Dropping it kills it, also while somebody waits for it to become ready.
pub(super) struct Running {
    child: Child,
    path: PathBuf,
    /// It was killed here, and its directory may be that of another by now.
    was_ended: bool,
}

impl Running {
    /// Starts a program. Both of its outputs go to `path/log`.
    pub(super) fn start(program: &Path, arguments: &[OsString], path: &Path) -> io::Result<Self> {
        let log = File::create(path.join("log"))?;
        let child = Command::new("sh")
            .args(["-c", WITH_PID, "start"])
            .arg(path)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Out of the terminal's foreground group: Ctrl-C is for the demonstration, which ends the rest in order.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, path: path.to_owned(), was_ended: false })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns when the log holds `line`. That is what the program itself says: a connection would not tell it from another that took
    /// the port first, and an answer may need a password.
    pub(super) async fn wait_until_it_says(&mut self, line: &str) -> Result<(), PrivateRedisError> {
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            if self.log().contains(line) {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                return Err(PrivateRedisError::Exited(self.log_tail()));
            }
            if Instant::now() >= deadline {
                return Err(PrivateRedisError::NotReady(self.log_tail()));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// What it has written so far.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(self.path.join("log"));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join(" | ")
    }

    /// Ends it at once (SIGKILL). Nothing of it is left; a paused process dies of it as well.
    pub(super) fn kill(&mut self) {
        if !self.was_ended {
            end_child(&mut self.child);
            let _ = fs::remove_file(self.path.join("pid"));
            self.was_ended = true;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills `child` and takes its exit status.
fn end_child(child: &mut Child) {
    // Both fail only for a child that has been waited for already.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel closes the pipe of a process that was killed; closing it here is the same to the watchdog.
    #[tokio::test]
    async fn the_watchdog_ends_the_servers_and_removes_the_directory() {
        let mut directory = ServerDirectory::create().unwrap();
        let mut servers = ["a", "b"].map(|name| {
            let path = directory.server_directory(name).unwrap();
            Running::start(Path::new("sleep"), &["1000".into()], &path).unwrap()
        });
        let have_started = async {
            while servers.iter().any(|server| !server.path.join("pid").exists()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), have_started).await.unwrap();
        drop(directory.watchdog.stdin.take());
        let gone = async {
            while directory.directory.path().exists()
                || servers.iter_mut().any(|server| server.child.try_wait().unwrap().is_none())
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }
}
