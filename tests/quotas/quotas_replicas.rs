//! Grants that wait for replicas: what the client of each gets, and that nobody else waits with them.

use std::io::ErrorKind;

use crate::support::figures::quota_figure;
use crate::support::{self, Client, Gateway, Server, wait_until};

/// A master and a replica that follows it.
fn pair() -> (Server, Server) {
    let master = Server::with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    wait_until("the replica follows", || {
        replica.client().text("INFO replication").contains("master_link_status:up")
    });
    (master, replica)
}

/// Whether something has come for this client.
fn has_reply(client: &Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match seen {
        Ok(count) => count > 0,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_grant_waits_for_the_replica_and_nobody_waits_with_it() {
    let (master, replica) = pair();
    let quotas = "[[quota]]\nmatch = 'safe:*'\nlimit = 10\nwait_replicas = 1\nwait_timeout = '1m'\n\
                  [[quota]]\nmatch = 'sold:*'\nlimit = 1\nwait_replicas = 1\nwait_timeout = '1m'\n\
                  [[quota]]\nmatch = 'plain:*'\nlimit = 1000\n";
    let gateway = Gateway::of_two_workers(&master, quotas);
    let mut client = gateway.client();
    client.check("INCR safe:1", ":1");
    client.check("DECR safe:1", ":0");
    client.check("INCR sold:1", ":1");
    client.check("INCR sold:1", "-QUOTA limit of 1 reached for 'sold:1'");

    replica.pause();
    let mut waiting: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for (index, client) in waiting.iter_mut().enumerate() {
        client.send_line(&format!("INCR safe:{}", index % 2 + 1));
    }
    let mut direct = master.client();
    wait_until("the first grants are in the counters", || {
        direct.text("GET safe:1") != "0" && direct.integer("EXISTS safe:2") == 1
    });
    for value in 1..=200 {
        client.check("INCR plain:1", &format!(":{value}"));
        client.check("SET other x", "+OK");
        client.check("INCR sold:1", "-QUOTA limit of 1 reached for 'sold:1'");
    }
    assert!(!waiting.iter().any(has_reply), "answered before the replica had it");
    replica.resume();
    let mut values: Vec<String> = Vec::new();
    for client in &mut waiting {
        values.push(support::text::one_line(&client.reply()));
    }
    values.sort();
    assert_eq!(values, [":1", ":1", ":2", ":2"]);
    assert_eq!(replica.client().text("GET safe:1"), "2");
}

#[test]
fn a_grant_that_no_replica_holds_in_time_is_not_answered_as_one() {
    let (master, replica) = pair();
    let quotas =
        "[[quota]]\nmatch = 'safe:*'\nlimit = 3\nrecheck = '5ms'\nwait_replicas = 1\nwait_timeout = '20ms'\n";
    let gateway = Gateway::of_two_workers(&master, quotas);
    let mut client = gateway.client();
    // On a busy machine a grant may come too late for the replica, and counts all the same.
    let mut late = 0;
    wait_until("a grant is confirmed", || {
        let confirmed = client.ask("INCR safe:1").starts_with(':');
        late += u64::from(!confirmed);
        client.check("DEL safe:1", ":1");
        confirmed
    });
    replica.pause();
    let error = "-QUOTA grant not confirmed by 1 replica within 20ms; 'safe:1' has counted it, but a failover may lose that";
    client.check("INCRBY safe:1 2", error);
    client.check("INCR safe:1", error);
    client.check("INCR safe:1", "-QUOTA limit of 3 reached for 'safe:1'");
    client.check("DECR safe:1", error);
    client.check("GET safe:1", "$1 2");
    assert_eq!(master.client().text("GET safe:1"), "2");
    wait_until("those are counted", || quota_figure(&mut client, "unconfirmed") == late + 3);
    replica.resume();
    wait_until("grants are confirmed again", || {
        client.ask("DECR safe:1");
        client.ask("INCR safe:1").starts_with(':')
    });
}

#[test]
fn of_several_quotas_the_most_replicas_count() {
    let (master, _replica) = pair();
    let quotas = "[[quota]]\nmatch = 'safe:*'\nlimit = 100\nwait_replicas = 1\nwait_timeout = '1m'\n\
                  [[quota]]\nmatch = '*:1'\nlimit = 10\nwindow = '1d'\nwait_replicas = 2\nwait_timeout = '20ms'\n";
    let gateway = Gateway::of_two_workers(&master, quotas);
    let mut client = gateway.client();
    client.check("INCR safe:2", ":1");
    client.check("INCR safe:1", "-QUOTA grant not confirmed by 2 replicas within 20ms...");
}

#[test]
fn a_master_that_is_lost_leaves_its_grants_unconfirmed() {
    let (mut master, replica) = pair();
    let gateway = Gateway::of_two_workers(
        &master,
        "[[quota]]\nmatch = 'safe:*'\nlimit = 3\nwait_replicas = 1\nwait_timeout = '1m'\n",
    );
    let mut client = gateway.client();
    client.check("INCR safe:1", ":1");
    replica.pause();
    client.send_line("INCR safe:1");
    let mut direct = master.client();
    // Earlier, the flush itself would be in doubt, and its client would wait for the master to come back.
    wait_until("the grant waits for the replica", || {
        direct.text("INFO clients").contains("blocked_clients:1")
    });
    master.kill();
    client.expect("INCR safe:1", "-QUOTA grant not confirmed by 1 replica...");
}
