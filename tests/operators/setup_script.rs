//! `tests/setup` installs what is missing and leaves alone what is there, however it came.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// What the script itself runs on.
const SYSTEM: [&str; 4] = ["bash", "env", "cat", "printf"];

fn program(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The packages that are installed on a machine with these programs. All that would change it only writes down that it was run.
fn installed_beside(present: &[&str], has_venv: bool) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path();
    for name in SYSTEM {
        let found = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(name));
        symlink(found.iter().find(|path| path.exists()).unwrap(), bin.join(name)).unwrap();
    }
    let log = bin.join("log");
    program(bin, "apt-get", &format!("echo \"$@\" >> {}", log.display()));
    program(bin, "sudo", "exec \"$@\"");
    program(bin, "id", "echo 1000");
    program(bin, "python3", if has_venv { "exit 0" } else { "exit 1" });
    for name in ["tee", "chmod", "rm"] {
        program(bin, name, "exit 0");
    }
    present.iter().for_each(|name| program(bin, name, "exit 0"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup");
    let output = Command::new(bin.join("bash")).arg(script).env("PATH", bin).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines = log.lines().filter(|line| line.starts_with("install"));
    let words = lines.flat_map(|line| line.split(' ').skip(1).filter(|word| !word.starts_with('-')));
    words.map(str::to_owned).collect()
}

const ALL: [&str; 17] = [
    "redis-server",
    "redis-cli",
    "redis-benchmark",
    "nutcracker",
    "promtool",
    "chromium",
    "chromedriver",
    "node",
    "npm",
    "cc",
    "script",
    "prlimit",
    "openssl",
    "psql",
    "mariadb",
    "mariadbd",
    "faketime",
];

#[test]
fn nothing_is_installed_where_all_is_there() {
    assert_eq!(installed_beside(&ALL, true), Vec::<String>::new());
}

#[test]
fn a_node_js_with_an_npm_of_its_own_is_left_alone() {
    let installed = installed_beside(&["node", "npm", "cc"], false);
    for package in ["redis-server", "redis-tools", "prometheus", "chromium", "python3-venv"] {
        assert!(installed.iter().any(|name| name == package), "{package}: {installed:?}");
    }
    for package in ["npm", "nodejs", "gcc"] {
        assert!(!installed.iter().any(|name| name == package), "{package}: {installed:?}");
    }
}

#[test]
fn what_is_missing_alone_is_installed_alone() {
    let but_npm: Vec<&str> = ALL.into_iter().filter(|name| *name != "npm").collect();
    assert_eq!(installed_beside(&but_npm, true), ["npm"]);
}
