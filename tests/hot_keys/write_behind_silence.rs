//! A master that was silent may have been replaced meanwhile: before what write-behind gathered in the silence is sent to it,
//! the others are asked.

use std::time::{Duration, Instant};

use crate::support::{Client, Cluster, Gateway, Server, wait_until};

const CONFIG: &str = "[[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n\
                      [write_behind]\nflush_interval = \"1s\"\n\
                      [upstream]\nrequest_timeout = \"60s\"\ntopology_refresh = \"1h\"\n\
                      [log]\nlevel = \"debug\"\n";

/// Adds one again and again for so long that the silence counts as one, and until something has happened; gives how many were
/// acknowledged. What is pending from before makes that the total is known.
fn gather(client: &mut Client, counted_from: i64, mut happened: impl FnMut() -> bool) -> i64 {
    let began = Instant::now();
    let mut added = 0;
    while began.elapsed() < Duration::from_millis(2500) || !happened() {
        added += 1;
        assert_eq!(client.integer("INCR wb:1"), counted_from + added);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    added
}

fn looks_because_of_silence(gateway: &Gateway) -> usize {
    gateway.log().matches("reason=Silence").count()
}

#[test]
fn one_server_is_looked_at_once_and_gets_everything() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut client = gateway.client();
    client.check("INCR wb:1", ":1");
    wait_until("it is flushed", || server.client().ask("GET wb:1") == "$1 1");
    assert_eq!(looks_because_of_silence(&gateway), 0);
    client.check("INCR wb:1", ":2");
    server.pause();
    let total = 2 + gather(&mut client, 2, || true);
    server.resume();
    let mut direct = server.client();
    wait_until("all is there", || direct.ask("GET wb:1").ends_with(&format!(" {total}")));
    assert!(looks_because_of_silence(&gateway) > 0, "{}", gateway.log());
    client.check("INCR wb:1", &format!(":{}", total + 1));
}

/// The flush that was under way when the silence began, of a second at the most, is the old master's to lose. What gathered
/// during the seconds until the promotion, which is far more, goes to the new one.
#[test]
fn what_gathered_while_a_master_hung_goes_to_the_one_that_was_promoted() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(CONFIG).start();
    let mut client = gateway.client();
    client.check("INCR wb:1", ":1");
    let old = cluster.master_of("wb:1");
    wait_until("it is flushed", || cluster.client(old).ask("GET wb:1") == "$1 1");
    let replica = cluster.replica_of(old);
    wait_until("the replica has it", || {
        let mut direct = cluster.client(replica);
        direct.ask("READONLY");
        direct.ask("GET wb:1") == "$1 1"
    });
    client.check("INCR wb:1", ":2");
    cluster.pause(old);
    let added =
        gather(&mut client, 2, || cluster.client(replica).text("INFO replication").contains("role:master"));
    cluster.resume(old);
    wait_until("what gathered is at the new master", || {
        let reply = cluster.client(replica).ask("GET wb:1");
        reply
            .rsplit(' ')
            .next()
            .and_then(|value| value.parse::<i64>().ok())
            .is_some_and(|value| value > added / 2)
    });
}
