//! The house: which directory may use which, and what may not be named where. `src/lib.rs` draws the map; this keeps it true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it should be"
)]

mod clusters;
mod cycles;
mod ends;
mod rooms;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below a directory of `src`, with its text.
fn files(directory: &str) -> Vec<(PathBuf, String)> {
    files_below(&Path::new("src").join(directory))
}

/// Every Rust file below a directory of the repository, with its text.
fn files_below(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{} has no files", directory.display());
    found
}

/// The lines of a file outside its tests, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default())
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    name.ends_with("tests")
}

/// No file in `directory` names any of `words` outside comments and tests.
fn check_absent(directory: &str, words: &[&str], why: &str) {
    for (path, text) in files(directory).into_iter().filter(|(path, _)| !is_test_file(path)) {
        for (line, code) in code(&text).enumerate() {
            for word in words {
                assert!(!code.contains(word), "{}:{}: names `{word}`: {why}", path.display(), line + 1);
            }
        }
    }
}

/// The modules of the crate that a directory must not use: all but `allowed` and itself.
fn check_uses(directory: &str, allowed: &[&str]) {
    let all = [
        "admission",
        "combine",
        "command",
        "access",
        "config",
        "control",
        "demo",
        "detect",
        "journal",
        "ledger",
        "limits",
        "monitor",
        "net",
        "pace",
        "process",
        "reserve",
        "resp",
        "route",
        "shared",
        "worker",
    ];
    let refused: Vec<String> = all
        .into_iter()
        .filter(|module| *module != directory && !allowed.contains(module))
        .map(|module| format!("crate::{module}::"))
        .collect();
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    check_absent(directory, &refused, "src/lib.rs says what a directory may use");
}

#[test]
fn leaves_use_leaves_only() {
    check_uses("resp", &["limits"]);
    check_uses("command", &["resp", "limits"]);
    check_uses("route", &["command", "resp"]);
    check_uses("detect", &["route", "limits"]);
    check_uses("access", &["command", "resp"]);
    check_uses("config", &["access", "command", "route", "limits"]);
    check_uses("pace", &[]);
    check_uses("combine", &["resp", "limits"]);
    check_uses("admission", &["combine", "command", "config", "resp", "limits"]);
    check_uses("reserve", &["combine", "resp", "limits"]);
}

/// It is a process of its own: it finds servers as the control side does, and nobody imports it.
#[test]
fn the_ledger_stands_alone() {
    let may = ["config", "control", "net", "reserve", "resp", "route", "shared", "limits"];
    check_uses("ledger", &may);
    for directory in ["shared", "control", "monitor", "journal", "worker"] {
        check_absent(directory, &["crate::ledger"], "only main.rs knows the ledger");
    }
}

#[test]
fn byte_streams_know_nothing_of_what_they_carry() {
    check_uses("net", &["config", "limits"]);
}

/// A second kind of byte stream is a variant in `net/`: nobody else can tell.
#[test]
fn only_net_names_sockets() {
    let words = [
        "TcpStream",
        "TcpListener",
        "UnixStream",
        "UnixListener",
        "TcpSocket",
        "socket2",
        "tokio::net",
        "lookup_host",
        "ToSocketAddrs",
        "os::unix::net",
    ];
    // The demonstration looks for free ports before anything listens there; the oracle belongs to tests.
    let may = ["src/net/", "src/demo/", "src/command/oracle.rs"];
    for (path, text) in files("").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let shown = path.to_string_lossy();
        for (line, code) in code(&text).enumerate().filter(|_| !may.iter().any(|may| shown.contains(may))) {
            for word in words {
                assert!(
                    !code.contains(word),
                    "{shown}:{}: names `{word}`: byte streams come from net/",
                    line + 1
                );
            }
        }
    }
}

#[test]
fn nothing_but_the_process_knows_the_workers() {
    for directory in ["shared", "control", "monitor", "journal", "demo"] {
        check_absent(directory, &["crate::worker"], "only process.rs knows the workers");
    }
}

#[test]
fn the_data_path_knows_neither_control_nor_monitoring() {
    check_absent(
        "worker",
        &["crate::control", "crate::monitor", "crate::process"],
        "threads meet in shared/ only",
    );
}

#[test]
fn the_data_path_has_no_locks_and_no_atomics() {
    let words = ["Mutex", "RwLock", "Atomic", "sync::atomic", "block_on(", "std::thread"];
    for (path, text) in files("worker") {
        for (line, code) in code(&text).enumerate() {
            let runs_the_worker = path.ends_with("src/worker/mod.rs") && code.contains("runtime.block_on(");
            for word in words {
                let named = code.contains(word) && !runs_the_worker;
                assert!(!named, "{}:{}: names `{word}` on the data path", path.display(), line + 1);
            }
        }
    }
}

/// What a room wants of another is an effect, or is asked of both by the composition above them.
#[test]
fn clients_and_their_sessions_reach_into_no_other_room() {
    let composition =
        ["impl Worker", "::owners::", "worker::serve", "worker::dispatch", "worker::deliver", "worker::hot"];
    check_absent("worker/session", &composition, "a session asks for clients, connections and the exit");
    let others = [
        &composition[..],
        &["worker::upstream", "worker::send", "worker::session", "super::hot", "super::upstream"],
    ]
    .concat();
    check_absent("worker/client", &others, "a client knows no connection to Redis and no hot key");
}

/// One place asks for room and puts requests on their connections.
#[test]
fn requests_leave_through_one_exit() {
    for (path, text) in files("worker") {
        let may =
            path.ends_with("upstream/room.rs") || path.components().any(|part| part.as_os_str() == "wire");
        for (line, code) in code(&text).enumerate() {
            let puts = ["wire.push(", "wire.push_large("].iter().any(|word| code.contains(word));
            assert!(may || !puts, "{}:{}: puts a request on a wire by itself", path.display(), line + 1);
        }
    }
}

#[test]
fn leaves_do_no_io() {
    for directory in ["resp", "command", "route", "detect", "pace", "combine", "admission", "reserve"] {
        check_absent(
            directory,
            &["std::net", "std::fs", "tokio::", "Instant::now", "SystemTime"],
            "leaves do no IO",
        );
    }
}

#[test]
fn files_stay_readable_and_nothing_is_left_open() {
    for (path, text) in ["src", "tests", "benches", "fuzz/fuzz_targets"]
        .into_iter()
        .flat_map(|top| files_below(Path::new(top)))
    {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines: look for the second idea in it", path.display());
        assert!(
            is_test_file(&path) || text.starts_with("//!"),
            "{} does not say what it is for",
            path.display()
        );
        for word in ["TODO", "FIXME", "unimplemented!(", "todo!("] {
            let named = text.contains(word) && !path.ends_with("tests/house/main.rs");
            assert!(!named, "{} leaves something open: {word}", path.display());
        }
    }
}

/// Each binary of tests links the whole program and compiles the support code: a promise is a module of one of a few.
#[test]
fn tests_are_modules_of_a_few_binaries() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (path, _) in files_below(Path::new("tests")) {
        let file = path.strip_prefix(&tests).unwrap();
        let (directory, name) = (file.parent().unwrap(), file.file_stem().unwrap().to_str().unwrap());
        assert_ne!(directory, Path::new(""), "tests/{name}.rs: make it a module of tests/*/main.rs");
        let roots = ["main.rs", "mod.rs", "lib.rs"].map(|root| tests.join(directory).join(root));
        let root = roots.iter().find(|root| root.exists()).expect("a directory has a root module");
        if *root != path {
            let declared = fs::read_to_string(root).unwrap().contains(&format!("mod {name};"));
            assert!(declared, "{} is not declared in {}, so it does not run", file.display(), root.display());
        }
    }
}
