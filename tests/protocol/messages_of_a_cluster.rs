//! Publish/subscribe through the gateway before a cluster: counts are of all that a client is subscribed to, `PUBLISH` counts who
//! received it, and keyspace events come from every master, once each.

use std::collections::BTreeSet;

use crate::support::text::one_line;
use crate::support::{
    BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, shared, wait_for, wait_until,
};

/// Keys in the slots of three different masters, as slots are dealt out at first.
const APART: [&str; 3] = ["bar", "foo", "c"];

fn masters_of(client: &mut Client) -> BTreeSet<i64> {
    APART.iter().map(|key| client.integer(&format!("CLUSTER KEYSLOT {key}")) / 5462).collect()
}

/// Sends a line, and reads as many confirmations.
fn confirmations(client: &mut Client, line: &str, count: usize) -> Vec<String> {
    client.send_line(line);
    (0..count).map(|_| one_line(&client.reply())).collect()
}

/// The same lines go to a plain server, which counts over everything, and every confirmation is compared.
#[test]
fn confirmations_count_as_those_of_one_server() {
    let (_, gateway) = shared::cluster(module_path!());
    let plain = Server::start();
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(plain.address(), version));
        assert_eq!(masters_of(&mut through).len(), 3, "one for each master");
        for (line, count) in [
            ("SSUBSCRIBE bar", 1),
            ("SSUBSCRIBE foo", 1),
            ("SSUBSCRIBE c", 1),
            ("SSUBSCRIBE {c}2 {c}3", 2),
            ("SSUBSCRIBE c", 1),
            ("SUBSCRIBE a b", 2),
            ("PSUBSCRIBE p* q*", 2),
            ("SUNSUBSCRIBE foo", 1),
            ("SUNSUBSCRIBE foo", 1),
            ("SUNSUBSCRIBE other", 1),
            ("UNSUBSCRIBE b nosuch", 2),
            ("SUBSCRIBE __keyspace@0__:k", 1),
            ("PSUBSCRIBE __keyevent*", 1),
            ("UNSUBSCRIBE __keyspace@0__:k", 1),
            ("PUNSUBSCRIBE __keyevent* p*", 2),
            ("PUNSUBSCRIBE q*", 1),
            ("SUNSUBSCRIBE {c}2 {c}3", 2),
            ("SSUBSCRIBE foo", 1),
            ("UNSUBSCRIBE", 1),
            ("UNSUBSCRIBE", 1),
        ] {
            let (mine, theirs) =
                (confirmations(&mut through, line, count), confirmations(&mut direct, line, count));
            assert_eq!(mine, theirs, "{version:?} {line}");
        }
        // All of several nodes at once: the order of names hangs on a hash, the counts do not.
        let counts = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
        };
        let (mine, theirs) =
            (confirmations(&mut through, "SUNSUBSCRIBE", 3), confirmations(&mut direct, "SUNSUBSCRIBE", 3));
        assert_eq!(counts(mine), counts(theirs));
        assert_eq!(
            confirmations(&mut through, "SUNSUBSCRIBE", 1),
            confirmations(&mut direct, "SUNSUBSCRIBE", 1)
        );
        through.check("SET out-of-it 1", "+OK");
    }
}

#[test]
fn nothing_comes_of_shard_channels_that_were_all_left() {
    let (_, gateway) = shared::cluster(module_path!());
    let (mut subscriber, mut publisher) = (gateway.client(), gateway.client());
    confirmations(&mut subscriber, "SUBSCRIBE stays", 1);
    for name in APART {
        confirmations(&mut subscriber, &format!("SSUBSCRIBE {name}"), 1);
        publisher.check(&format!("SPUBLISH {name} before"), ":1");
        assert!(one_line(&subscriber.reply()).contains("before"));
    }
    confirmations(&mut subscriber, "SUNSUBSCRIBE", 3);
    for name in APART {
        wait_until("nobody is subscribed", || publisher.ask(&format!("SPUBLISH {name} after")) == ":0");
    }
    publisher.check("PUBLISH stays 1", ":1");
    subscriber.expect("the next message", "*3 $7 message $5 stays $1 1");
}

#[test]
fn publish_counts_who_received_it() {
    let (cluster, gateway) = shared::cluster(module_path!());
    let other = Gateway::before_cluster(cluster);
    let mut subscribers: Vec<Client> = Vec::new();
    for place in 0..6 {
        let from = if place % 2 == 0 { gateway } else { &other };
        let mut subscriber = from.speaking(BOTH_VERSIONS[place % 2]);
        confirmations(&mut subscriber, "SUBSCRIBE counted:news", 1);
        subscribers.push(subscriber);
        for publisher in [gateway, &other] {
            let mut publisher = publisher.client();
            publisher.check("PUBLISH counted:news 1", &format!(":{}", place + 1));
            for subscriber in &mut subscribers {
                assert!(one_line(&subscriber.reply()).contains("counted:news $1 1"));
            }
        }
    }
    let mut by_pattern = other.client();
    confirmations(&mut by_pattern, "PSUBSCRIBE counted:*", 1);
    let mut publisher = gateway.client();
    publisher.check("PUBLISH counted:news 2", ":7");
    publisher.check("PUBLISH counted:other 2", ":1");
    publisher.check("PUBLISH nobody 2", ":0");
    for line in ["MULTI", "PUBLISH counted:news 3"] {
        publisher.ask(line);
    }
    publisher.check("EXEC", "*1 :7");
    assert!(one_line(&by_pattern.reply()).contains("counted:news"));
    assert!(one_line(&by_pattern.reply()).contains("counted:other"));
}

fn with_events() -> (Cluster, Gateway) {
    let cluster = Cluster::with(&["--notify-keyspace-events", "KEA", "--cluster-node-timeout", "2000"]);
    let gateway = Gateway::before_cluster(&cluster);
    (cluster, gateway)
}

/// Sets keys of every master, and expects one event for each, in any order.
fn expect_events(subscriber: &mut Client, writer: &mut Client, round: u32) {
    let keys: Vec<String> = (0..60).map(|key| format!("event:{round}:{key}")).collect();
    keys.iter().for_each(|key| writer.check(&format!("SET {key} 1"), "+OK"));
    let mut missing: BTreeSet<String> = keys.iter().cloned().collect();
    while !missing.is_empty() {
        let message = one_line(&subscriber.reply());
        let key = keys
            .iter()
            .find(|key| message.ends_with(&format!(" {key}")))
            .unwrap_or_else(|| panic!("{message}"));
        assert!(missing.remove(key), "{key} is told of twice");
    }
}

#[test]
fn keyspace_events_come_from_every_master() {
    let (cluster, gateway) = with_events();
    let mut writer = gateway.client();
    for version in BOTH_VERSIONS {
        let mut subscriber = gateway.speaking(version);
        let kind = if version == Version::Resp3 { ">3" } else { "*3" };
        subscriber.send_line("SUBSCRIBE __keyevent@0__:set other");
        subscriber.expect("the first", &format!("{kind} $9 subscribe $18 __keyevent@0__:set :1"));
        subscriber.expect("the second", &format!("{kind} $9 subscribe $5 other :2"));
        // From the confirmation on, nothing is missed.
        for round in 0..5 {
            expect_events(&mut subscriber, &mut writer, round);
        }
        // What the cluster hands to every node comes once.
        writer.check("PUBLISH other 1", ":1");
        assert!(one_line(&subscriber.reply()).ends_with("other $1 1"));
        confirmations(&mut subscriber, "UNSUBSCRIBE __keyevent@0__:set", 1);
        expect_nothing(&mut subscriber, &mut writer);
    }
    // A pattern that matches events among others.
    let mut all = gateway.client();
    confirmations(&mut all, "PSUBSCRIBE *", 1);
    // Subscribed at every node behind the gateway, so that it has what they get before them.
    let mut direct: Vec<Client> = (0..cluster.len()).map(|node| cluster.client(node)).collect();
    direct.iter_mut().for_each(|client| drop(confirmations(client, "SUBSCRIBE news", 1)));
    assert!(writer.integer("PUBLISH news 1") >= 1);
    direct.iter_mut().for_each(|client| client.expect("news", "*3 $7 message $4 news $1 1"));
    all.expect("a message, once", "*4 $8 pmessage $1 * $4 news $1 1");
    for key in APART {
        writer.check(&format!("SET {key} 1"), "+OK");
        all.expect(
            "its keyspace event",
            &format!("*4 $8 pmessage $1 * ${} __keyspace@0__:{key} $3 set", 15 + key.len()),
        );
        all.expect(
            "its keyevent",
            &format!("*4 $8 pmessage $1 * $18 __keyevent@0__:set ${} {key}", key.len()),
        );
    }
    // A second copy of anything would stand before this.
    assert_eq!(confirmations(&mut all, "PUNSUBSCRIBE", 1), ["*3 $12 punsubscribe $1 * :0"]);
    all.check("GET foo", "$1 1");
    // Connections for events end with their need.
    drop(all);
    let patterns = || -> usize {
        let of_node = |node: usize| cluster.client(node).integer("PUBSUB NUMPAT") as usize;
        (0..cluster.len()).map(of_node).sum()
    };
    wait_until("nobody listens any more", || patterns() == 0);
}

fn expect_nothing(subscriber: &mut Client, writer: &mut Client) {
    for key in APART {
        writer.check(&format!("SET {key} 1"), "+OK");
    }
    writer.check("PUBLISH other 2", ":1");
    assert!(one_line(&subscriber.reply()).ends_with("other $1 2"), "no event after the last confirmation");
    confirmations(subscriber, "UNSUBSCRIBE other", 1);
}

#[test]
fn keyspace_events_follow_the_topology() {
    let (cluster, gateway) = with_events();
    let mut writer = gateway.client();
    let mut subscriber = gateway.client();
    confirmations(&mut subscriber, "PSUBSCRIBE __keyevent@0__:set", 1);
    expect_events(&mut subscriber, &mut writer, 0);
    cluster.fail_over(APART[0]);
    // Until the gateway knows, events of the new master are its replica's; then each comes once again.
    let mut round = 1;
    wait_for("every event comes, and comes once", || {
        round += 1;
        let mark = format!("mark:{round}");
        let keys: Vec<String> = (0..60).map(|key| format!("event:{round}:{key}")).collect();
        for key in &keys {
            let set = writer.ask(&format!("SET {key} 1"));
            assert_eq!(set, "+OK");
        }
        writer.check(&format!("SET {{{}}}{mark} 1", APART[1]), "+OK");
        let mut heard: Vec<String> = Vec::new();
        while !heard.last().is_some_and(|last| last.contains(&mark)) {
            heard.push(one_line(&subscriber.reply()));
        }
        // Events of other masters may come behind the mark.
        let whole = heard.len() == keys.len() + 1;
        whole.then_some(())
    });
}

/// A master that hangs is waited for and then left out: the others are heard.
#[test]
fn a_master_that_hangs_keeps_no_one_from_hearing_the_others() {
    let (cluster, _) = with_events();
    let gateway = Gateway::before(&cluster)
        .config("[upstream]\nrequest_timeout = '1s'\nconnect_timeout = '1s'\n")
        .start();
    let hung = cluster.master_of(APART[2]);
    let alive = APART.iter().find(|key| cluster.master_of(key) != hung).unwrap();
    let mut subscriber = gateway.client();
    cluster.pause(hung);
    subscriber.send_line("SUBSCRIBE __keyevent@0__:set");
    // Its connection ends when the client's own is at the hung node: then it subscribes again, as clients do.
    let confirmed = wait_for("the subscription is confirmed", || match subscriber.try_reply() {
        Ok(reply) if reply.starts_with(b"*3") => Some(one_line(&reply)),
        _ => {
            subscriber = gateway.client();
            subscriber.send_line("SUBSCRIBE __keyevent@0__:set");
            None
        }
    });
    assert!(confirmed.ends_with("__keyevent@0__:set :1"), "{confirmed}");
    gateway.client().check(&format!("SET {alive} 1"), "+OK");
    assert!(one_line(&subscriber.reply()).ends_with(alive));
    cluster.resume(hung);
}
