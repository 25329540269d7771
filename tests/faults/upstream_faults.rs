//! What clients see when a server dies, hangs, or a connection to it is cut: writes of unknown outcome are called that and
//! never sent twice, reads are sent again, and only those who wait for the broken part wait.

use crate::support::relay::Relay;
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, Version, wait_until};

/// With one worker, so that the connection to the server which the clients use is open before replies are held.
fn behind_relay(config: &str) -> (Server, Relay, Gateway) {
    let (server, relay, gateway) = Relay::between(config);
    let mut client = gateway.client();
    client.check("SET warm up", "+OK");
    client.check("EVAL \"return 0\" 0", ":0");
    (server, relay, gateway)
}

#[test]
fn a_write_in_flight_on_a_cut_connection_is_of_unknown_outcome_and_not_sent_again() {
    let (_server, relay, gateway) = behind_relay("");
    for (number, line) in
        ["INCR cut:counter", "RPUSH cut:list v", "SET cut:k v", "EVAL \"return 1\" 0"].iter().enumerate()
    {
        let mut client = gateway.client();
        relay.hold_replies(true);
        client.send_line(line);
        let bytes = request(line);
        wait_until(&format!("{line} is at the server"), || relay.times_sent(&bytes) == 1);
        relay.cut();
        relay.hold_replies(false);
        let reply = one_line(&client.reply());
        assert!(
            reply.starts_with("-ERR hotgate: ") && reply.contains("outcome is unknown"),
            "{line} -> {reply}"
        );
        // The connection to the client lives, and the gateway connects anew.
        wait_until("the gateway is back", || client.ask(&format!("SET cut:after {number}")) == "+OK");
        wait_until("its connection for scripts is back", || client.ask("EVAL \"return 0\" 0") == ":0");
        assert_eq!(relay.times_sent(&bytes), 1, "{line} was sent again");
    }
    let mut client = gateway.client();
    client.check("GET cut:counter", "$1 1");
    client.check("LLEN cut:list", ":1");
}

#[test]
fn a_read_in_flight_on_a_cut_connection_is_sent_again() {
    let (_server, relay, gateway) = behind_relay("");
    gateway.client().check("RPUSH cut:read a b", ":2");
    for (line, reply) in
        [("GET warm", "$2 up"), ("LRANGE cut:read 0 -1", "*2 $1 a $1 b"), ("MGET warm none", "*2 $2 up $-1")]
    {
        let mut client = gateway.client();
        wait_until("the ordinary connection is back", || client.ask("SET warm up") == "+OK");
        relay.hold_replies(true);
        client.send_line(line);
        wait_until("the read is at the server", || relay.times_sent(&request(line)) == 1);
        relay.cut();
        relay.hold_replies(false);
        client.expect(line, reply);
        assert_eq!(relay.times_sent(&request(line)), 2);
    }
}

/// Members of one pipeline meet the cut each in its own way, and their replies stay in order.
#[test]
fn a_pipeline_on_a_cut_connection_is_answered_in_order() {
    let (_server, relay, gateway) = behind_relay("");
    let mut client = gateway.client();
    relay.hold_replies(true);
    let lines = ["GET warm", "INCR cut:order", "PING", "GET warm", "RPUSH cut:order2 v", "ECHO end"];
    client.send(&lines.iter().flat_map(|line| request(line)).collect::<Vec<u8>>());
    wait_until("the pipeline is at the server", || relay.times_sent(&request("RPUSH cut:order2 v")) == 1);
    relay.cut();
    relay.hold_replies(false);
    for (line, reply) in
        lines.iter().zip(["$2 up", "-ERR hotgate: ...", "+PONG", "$2 up", "-ERR hotgate: ...", "$3 end"])
    {
        client.expect(line, reply);
    }
    assert_eq!(relay.times_sent(&request("INCR cut:order")), 1);
}

#[test]
fn a_cut_ends_the_sessions_that_it_breaks_and_says_so() {
    let (_server, relay, gateway) = behind_relay("");
    let mut transaction = gateway.client();
    transaction.check("WATCH cut:multi", "+OK");
    transaction.check("MULTI", "+OK");
    transaction.check("INCR cut:multi", "+QUEUED");
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP cut:none 0");
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE cut:channel", "*3 $9 subscribe $11 cut:channel :1");
    wait_until("BLPOP is at the server", || relay.times_sent(&request("BLPOP cut:none 0")) == 1);
    relay.cut();
    // A watch that was lost fails its transaction: the key may have changed unseen.
    transaction.check("EXEC", "*-1");
    // The others are told, by an error or by the end of their connection; none is left waiting.
    for (name, client) in [("blocked", &mut blocked), ("subscriber", &mut subscriber)] {
        if let Ok(reply) = client.try_reply() {
            assert!(reply.starts_with(b"-"), "{name}: {}", one_line(&reply));
        }
    }
    wait_until("the server is back", || gateway.client().ask("EXISTS cut:multi") == ":0");
}

/// Keys that were watched before may have changed, whatever is watched since.
#[test]
fn a_lost_watch_is_not_forgotten_over_another() {
    let (_server, relay, gateway) = behind_relay("");
    let mut client = gateway.client();
    client.check("WATCH lost:a", "+OK");
    relay.cut();
    wait_until("another key is watched", || client.ask("WATCH lost:b") == "+OK");
    client.check("MULTI", "+OK");
    client.check("SET lost:b v", "+QUEUED");
    client.check("EXEC", "*-1");
    client.check("WATCH lost:a", "+OK");
    client.check("MULTI", "+OK");
    client.check("SET lost:b v", "+QUEUED");
    client.check("EXEC", "*1 +OK");
}

/// The transaction is over for its client, though nobody knows how it ended; the next one has watched nothing.
#[test]
fn a_lost_exec_ends_its_watch() {
    let (_server, relay, gateway) = behind_relay("");
    let mut client = gateway.client();
    client.check("WATCH lost:c", "+OK");
    client.check("MULTI", "+OK");
    client.check("SET lost:d v", "+QUEUED");
    relay.hold_replies(true);
    client.send_line("EXEC");
    wait_until("EXEC is at the server", || relay.times_sent(&request("EXEC")) == 1);
    relay.cut();
    relay.hold_replies(false);
    client.expect("EXEC", "-ERR hotgate: ...");
    client.check("MULTI", "+OK");
    client.check("SET lost:d v", "+QUEUED");
    wait_until("the server is back", || gateway.client().ask("EXISTS lost:c") == ":0");
    client.check("EXEC", "*1 +OK");
}

#[test]
fn a_request_that_takes_too_long_fails_and_its_late_reply_reaches_nobody_else() {
    let server = Server::start();
    let gateway = Gateway::before(&server)
        .flag("--workers", "1")
        .config("[upstream]\nrequest_timeout = \"300ms\"\n")
        .start();
    let mut client = gateway.client();
    client.check("SET late:k old", "+OK");
    server.pause();
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send_line("INCR late:counter");
    }
    client.check("GET late:k", "-ERR hotgate: ...");
    for client in &mut clients {
        let reply = one_line(&client.reply());
        assert!(reply.starts_with("-ERR hotgate: ") && reply.contains("outcome is unknown"), "{reply}");
    }
    server.resume();
    wait_until("the server answers again", || client.ask("SET late:k new") == "+OK");
    for (number, client) in clients.iter_mut().enumerate() {
        client.check(&format!("ECHO {number}"), &format!("$1 {number}"));
        client.check("GET late:k", "$3 new");
    }
}

#[test]
fn a_gateway_starts_before_its_server_and_finds_it_later() {
    let mut server = Server::start();
    server.kill();
    let gateway = Gateway::before(&server).config("[upstream]\nunavailable_wait = \"50ms\"\n").start();
    let mut client = gateway.client();
    client.check("PING", "+PONG");
    client.check("SET early v", "-ERR hotgate: ...");
    client.check("GET early", "-ERR hotgate: ...");
    server.restart();
    wait_until("the server is found", || client.ask("SET early v") == "+OK");
    client.check("GET early", "$1 v");
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let mut server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut clients: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    for round in 0..3 {
        for client in &mut clients {
            client.check("SET restart v", "+OK");
        }
        server.restart();
        for client in &mut clients {
            wait_until("the server is found again", || client.ask(&format!("ECHO {round}")).starts_with('$'));
            wait_until("the server is found again", || client.ask("SET restart v") == "+OK");
        }
    }
}

/// While a server is away the gateway knocks with growing pauses, however many clients ask.
#[test]
fn clients_cause_no_storm_of_connections() {
    let (_server, relay, gateway) =
        behind_relay("[upstream]\nunavailable_wait = \"10ms\"\nbackoff_min = \"50ms\"\n");
    relay.refuse(true);
    relay.cut();
    let before = relay.accepted();
    let mut clients: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            client.send_line("SET storm v");
        }
        for client in &mut clients {
            let reply = one_line(&client.reply());
            assert!(reply.starts_with("-ERR hotgate: "), "{reply}");
        }
    }
    let attempts = relay.accepted() - before;
    assert!(attempts < 100, "{attempts} connections for 1000 requests");
    relay.refuse(false);
    wait_until("the server is found again", || clients[0].ask("SET storm v") == "+OK");
}

/// A cluster that waits so long for a silent node that no failover interferes.
fn patient_cluster() -> Cluster {
    Cluster::with(&["--cluster-node-timeout", "600000", "--cluster-require-full-coverage", "no"])
}

/// Keys of the first two masters of `cluster`.
fn keys_of_two_masters(cluster: &Cluster) -> [(usize, String); 2] {
    let first = (cluster.master_of("key:0"), "key:0".to_string());
    let other =
        (1..).map(|number| format!("key:{number}")).find(|key| cluster.master_of(key) != first.0).unwrap();
    [first, (cluster.master_of(&other), other)]
}

#[test]
fn a_hanging_shard_delays_only_those_who_wait_for_it() {
    let cluster = patient_cluster();
    let gateway = Gateway::before(&cluster).config("[upstream]\nrequest_timeout = \"9m\"\n").start();
    let [(slow_node, slow), (_, quick)] = keys_of_two_masters(&cluster);
    let mut waiting = gateway.client();
    waiting.check(&format!("SET {slow} v"), "+OK");
    cluster.pause(slow_node);
    // This one waits: its second reply must not overtake its first.
    waiting.send_line(&format!("INCR {slow}:none{{{slow}}}"));
    waiting.send_line(&format!("SET {quick} waiting"));
    let mut split = gateway.client();
    split.send_line(&format!("MGET {quick} {slow}"));
    let mut others: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for number in 0..250 {
        for (index, client) in others.iter_mut().enumerate() {
            client.check(&format!("SET {{{quick}}}:{index} {number}"), "+OK");
        }
    }
    cluster.resume(slow_node);
    waiting.expect("INCR", ":1");
    waiting.expect("SET", "+OK");
    let reply = one_line(&split.reply());
    assert!(reply.starts_with("*2 ") && reply.ends_with("$1 v"), "{reply}");
}

#[test]
fn a_dead_shard_fails_only_those_who_need_it() {
    let mut cluster = patient_cluster();
    let gateway = Gateway::before(&cluster).config("[upstream]\nunavailable_wait = \"50ms\"\n").start();
    let [(dead_node, dead), (_, quick)] = keys_of_two_masters(&cluster);
    let mut client = gateway.client();
    // Nobody waits here for longer than 50 ms, so not for a machine that is busy while the gateway starts either.
    wait_until("both shards are known", || {
        [dead.as_str(), quick.as_str()].iter().all(|key| client.ask(&format!("SET {key} v")) == "+OK")
    });
    cluster.kill(dead_node);
    let mut other = gateway.client();
    for _ in 0..20 {
        client.check(&format!("SET {dead} v"), "-ERR hotgate: ...");
        other.check(&format!("GET {quick}"), "$1 v");
    }
    client.check(&format!("MGET {quick} {dead}"), "-ERR hotgate: ...");
    client.check(&format!("GET {quick}"), "$1 v");
}

/// Reads go on from a replica where the configuration allows it.
#[test]
fn reads_may_come_from_a_replica_of_a_dead_master() {
    let mut cluster = patient_cluster();
    let gateway = Gateway::before(&cluster)
        .config("[upstream]\nread_from = \"prefer-replica\"\nunavailable_wait = \"50ms\"\n")
        .start();
    let mut client = gateway.client();
    client.check("SET replicated v", "+OK");
    let master = cluster.master_of("replicated");
    cluster.client(master).check("SET replicated v", "+OK");
    wait_until("the replica has it", || gateway.client().ask("GET replicated") == "$1 v");
    cluster.kill(master);
    client.check("GET replicated", "$1 v");
    client.check("SET replicated w", "-ERR hotgate: ...");
}

/// Redis answers one after the other. As long as it does, the last of many is not a sign of its death.
#[test]
fn many_slow_requests_are_answered_each() {
    let server = Server::start();
    // All of them take longer than the bound, and the gaps between replies are so far below it that a busy machine does not matter.
    let config = "[upstream]\nrequest_timeout = '2s'\n";
    let gateway = Gateway::before(&server).flag("--workers", "1").config(config).start();
    let mut client = gateway.client();
    // Redis answers what it has read at once all at once, which is 16 KiB: so each is half of that.
    let slow = "EVAL \"local stop = redis.call('TIME') local us = stop[1] * 1e6 + stop[2] + 50000 repeat local now = redis.call('TIME') until now[1] * 1e6 + now[2] >= us return 1\" 1 slow ";
    client.send(&request(&format!("{slow}{}", "x".repeat(8000))).repeat(50));
    (0..50).for_each(|_| client.expect("EVAL", ":1"));
    assert!(!gateway.log().contains("lost a connection"), "{}", gateway.log());
}

/// What goes on a connection of its client's own is not waited for any longer.
#[test]
fn a_silent_node_ends_what_waits_on_connections_of_clients() {
    let server = Server::start();
    let config = "[upstream]\nrequest_timeout = '300ms'\nunavailable_wait = '300ms'\n";
    let gateway = Gateway::before(&server).config(config).start();
    let (mut tracking, mut watching) = (gateway.speaking(Version::Resp3), gateway.client());
    tracking.check("CLIENT TRACKING ON", "+OK");
    tracking.check("GET silent:k", "_");
    watching.check("WATCH silent:k", "+OK");
    watching.check("MULTI", "+OK");
    watching.check("GET silent:k", "+QUEUED");
    server.pause();
    tracking.send_line("GET silent:k");
    watching.send_line("EXEC");
    tracking.expect("the end of what was tracked", ">2 $10 invalidate _");
    tracking.expect("GET", "-ERR hotgate:...");
    watching.expect("EXEC", "-ERR hotgate:...");
    server.resume();
}
