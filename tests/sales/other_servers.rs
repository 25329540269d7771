//! Sales go before Redis 6.2 and Valkey 9.1 as before the machine's own server, through the gateway, before one server and before a cluster.
//!
//! The servers are those that `tests/servers/install` brings. Where they are not there, and where `HOTGATE_TEST_SERVER` names a server already, this
//! says so and ends. Each runs the modules of this program again, in a process of its own.

use std::path::Path;
use std::process::Command;

const MODULES: &[&str] = &["verbs::", "moves::", "rights::", "sweeper::", "clocks::"];

fn goes_before(server: &str) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/servers").join(server);
    if !program.is_file() || std::env::var_os("HOTGATE_TEST_SERVER").is_some() {
        println!("skipped: tests/servers/install target/tmp/servers brings {server}");
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let output = tests.args(MODULES).env("HOTGATE_TEST_SERVER", &program).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("test result: ok. "), "{server}: {told}");
    assert!(!told.contains("ok. 0 passed"), "{server}: {told}");
}

#[test]
fn before_valkey() {
    goes_before("valkey-server");
}

#[test]
fn before_an_old_redis() {
    goes_before("redis-server-6.2");
}
