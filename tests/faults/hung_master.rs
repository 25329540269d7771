//! A master that hangs and is failed over is not waited for once its replica has the slots: what had not been sent to it goes
//! to the new master, reads that had been sent go there again, and writes that had been sent are called unknown. No time
//! limit of the gateway ends anything here: they are longer than the tests wait.

use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, Turn, Version, wait_until};

/// A cluster is six servers: two at a time would only slow each other down.
static ONE_AT_A_TIME: Turn = Turn::new();

const PATIENT: &str = "[upstream]\nconnect_timeout = '1m'\nrequest_timeout = '1h'\nunavailable_wait = '2s'\n";

fn start() -> (Cluster, Gateway) {
    let cluster = Cluster::with(&["--cluster-node-timeout", "1500"]);
    let gateway = Gateway::before(&cluster).config(PATIENT).start();
    (cluster, gateway)
}

/// The replica of the master that hangs has what was written by now.
fn settle(cluster: &Cluster, key: &str) -> usize {
    let master = cluster.master_of(key);
    cluster.client(master).check("WAIT 1 0", ":1");
    master
}

#[test]
fn what_waits_for_a_hung_master_goes_on_at_its_successor() {
    let _alone = ONE_AT_A_TIME.take();
    let (cluster, gateway) = start();
    gateway.client().check("MSET {hung}k v {hung}counter 1 {hung}parked 1", "+OK");
    gateway.client().check("EXISTS {hung}k", ":1");
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP {hung}list 0");
    let master = settle(&cluster, "{hung}");
    wait_until("BLPOP waits", || cluster.client(master).text("INFO clients").contains("blocked_clients:1"));
    cluster.pause(master);

    // On connections that are open: sent, and answered by nobody.
    let mut sent: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for (client, line) in
        sent.iter_mut().zip(["GET {hung}k", "INCR {hung}counter", "MGET {hung}k {other}", "STRLEN {hung}k"])
    {
        client.send_line(line);
    }
    // More than the sockets take: the end of it is not sent.
    let value = "x".repeat(1_000_000);
    let mut large: Vec<Client> = (0..16).map(|_| gateway.client()).collect();
    for (number, client) in large.iter_mut().enumerate() {
        client.send_line(&format!("SET {{hung}}large:{number} {value}"));
    }
    // On connections that are not open yet: parked while they connect.
    let mut parked = [gateway.speaking(Version::Resp3), gateway.speaking(Version::Resp3), gateway.client()];
    for (client, line) in parked.iter_mut().zip([
        "GET {hung}k",
        "INCR {hung}parked",
        "EVAL \"return redis.call('INCR', KEYS[1])\" 1 {hung}parked",
    ]) {
        client.send_line(line);
    }
    for (client, replies) in parked.iter_mut().zip([["$1 v"; 2], [":2", ":3"], [":2", ":3"]]) {
        let reply = one_line(&client.reply());
        assert!(replies.contains(&reply.as_str()), "{reply}");
    }
    // Its worker may have had no connection to that node yet: then it was not sent before.
    let counted = sent[1].reply() == b":2\r\n";
    let [get, _, mget, length] = &mut sent[..] else { panic!("four clients") };
    for (client, reply) in [(get, "$1 v"), (mget, "*2 $1 v $-1"), (length, ":1")] {
        client.expect("a read that was sent", reply);
    }
    let replies: Vec<String> = large.iter_mut().map(|client| one_line(&client.reply())).collect();
    assert!(replies.iter().any(|reply| reply == "+OK"), "what was not sent is sent: {replies:?}");
    for reply in &replies {
        assert!(reply == "+OK" || reply.contains("outcome is unknown"), "{reply}");
    }
    // As with Redis, a client that waits is told by the end of its connection.
    assert!(blocked.try_reply().map_or(true, |reply| reply.starts_with(b"-")));
    let count = if counted { 3 } else { 2 };
    gateway.client().check("INCR {hung}counter", &format!(":{count}"));
    cluster.resume(master);
    cluster.wait_until_whole();
    gateway.client().check("GET {hung}counter", &format!("$1 {count}"));
    gateway.client().check("GET {hung}parked", "$1 3");
}

/// The same for a key that is combined.
#[test]
fn a_combined_counter_of_a_hung_master_goes_on_at_its_successor() {
    let _alone = ONE_AT_A_TIME.take();
    let cluster = Cluster::with(&["--cluster-node-timeout", "1500"]);
    let rule = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
    let gateway = Gateway::before(&cluster).config(&format!("{PATIENT}{rule}")).start();
    gateway.client().check("INCR hot:counter", ":1");
    let master = settle(&cluster, "hot:counter");
    cluster.pause(master);
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send_line("INCR hot:counter"));
    let mut acknowledged = 0;
    for client in &mut clients {
        let reply = one_line(&client.reply());
        acknowledged += i64::from(reply.starts_with(':'));
        assert!(reply.starts_with(':') || reply.contains("unknown"), "{reply}");
    }
    gateway.client().check("INCR hot:counter", &format!(":{}", acknowledged + 2));
    cluster.resume(master);
    cluster.wait_until_whole();
}
