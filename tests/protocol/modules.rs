//! Commands of a module that is loaded into the servers pass, whatever they answer: before one server and before a cluster, on
//! cold keys and on combined ones. The module is built here from `tests/module`.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::text::one_line;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

/// The path of the module, which is built once.
fn module() -> &'static str {
    static MODULE: OnceLock<String> = OnceLock::new();
    MODULE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/module/Cargo.toml");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("module");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(&source)
            .arg("--target-dir")
            .arg(&target)
            .status()
            .unwrap();
        assert!(built.success(), "the module can't be built; tests/setup installs libclang, which it needs");
        target.join("debug/libhotgate_test_module.so").display().to_string()
    })
}

const RULE: &str = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";

const LINES: &[&str] = &[
    "LEDGER.READ {K}",
    "LEDGER.SHAPE {K}",
    "LEDGER.ADD {K} 5",
    "INCR {K}",
    "LEDGER.READ {K}",
    "INCRBY {K} 4",
    "LEDGER.ADD {K} -3",
    "GET {K}",
    "LEDGER.SHAPE {K}",
    "LEDGER.ADD {K}",
    "LEDGER.ADD {K} much",
    "LEDGER.READ",
    "SET {K} text",
    "LEDGER.READ {K}",
    "DEL {K}",
    "LPUSH {K} 1",
    "LEDGER.ADD {K} 1",
    "MULTI",
    "DEL {K}",
    "LEDGER.ADD {K} 7",
    "LEDGER.SHAPE {K}",
    "EXEC",
    "EVAL \"return redis.call('LEDGER.ADD', KEYS[1], 1)\" 1 {K}",
    "COMMAND GETKEYS LEDGER.ADD {K} 1",
    "DEL {K}",
];

/// The gateway asks its servers for their commands as it starts.
fn wait_until_known(gateway: &Gateway) {
    wait_until("the gateway knows the module", || gateway.client().ask("LEDGER.READ none") == "$-1");
}

/// Whole replies are those of a server with the module, one by one and in one pipeline.
fn check(gateway: &Gateway, plain: &Server) {
    for version in BOTH_VERSIONS {
        for key in ["cold:k", "hot:k", "{slot}cold", "hot:{other}"] {
            let lines: Vec<String> = LINES.iter().map(|line| line.replace("{K}", key)).collect();
            let mut direct = Client::speaking(plain.address(), version);
            let expected: Vec<Vec<u8>> = lines.iter().map(|line| direct.call_line(line)).collect();
            let mut single = gateway.speaking(version);
            for (line, expected) in lines.iter().zip(&expected) {
                assert_eq!(one_line(&single.call_line(line)), one_line(expected), "{version:?}: {line}");
            }
            let mut pipelined = gateway.speaking(version);
            lines.iter().for_each(|line| pipelined.send_line(line));
            for (line, expected) in lines.iter().zip(&expected) {
                assert_eq!(pipelined.reply(), *expected, "{version:?}, in a pipeline: {line}");
            }
        }
    }
}

/// Increments by `INCR`, which are combined, and by the module, which are not, on one key: none is lost.
fn count(gateway: &Gateway) {
    let each = 200;
    std::thread::scope(|scope| {
        for number in 0..6 {
            let mut client = gateway.client();
            let line = if number % 2 == 0 { "INCR hot:sum" } else { "LEDGER.ADD hot:sum 1" };
            scope.spawn(move || {
                for _ in 0..each {
                    let reply = client.call_line(line);
                    assert!(!reply.starts_with(b"-"), "{}", one_line(&reply));
                }
            });
        }
    });
    gateway.client().check("LEDGER.READ hot:sum", &format!(":{}", 6 * each));
}

#[test]
fn a_module_before_one_server() {
    let options = ["--loadmodule", module()];
    let (server, plain) = (Server::with(&options), Server::with(&options));
    let gateway = Gateway::before(&server).config(RULE).start();
    wait_until_known(&gateway);
    check(&gateway, &plain);
    count(&gateway);
}

#[test]
fn a_module_before_a_cluster() {
    let options = ["--loadmodule", module()];
    let (cluster, plain) = (Cluster::with(&options), Server::with(&options));
    let gateway = Gateway::before(&cluster).config(RULE).start();
    wait_until_known(&gateway);
    check(&gateway, &plain);
    count(&gateway);
    // The gateway sends each key to the node that has it.
    for key in ["{a}", "{b}", "{c}"] {
        gateway.client().check(&format!("LEDGER.ADD {key} 2"), "*2 :0 :2");
        cluster.client(cluster.master_of(key)).check(&format!("LEDGER.READ {key}"), ":2");
    }
}

#[test]
fn a_restricted_user_runs_them_as_itself() {
    let server = Server::with(&["--loadmodule", module()]);
    for (identity, without_keys) in
        [("same", "$3 app"), ("gateway", "-NOPERM No permissions to access a key")]
    {
        let gateway =
            Gateway::before(&server).config(&format!("auth.upstream_identity = \"{identity}\"\n")).start();
        wait_until_known(&gateway);
        for mut admin in [server.client(), gateway.client()] {
            admin.check("ACL SETUSER app reset on >pw ~app:* +@all -@admin -@dangerous", "+OK");
        }
        let mut client = gateway.client();
        client.check("AUTH app pw", "+OK");
        client.check("DEL app:k", ":...");
        client.check("LEDGER.ADD app:k 5", "*2 :0 :5");
        client.check("LEDGER.READ other:k", "-NOPERM No permissions to access a key");
        client.check("LEDGER.WHOAMI", without_keys);
        gateway.client().check("LEDGER.WHOAMI", "$7 default");
        client.check("MULTI", "+OK");
        client.check("LEDGER.ADD app:k 1", "+QUEUED");
        client.check("EXEC", "*1 *2 :5 :6");
    }
}
