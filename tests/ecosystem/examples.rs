//! Each example of `docs/examples` does what its page says, in front of one server and of a cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Cluster, Gateway, Server};

/// The quota of the page, and clients that combine what they can.
const CONFIG: &str = "[[quota]]\nmatch = \"example:*:sold\"\nlimit = 3\n";

fn libraries() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ecosystem");
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ecosystem/install");
    let status = Command::new(install).arg(&directory).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "tests/ecosystem/install ended with {status}");
    directory
}

/// Runs one example before `gateway`, as the page says.
fn check(gateway: &Gateway, name: &str, upstream: &str, mut command: Command) {
    let port = gateway.address.port().to_string();
    let prefix = format!("example:{upstream}:{{{name}}}");
    let output = command.args([&port, &prefix]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().collect::<Vec<_>>(), ["views: 1", "sold: 3", "sold out"], "{name}");
}

#[test]
fn every_example_sells_until_it_is_sold_out() {
    let libraries = libraries();
    let (server, cluster) = (Server::start(), Cluster::start());
    cluster.wait_until_whole();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let built =
        Command::new(env!("CARGO")).args(["build", "--locked", "--quiet", "--example", "redis_rs"]).status();
    assert!(built.unwrap().success(), "docs/examples/redis_rs.rs does not build");
    // Beside the program: target/debug/hotgate, target/debug/examples/redis_rs.
    let redis_rs = Path::new(env!("CARGO_BIN_EXE_hotgate")).with_file_name("examples").join("redis_rs");
    for (upstream, address) in [("server", server.address().to_string()), ("cluster", cluster.seeds())] {
        let gateway = Gateway::before(&address).config(CONFIG).start();
        let script = |program: PathBuf, file: &str| {
            let mut command = Command::new(program);
            command.arg(examples.join(file)).env("NODE_PATH", libraries.join("node/node_modules"));
            command
        };
        check(&gateway, "redis-py", upstream, script(libraries.join("python/bin/python"), "redis_py.py"));
        check(&gateway, "ioredis", upstream, script("node".into(), "ioredis.js"));
        check(&gateway, "node-redis", upstream, script("node".into(), "node_redis.js"));
        check(&gateway, "redis-rs", upstream, Command::new(&redis_rs));
    }
}

/// What each example of a sale prints.
const SALE: [&str; 8] = [
    "ada: confirmed 1",
    "bob: confirmed 2",
    "eve: sold out",
    "ada: confirmed 1",
    "order of eve: refused",
    "bob gives back: cancelled",
    "order of eve: complete",
    "in line: ada eve",
];

#[test]
fn every_example_of_a_sale_takes_orders_whole_or_not_at_all() {
    let libraries = libraries();
    let (server, cluster) = (Server::start(), Cluster::start());
    cluster.wait_until_whole();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    for (upstream, address) in [("server", server.address().to_string()), ("cluster", cluster.seeds())] {
        let gateway = Gateway::before(&address).start();
        let port = gateway.address.port().to_string();
        let python = libraries.join("python/bin/python");
        for (program, file) in [
            (python, "sale_redis_py.py"),
            ("node".into(), "sale_ioredis.js"),
            ("node".into(), "sale_node_redis.js"),
        ] {
            let mut command = Command::new(program);
            command.arg(examples.join(file)).env("NODE_PATH", libraries.join("node/node_modules"));
            let output = command.args([&port, file]).stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(text.lines().collect::<Vec<_>>(), SALE, "{upstream} {file}: {errors}");
        }
    }
}

#[test]
fn the_page_lists_every_example() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let page = std::fs::read_to_string(examples.join("README.md")).unwrap();
    for entry in std::fs::read_dir(examples).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || page.contains(&format!("]({name})")), "the page does not list {name}");
    }
}
