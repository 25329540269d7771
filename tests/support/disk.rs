//! A small disk that fills up: a file system in memory, of a size that may be changed.
//!
//! A quiet process has mounted it and unmounts it when its input ends, so it goes with the test process, however that ends. It takes root's rights.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wait_until;

/// See the module.
pub struct Disk {
    holder: Child,
    directory: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB on a directory that is there.
    pub fn on(directory: &Path, mib: u32) -> Disk {
        let script = "mount -t tmpfs -o size=$1m,mode=777 tmpfs \"$2\" && cat && umount -l \"$2\"";
        let mut holder = Command::new("sh");
        holder.args(["-c", script, "sh", &mib.to_string()]).arg(directory).stdin(Stdio::piped());
        let mut disk = Disk { holder: holder.spawn().unwrap(), directory: directory.to_owned() };
        wait_until("the disk is mounted", || {
            assert!(disk.holder.try_wait().unwrap().is_none(), "only root can mount a file system");
            let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
            mounts.contains(&format!("tmpfs {} ", directory.display()))
        });
        disk
    }

    /// It has so many MiB from now on.
    pub fn resize(&self, mib: u32) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={mib}m")]).arg(&self.directory);
        assert!(mount.status().unwrap().success(), "{mount:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
