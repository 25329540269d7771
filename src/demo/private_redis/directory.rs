//! The temporary directory of a group of private servers, and the watchdog that outlives this process.
//!
//! A process killed with `kill -9` runs no destructors, and without `unsafe` a child cannot ask the kernel to die with
//! its parent (`PR_SET_PDEATHSIG`). So each directory has a watchdog: a shell that reads from a pipe whose other end only
//! this process holds. When this process ends, however it ends, the read ends; the shell then kills the servers whose
//! pid files are in the directory, and removes it. In the ordinary case the destructors have done both before and the
//! watchdog is killed first, so that it never acts on the pid of a process that is already gone.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

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

/// Tells the watchdog which process runs in `server_directory`.
pub(super) fn write_pid(server_directory: &Path, pid: u32) -> io::Result<()> {
    // The newline keeps the pids of several files apart when the watchdog reads them all at once.
    fs::write(server_directory.join("pid"), format!("{pid}\n"))
}

/// Kills `child` and takes its exit status, so that nothing of it is left. A paused process dies of it as well.
pub(super) fn end_child(child: &mut Child) {
    // Both fail only for a child that has been waited for already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Removes the pid file of a server that was ended.
pub(super) fn forget_pid(server_directory: &Path) {
    let _ = fs::remove_file(server_directory.join("pid"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The kernel closes the pipe of a process that was killed; closing it here is the same to the watchdog.
    #[tokio::test]
    async fn the_watchdog_ends_the_servers_and_removes_the_directory() {
        let mut directory = ServerDirectory::create().unwrap();
        let mut servers = ["a", "b"].map(|name| {
            let path = directory.server_directory(name).unwrap();
            let server = Command::new("sleep").arg("1000").spawn().unwrap();
            write_pid(&path, server.id()).unwrap();
            server
        });
        drop(directory.watchdog.stdin.take());
        let gone = async {
            while directory.directory.path().exists()
                || servers.iter_mut().any(|s| s.try_wait().unwrap().is_none())
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }
}
