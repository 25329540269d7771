//! Under systemd: the unit is valid and hardened, and the gateway tells the service manager when it is ready, reloads, lives and stops.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Gateway, PATIENCE, shared};

const UNIT: &str = include_str!("../../conf/systemd/hotgate.service");

/// The exposure that `systemd-analyze security` may give, in tenths: it calls below 2.0 "OK", and 9.6 is a unit without any hardening.
const EXPOSURE_TENTHS_MAX: u32 = 15;

/// What the gateway tells, message by message.
struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl ServiceManager {
    fn start() -> ServiceManager {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        ServiceManager { socket, path, _directory: directory }
    }

    /// The next message that holds `state`; signs of life may lie before it.
    fn until(&self, state: &str) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length =
                self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("nobody says {state}: {error}"));
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|line| line == state) {
                return text;
            }
            assert_eq!(text.trim_end(), "WATCHDOG=1", "before {state}");
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_life_and_end() {
    let manager = ServiceManager::start();
    let upstream = shared::single(module_path!()).0.address().to_string();
    let mut gateway = Gateway::before(&upstream)
        .environment("NOTIFY_SOCKET", manager.path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "400000")
        .start();
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    for config in ["[log]\nlevel = \"debug\"\n", "[log]\nlevel = \"wrong\"\n"] {
        gateway.reload(config);
        let reloading = manager.until("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        manager.until("READY=1");
    }
    gateway.terminate();
    manager.until("STOPPING=1");
    assert_eq!(gateway.wait().code(), Some(0));
}

/// What a program of systemd says to the unit with this build's program in it; nothing on machines without that program.
fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("hotgate.service");
    std::fs::write(&unit, UNIT.replace("/usr/bin/hotgate", env!("CARGO_BIN_EXE_hotgate"))).unwrap();
    Command::new("systemd-analyze").args(arguments).arg(&unit).output().ok()
}

#[test]
fn the_unit_is_valid_and_exposes_little() {
    if let Some(verified) = systemd_analyze(&["verify", "--man=no"]) {
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && !said.contains("hotgate.service:"), "{said}");
        let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
        let judged = systemd_analyze(&["security", "--offline=true", "--no-pager", &threshold]).unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    }
}

/// The program knows what the unit starts it with, and its file of the package exists.
#[test]
fn the_unit_starts_the_program_with_flags_that_it_has() {
    let command = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/hotgate ")).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let output =
        Command::new(env!("CARGO_BIN_EXE_hotgate")).args(&words).arg("--describe-metrics").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(words[..3], ["serve", "--config", "/etc/hotgate/hotgate.toml"]);
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/hotgate.toml").exists());
}
