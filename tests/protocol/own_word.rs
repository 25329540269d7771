//! What Redis itself refuses for a state that it is in (`LOADING`, `CLUSTERDOWN`, `MASTERDOWN`, `BUSY`, `MISCONF`, ...) reaches
//! the client in Redis's own words, whatever way the command went: at once where Redis would have said it at once and
//! waiting does not help, and after `upstream.unavailable_wait` where the state passes.

use crate::support::relay::Relay;
use crate::support::text::one_line;
use crate::support::{BOTH_VERSIONS, Cluster, Gateway, Server, wait_until};

/// The words of redis 7.0, as its `shared` objects have them.
const WORDS: &[&str] = &[
    "-LOADING Redis is loading the dataset in memory",
    "-CLUSTERDOWN Hash slot not served",
    "-CLUSTERDOWN The cluster is down",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-TRYAGAIN Multiple keys request during rehashing of slot",
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
    "-NOREPLICAS Not enough good replicas to write.",
    "-OOM command not allowed when used memory > 'maxmemory'.",
];

const COMMANDS: &[&str] = &[
    "INCR own:n",
    "EXISTS own:n",
    "SET own:k v",
    "MSET own:a 1 own:b 2",
    "EVAL \"return 1\" 1 own:k",
    "WATCH own:k",
    "INCR own:hot:n",
    "EXISTS own:hot:n",
    "INCR own:told:n",
    "BLMOVE own:none own:to LEFT LEFT 0.01",
];

#[test]
fn what_redis_says_of_its_state_reaches_the_client() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = "[upstream]\nunavailable_wait = '50ms'\n[[rule]]\nmatch = 'own:hot:*'\nmode = 'combine'\n";
    let gateway = Gateway::before(&relay).flag("--workers", "1").config(config).start();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        // The connections are open.
        for command in COMMANDS {
            client.call_line(command);
        }
        client.check("UNWATCH", "+OK");
        for word in WORDS {
            relay.say_instead(Some(word));
            for command in COMMANDS {
                let reply = one_line(&client.call_line(command));
                assert_eq!(&reply, word, "{version:?}: {command}");
            }
            relay.say_instead(None);
            wait_until("Redis is itself again", || client.ask("SET own:k v") == "+OK");
            client.check("UNWATCH", "+OK");
        }
    }
}

/// Real ones: a replica without its master, a cluster without an owner of the slot, a server that can't save.
#[test]
fn real_servers_in_trouble_are_heard() {
    let replica = Server::with(&["--replica-serve-stale-data", "no", "--replicaof", "127.0.0.1 1"]);
    let broken = Server::with(&["--save", "3600 1", "--dbfilename", "taken"]);
    for (server, line) in [(&replica, "GET own:k"), (&broken, "SET own:k v")] {
        let gateway = Gateway::before(&server).config("[upstream]\nunavailable_wait = '50ms'\n").start();
        let mut direct = server.client();
        if line.starts_with("SET") {
            let directory = direct.list("CONFIG GET dir")[1].clone();
            std::fs::create_dir_all(format!("{directory}/taken/full")).unwrap();
            direct.check("SET own:before v", "+OK");
            wait_until("a snapshot has failed", || {
                direct.ask("BGSAVE");
                direct.text("INFO persistence").contains("rdb_last_bgsave_status:err")
            });
        }
        let expected = direct.ask(line);
        assert!(expected.starts_with("-M"), "{expected}");
        for version in BOTH_VERSIONS {
            gateway.speaking(version).check(line, &expected);
        }
    }
}

#[test]
fn a_slot_that_nobody_serves_is_called_so() {
    let cluster = Cluster::with(&["--cluster-require-full-coverage", "no"]);
    let gateway = Gateway::before(&cluster).config("[upstream]\nunavailable_wait = '50ms'\n").start();
    let key = "own";
    let slot = cluster.client(0).integer(&format!("CLUSTER KEYSLOT {key}"));
    gateway.client().check(&format!("SET {key} v"), "+OK");
    for node in 0..cluster.len() {
        cluster.client(node).ask(&format!("CLUSTER DELSLOTS {slot}"));
    }
    wait_until("the slot is nobody's", || {
        cluster
            .masters()
            .into_iter()
            .all(|node| cluster.client(node).ask("GET own").starts_with("-CLUSTERDOWN"))
    });
    for version in BOTH_VERSIONS {
        for line in
            ["GET own", "INCR own", "BLPOP own 0.01", "WATCH own", "MSET own 1 {own}b 2", "MGET own other"]
        {
            let mut client = gateway.speaking(version);
            wait_until(line, || client.ask(line) == "-CLUSTERDOWN Hash slot not served");
        }
        let mut client = gateway.speaking(version);
        client.check("GET other", if version == BOTH_VERSIONS[0] { "$-1" } else { "_" });
    }
}

/// The commands of a transaction are refused after its client was told `QUEUED`: `EXEC` says why.
#[test]
fn a_transaction_that_redis_gives_up_says_why() {
    let server = Server::with(&["--maxmemory", "1"]);
    let gateway = Gateway::before_server(&server);
    let mut direct = server.client();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for before in ["PING", "WATCH own:k", "SELECT 1"] {
            direct.check("CONFIG SET maxmemory 1", "+OK");
            let refused = "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.";
            let written = "*1 +OK";
            for expected in [refused, written] {
                client.call_line(before);
                client.check("MULTI", "+OK");
                client.check("SET own:k v", "+QUEUED");
                client.check("EXEC", expected);
                direct.check("CONFIG SET maxmemory 0", "+OK");
            }
        }
    }
}
