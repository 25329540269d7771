//! The clients of the ecosystem work unchanged: redis-cli, redis-benchmark, redis-py and ioredis, in front of one server
//! and of a cluster.
//!
//! redis-py and ioredis are installed under the target directory by `tests/ecosystem/install` when they are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::secured::Secured;
use crate::support::{self, Cluster, Gateway, Server, shared};

/// Before one server and told to pose as a cluster.
fn posing() -> &'static Gateway {
    static POSING: OnceLock<Gateway> = OnceLock::new();
    POSING.get_or_init(|| {
        let start = Gateway::before(&shared::single(module_path!()).0);
        start.config("[gateway]\npose = \"cluster\"\n").start()
    })
}

/// The program that the variable names, or the one of this name on PATH.
fn tool(variable: &str, name: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| name.to_owned())
}

/// Runs a program to its end and returns what it wrote; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{text}", output.status);
    text
}

fn redis_cli(gateway: &Gateway, arguments: &[&str]) -> String {
    run(Command::new(tool("HOTGATE_TEST_CLI", "redis-cli"))
        .args(["-p", &gateway.address.port().to_string()])
        .args(arguments))
}

#[test]
fn redis_cli_works() {
    for gateway in shared::both(module_path!()) {
        assert_eq!(redis_cli(gateway, &["PING"]), "PONG\n");
        assert_eq!(redis_cli(gateway, &["SET", "cli:k", "v"]), "OK\n");
        assert_eq!(redis_cli(gateway, &["-3", "GET", "cli:k"]), "v\n");
        assert_eq!(redis_cli(gateway, &["-c", "GET", "cli:k"]), "v\n");
        assert_eq!(redis_cli(gateway, &["-r", "3", "INCR", "cli:n"]), "1\n2\n3\n");
        assert_eq!(redis_cli(gateway, &["--scan", "--pattern", "cli:*"]).lines().count(), 2);
        assert!(redis_cli(gateway, &["INFO", "server"]).contains("redis_version"));
        assert!(redis_cli(gateway, &["COMMAND", "DOCS", "get"]).contains("get"));
        assert_eq!(redis_cli(gateway, &["EVAL", "return KEYS[1]", "1", "cli:k"]), "cli:k\n");
        assert_eq!(redis_cli(gateway, &["DEL", "cli:k", "cli:n"]), "2\n");
    }
}

/// `redis-cli --pipe` sends a mass of commands and a final ECHO, and wants all replies before it.
#[test]
fn redis_cli_pipe_works() {
    for gateway in shared::both(module_path!()) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("commands");
        let commands: Vec<u8> = (0..20_000)
            .flat_map(|number| support::text::request(&format!("SET pipe:{number} {number}")))
            .collect();
        std::fs::write(&file, commands).unwrap();
        let mut command = Command::new(tool("HOTGATE_TEST_CLI", "redis-cli"));
        command.args(["-p", &gateway.address.port().to_string(), "--pipe"]);
        let output = command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("errors: 0, replies: 20000"), "{text}");
    }
}

fn redis_benchmark(gateway: &Gateway, arguments: &[&str]) -> String {
    let port = gateway.address.port().to_string();
    let text = run(Command::new(tool("HOTGATE_TEST_BENCHMARK", "redis-benchmark"))
        .args(["-p", &port, "-q", "--csv"])
        .args(arguments));
    assert!(!text.to_lowercase().contains("error"), "{arguments:?}: {text}");
    text
}

/// The number of tests whose result was printed.
fn results(csv: &str) -> usize {
    csv.lines().filter(|line| line.starts_with('"') && !line.starts_with("\"test\"")).count()
}

#[test]
fn redis_benchmark_runs_all_its_default_tests() {
    for gateway in shared::both(module_path!()) {
        assert!(results(&redis_benchmark(gateway, &["-n", "1000", "-r", "1000"])) >= 17);
    }
}

#[test]
fn redis_benchmark_runs_with_pipelines_resp3_and_threads() {
    for gateway in shared::both(module_path!()) {
        for options in
            [&["-P", "16"][..], &["-3"], &["--threads", "2"], &["-P", "64", "-3", "--threads", "2"]]
        {
            let mut arguments =
                vec!["-t", "set,get,incr,mset,lpush,lrange_100", "-n", "10000", "-r", "10000"];
            arguments.extend_from_slice(options);
            assert!(results(&redis_benchmark(gateway, &arguments)) >= 6, "{options:?}");
        }
    }
}

#[test]
fn redis_benchmark_tracks() {
    for gateway in shared::both(module_path!()) {
        for options in [&["--enable-tracking"][..], &["--enable-tracking", "-3", "-P", "8"]] {
            let arguments = [options, &["-t", "set,get", "-n", "2000", "-r", "50"]].concat();
            assert_eq!(results(&redis_benchmark(gateway, &arguments)), 2, "{options:?}");
        }
    }
}

#[test]
fn redis_benchmark_takes_the_gateway_for_a_cluster() {
    for gateway in [posing(), &shared::cluster(module_path!()).1] {
        for options in [&[][..], &["-P", "16"], &["--threads", "2"]] {
            let mut arguments = vec!["--cluster", "-t", "set,get,incr", "-n", "10000", "-r", "10000"];
            arguments.extend_from_slice(options);
            assert!(results(&redis_benchmark(gateway, &arguments)) >= 3, "{options:?}");
        }
    }
}

/// As from the server itself: what insists on a cluster is told that there is none.
#[test]
fn what_insists_on_a_cluster_is_refused_before_one_server_as_by_that_server() {
    let (server, gateway) = shared::single(module_path!());
    let outcome = |port: u16| {
        let mut command = Command::new(tool("HOTGATE_TEST_BENCHMARK", "redis-benchmark"));
        command.args(["-p", &port.to_string(), "--cluster", "-t", "set", "-n", "10"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).replace(&port.to_string(), "PORT");
        (output.status.code(), text)
    };
    assert_eq!(outcome(gateway.address.port()), outcome(server.port()));
}

/// The directory with redis-py and ioredis.
fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ecosystem");
        run(Command::new("tests/ecosystem/install").arg(&directory));
        directory
    })
}

fn redis_py(gateway: &Gateway, mode: &str, protocol: &str) {
    let python = installed().join("python/bin/python");
    let (host, port) = (gateway.address.ip().to_string(), gateway.address.port().to_string());
    run(Command::new(python).args(["tests/ecosystem/redis_py.py", &host, &port, mode, protocol]));
}

fn ioredis(gateway: &Gateway, mode: &str) {
    let (host, port) = (gateway.address.ip().to_string(), gateway.address.port().to_string());
    let modules = installed().join("node/node_modules");
    run(Command::new("node").env("NODE_PATH", modules).args([
        "tests/ecosystem/ioredis.js",
        &host,
        &port,
        mode,
    ]));
}

#[test]
fn redis_py_works_before_one_server() {
    for protocol in ["2", "3"] {
        redis_py(&shared::single(module_path!()).1, "plain", protocol);
        redis_py(posing(), "cluster", protocol);
    }
}

#[test]
fn redis_py_works_before_a_cluster() {
    for (mode, protocol) in [("plain", "2"), ("plain", "3"), ("cluster", "2"), ("cluster", "3")] {
        redis_py(&shared::cluster(module_path!()).1, mode, protocol);
    }
}

#[test]
fn ioredis_works_before_one_server() {
    ioredis(&shared::single(module_path!()).1, "plain");
    ioredis(posing(), "cluster");
}

#[test]
fn clients_work_where_every_key_is_folded() {
    let config = "[[rule]]\nmatch = '*'\nmode = 'combine'\n";
    let gateway = shared::gateway(module_path!(), config);
    ["2", "3"].iter().for_each(|protocol| redis_py(&gateway, "plain", protocol));
    ioredis(&gateway, "plain");
    let gateway = Gateway::before(&shared::cluster(module_path!()).0).config(config).start();
    redis_py(&gateway, "cluster", "2");
    ioredis(&gateway, "cluster");
}

#[test]
fn ioredis_works_before_a_cluster() {
    for mode in ["plain", "cluster"] {
        ioredis(&shared::cluster(module_path!()).1, mode);
    }
}

/// Clients check the certificate, and in cluster mode follow the ports that they are told: those of TLS.
#[test]
fn client_libraries_work_with_tls() {
    let secured = Secured::new();
    let ca = secured.authority.ca().display().to_string();
    let server = Server::secured(secured, &[]);
    let cluster = Cluster::secured(secured, &[]);
    let before_server = Gateway::before(&server).secured(secured).start();
    let before_cluster = Gateway::before(&cluster).secured(secured).start();
    let node_modules = installed().join("node/node_modules");
    let python = installed().join("python/bin/python");
    for (gateway, mode) in
        [(&before_server, "plain"), (&before_cluster, "plain"), (&before_cluster, "cluster")]
    {
        let address = gateway.tls.expect("it listens for TLS");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        for protocol in ["2", "3"] {
            let script = "tests/ecosystem/redis_py.py";
            run(Command::new(&python).args([script, &host, &port, mode, protocol, &ca]));
        }
        for script in ["tests/ecosystem/ioredis.js", "tests/ecosystem/node_redis_tls.js"] {
            run(Command::new("node").env("NODE_PATH", &node_modules).args([script, &host, &port, mode, &ca]));
        }
    }
}
