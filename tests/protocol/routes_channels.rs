//! Channels live where a key of their name would live, patterns are heard in every cluster that may have a channel of theirs, and who
//! subscribes sees one Redis.

use std::collections::BTreeSet;

use super::routes::Clusters;
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, Version, wait_until};

/// How many are subscribed to a channel, by the server.
fn subscribers(server: &Server, channel: &str) -> String {
    server.client().ask(&format!("PUBSUB NUMSUB {channel}"))
}

fn name_of(version: Version, kind: &str) -> String {
    let push = if version == Version::Resp3 { '>' } else { '*' };
    format!("{push}3 ${} {kind}", kind.len())
}

/// Two servers with routes to the second, and a gateway.
fn two(more: &str) -> (Server, Server, Gateway) {
    let (default, big) = (Server::start(), Server::start());
    let gateway = Gateway::before(&default).config(&two_config(&big, more)).flag("--workers", "2").start();
    wait_until("both are known", || {
        let mut client = gateway.client();
        ["EXISTS x", "EXISTS b:x"].iter().all(|line| client.ask(line) == ":0")
    });
    (default, big, gateway)
}

fn two_config(big: &Server, more: &str) -> String {
    format!(
        "[[cluster]]\nname = \"big\"\nservers = [{:?}]\n[[route]]\nmatch = \"b:*\"\nclusters = [\"big\"]\n{more}",
        big.seed()
    )
}

#[test]
fn channels_are_subscribed_to_where_they_live_and_confirmed_in_order() {
    let (default, big, gateway) = two("");
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let (plus, minus) = (name_of(version, "subscribe"), name_of(version, "unsubscribe"));
        client.send_line("SUBSCRIBE a b:1 b:2 c b:3");
        for (at, channel) in ["a", "b:1", "b:2", "c", "b:3"].iter().enumerate() {
            client.expect(channel, &format!("{plus} ${} {channel} :{}", channel.len(), at + 1));
        }
        for (channel, here, there) in [("a", 1, 0), ("b:1", 0, 1), ("c", 1, 0), ("b:3", 0, 1)] {
            let told = |count| format!("*2 ${} {channel} :{count}", channel.len());
            assert_eq!(subscribers(&default, channel), told(here), "{channel}");
            assert_eq!(subscribers(&big, channel), told(there), "{channel}");
            gateway.client().check(&format!("PUBSUB NUMSUB {channel}"), &told(1));
            gateway.client().check(&format!("PUBLISH {channel} x"), ":1");
            client.expect(
                channel,
                &format!("{} ${} {channel} $1 x", name_of(version, "message"), channel.len()),
            );
        }
        client.send_line("UNSUBSCRIBE b:2 a none");
        client.expect("", &format!("{minus} $3 b:2 :4"));
        client.expect("", &format!("{minus} $1 a :3"));
        client.expect("", &format!("{minus} $4 none :3"));
        // Without names all that is left, each once.
        client.send_line("UNSUBSCRIBE");
        let left: BTreeSet<String> = (0..3).map(|_| String::from_utf8(client.reply()).unwrap()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.iter().any(|reply| reply.ends_with(":0\r\n")), "{left:?}");
        client.check("GET a", if version == Version::Resp3 { "_" } else { "$-1" });
        for channel in ["a", "b:1", "b:2", "c", "b:3"] {
            gateway.client().check(&format!("PUBLISH {channel} x"), ":0");
        }
    }
}

#[test]
fn a_pattern_is_heard_in_every_cluster_once() {
    let clusters = Clusters::start("");
    let channels = ["news", "w:news", "w:other", "t:1:x", "t:2:x", "t:3:x", "t:4:x"];
    for version in BOTH_VERSIONS {
        let mut client = clusters.gateway.speaking(version);
        let mut publisher = clusters.gateway.client();
        client.check("PSUBSCRIBE *", &format!("{} $1 * :1", name_of(version, "psubscribe")));
        client.check("PSUBSCRIBE w:*", &format!("{} $3 w:* :2", name_of(version, "psubscribe")));
        let message = |pattern: &str, channel: &str| {
            let push = if version == Version::Resp3 { '>' } else { '*' };
            format!("{push}4 $8 pmessage ${} {pattern} ${} {channel} $1 x", pattern.len(), channel.len())
        };
        for channel in channels {
            publisher
                .check(&format!("PUBLISH {channel} x"), if channel.starts_with("w:") { ":2" } else { ":1" });
            let mut expected = vec![message("*", channel)];
            expected.extend(channel.starts_with("w:").then(|| message("w:*", channel)));
            let mut heard: Vec<String> =
                expected.iter().map(|_| crate::support::text::one_line(&client.reply())).collect();
            heard.sort();
            expected.sort();
            assert_eq!(heard, expected);
        }
        client.check("PUNSUBSCRIBE *", &format!("{} $1 * :1", name_of(version, "punsubscribe")));
        for channel in channels {
            publisher
                .check(&format!("PUBLISH {channel} x"), if channel.starts_with("w:") { ":1" } else { ":0" });
            if channel.starts_with("w:") {
                client.expect(channel, &message("w:*", channel));
            }
        }
        client.check("PUNSUBSCRIBE", &format!("{} $3 w:* :0", name_of(version, "punsubscribe")));
        client.check("PING", "+PONG");
    }
}

/// Somebody who publishes past the gateway where the channel does not live is not heard.
#[test]
fn messages_come_from_the_cluster_of_their_channel_alone() {
    let (default, big, gateway) = two("");
    let mut client = gateway.client();
    client.check("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1");
    default.client().check("PUBLISH b:1 wrong", ":1");
    big.client().check("PUBLISH news wrong", ":1");
    for (server, channel) in [(&default, "news"), (&big, "b:1")] {
        server.client().check(&format!("PUBLISH {channel} right"), ":1");
        client.expect("", &format!("*4 $8 pmessage $1 * ${} {channel} $5 right", channel.len()));
    }
}

#[test]
fn a_pattern_of_events_brings_each_once_beside_messages() {
    let (default, big, gateway) = two("");
    for server in [&default, &big] {
        server.client().check("CONFIG SET notify-keyspace-events E$", "+OK");
    }
    let mut writer = gateway.client();
    // The client is at big first, so that its events come by another way than those of default.
    for first in ["b:0", "a"] {
        let mut client = gateway.client();
        client.check(&format!("SUBSCRIBE {first}"), "*3 $9 subscribe ...");
        client.check("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :2");
        for key in ["k", "b:k", "k", "b:k"] {
            writer.check(&format!("SET {key} 1"), "+OK");
            client.expect(key, &format!("*4 $8 pmessage $1 * $18 __keyevent@0__:set ${} {key}", key.len()));
            writer.check(&format!("PUBLISH {key} m"), ":1");
            client.expect(key, &format!("*4 $8 pmessage $1 * ${} {key} $1 m", key.len()));
        }
    }
}

#[test]
fn a_transaction_publishes_in_the_cluster_of_its_keys() {
    let (_default, _big, gateway) = two("");
    let mut subscriber = gateway.client();
    subscriber.send_line("SUBSCRIBE news b:news");
    subscriber.expect("", "*3 $9 subscribe $4 news :1");
    subscriber.expect("", "*3 $9 subscribe $6 b:news :2");
    let mut client = gateway.client();
    for (key, own, other) in [("k", "news", "b:news"), ("b:k", "b:news", "news")] {
        for order in [
            [format!("INCR {key}"), format!("PUBLISH {own} x")],
            [format!("PUBLISH {own} x"), format!("INCR {key}")],
        ] {
            client.check("MULTI", "+OK");
            order.iter().for_each(|line| client.check(line, "+QUEUED"));
            client.check("EXEC", "*2 :...");
            subscriber.expect("", &format!("*3 $7 message ${} {own} $1 x", own.len()));
            client.check("MULTI", "+OK");
            client.check(&order[0], "+QUEUED");
            client.check(
                &format!("PUBLISH {other} x"),
                "-CROSSSLOT hotgate: the commands of a transaction ...",
            );
            client.check("EXEC", "-EXECABORT ...");
        }
    }
    client.check("MULTI", "+OK");
    client.check("PUBLISH b:news y", "+QUEUED");
    client.check("EXEC", "*1 :1");
    subscriber.expect("", "*3 $7 message $6 b:news $1 y");
}

/// Whoever listens in the clusters that are there goes on, whichever is away.
#[test]
fn a_cluster_that_is_away_is_missed_by_its_channels_alone() {
    for dead_is_default in [false, true] {
        let (mut default, mut big, gateway) = two("[upstream]\nunavailable_wait = \"200ms\"\n");
        let (there, away) = if dead_is_default { ("b:1", "news") } else { ("news", "b:1") };
        let mut client = gateway.client();
        client.check(&format!("SUBSCRIBE {there}"), "*3 $9 subscribe ...");
        let mut all = gateway.client();
        all.check("PSUBSCRIBE *", "*3 $10 psubscribe ...");
        let mut both = gateway.client();
        both.check("PSUBSCRIBE b*", "*3 $10 psubscribe ...");
        if dead_is_default {
            default.kill()
        } else {
            big.kill()
        }
        let mut publisher = gateway.client();
        for number in 0..3 {
            publisher.check(&format!("PUBLISH {there} {number}"), ":...");
            client.expect("", &format!("*3 $7 message ${} {there} $1 {number}", there.len()));
            let mut other = gateway.client();
            other.check(&format!("SUBSCRIBE {there}"), "*3 $9 subscribe ...");
        }
        // What was heard there may have been missed.
        for cut_off in [&mut all, &mut both] {
            while cut_off.try_reply().is_ok() {}
        }
        // One that needs both is told, or cut off while nobody knows yet.
        let hears = |line: &str| {
            let mut other = gateway.client();
            other.send_line(line);
            other.try_reply().is_ok_and(|reply| !reply.starts_with(b"-"))
        };
        wait_until("the pattern is refused", || !hears("PSUBSCRIBE b*"));
        wait_until("the channel is refused", || !hears(&format!("SUBSCRIBE {away}")));
        assert!(hears(&format!("SUBSCRIBE {there}")), "{}", gateway.log());
    }
}

#[test]
fn a_reload_that_moves_channels_ends_the_connections_that_listen_to_them() {
    let (_default, big, gateway) = two("");
    let mut moved = gateway.client();
    moved.check("SUBSCRIBE news", "*3 $9 subscribe ...");
    let mut stays = gateway.client();
    stays.check("SUBSCRIBE other b:1", "*3 $9 subscribe ...");
    stays.expect("", "*3 $9 subscribe ...");
    gateway.reload(&two_config(&big, "[[route]]\nmatch = \"news*\"\nclusters = [\"big\"]\nforce = true\n"));
    assert!(moved.try_reply().is_err(), "it is told by the end of its connection");
    let mut publisher = gateway.client();
    for channel in ["other", "b:1"] {
        publisher.check(&format!("PUBLISH {channel} x"), ":1");
        stays.expect("", "*3 $7 message ...");
    }
    let mut again = gateway.client();
    again.check("SUBSCRIBE news", "*3 $9 subscribe ...");
    publisher.check("PUBLISH news x", ":1");
    big.client().check("PUBLISH news x", ":1");
}

/// A name of a channel is another one for another user, as that of a key is.
#[test]
fn a_users_own_route_has_its_channels_too() {
    let (_default, _big, gateway) = two("[[route]]\nuser = \"eve\"\nclusters = [\"big\"]\n");
    gateway.client().check("ACL SETUSER eve on >p ~* &* +@all", "+OK");
    let as_eve = || -> Client {
        let mut client = gateway.client();
        client.check("AUTH eve p", "+OK");
        client
    };
    let (mut hers, mut listener, mut others) = (as_eve(), as_eve(), gateway.client());
    listener.check("SUBSCRIBE news", "*3 $9 subscribe ...");
    others.check("SUBSCRIBE news", "*3 $9 subscribe ...");
    hers.check("PUBLISH news e", ":1");
    listener.expect("", "*3 $7 message $4 news $1 e");
    gateway.client().check("PUBLISH news o", ":1");
    others.expect("", "*3 $7 message $4 news $1 o");
    listener.check("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :2");
    hers.check("PUBLISH x e", ":1");
    listener.expect("", "*4 $8 pmessage $1 * $1 x $1 e");
}
