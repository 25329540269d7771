//! Messages reach their subscribers once and in order, a refused subscription leaves nothing behind, and confirmations come whatever
//! `CLIENT REPLY` says.

use crate::support::text::elements;
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, Version, shared};

#[test]
fn messages_reach_subscribers() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let name = &format!("{name}:reach");
        let mark = if version == Version::Resp2 { '*' } else { '>' };
        let length = name.len();
        let (mut subscriber, mut publisher) = (gateway.speaking(version), gateway.client());
        subscriber.check(&format!("SUBSCRIBE {name}"), &format!("{mark}3 $9 subscribe ${length} {name} :1"));
        subscriber.check(
            &format!("PSUBSCRIBE {name}*"),
            &format!("{mark}3 $10 psubscribe ${} {name}* :2", length + 1),
        );
        publisher.send_line(&format!("PUBLISH {name} hello"));
        publisher.reply();
        subscriber.expect("a message", &format!("{mark}3 $7 message ${length} {name} $5 hello"));
        let pattern = format!("{mark}4 $8 pmessage ${} {name}* ${length} {name} $5 hello", length + 1);
        subscriber.expect("a message by pattern", &pattern);

        if version == Version::Resp2 {
            subscriber.check("PING", "*2 $4 pong $0 ");
            subscriber.check("PING a b", "-ERR wrong number of arguments for 'ping' command");
            subscriber.check(
                "GET k",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            );
        } else {
            subscriber.check("PING", "+PONG");
            subscriber.check(&format!("SET sub:{name} 1"), "+OK");
            subscriber.check(&format!("INCR sub:{name}"), ":2");
        }
        subscriber.check(
            &format!("PUNSUBSCRIBE {name}*"),
            &format!("{mark}3 $12 punsubscribe ${} {name}* :1", length + 1),
        );
        subscriber.check("UNSUBSCRIBE", &format!("{mark}3 $11 unsubscribe ${length} {name} :0"));
        subscriber.check(&format!("SET sub:{name} 1"), "+OK");
        publisher.check(&format!("PUBLISH {name} unheard"), ":0");
        subscriber.check("PING", "+PONG");
    });
}

#[test]
fn a_refused_subscription_leaves_nothing_behind() {
    let server = Server::start();
    server.client().check("ACL SETUSER gate on >way ~* resetchannels &open +@all", "+OK");
    let gateway =
        Gateway::before(&server).config("[upstream]\nuser = \"gate\"\npassword = \"way\"\n").start();
    for version in BOTH_VERSIONS {
        let mark = if version == Version::Resp2 { '*' } else { '>' };
        let mut client = gateway.speaking(version);
        for line in
            ["SUBSCRIBE a", "SUBSCRIBE a b", "PSUBSCRIBE a* b* c*", "SSUBSCRIBE a", "SUBSCRIBE open a"]
        {
            client.check(line, "-NOPERM ...");
            client.check("SET refused 1", "+OK");
            client.check("PING", "+PONG");
        }
        client.check("SUBSCRIBE open", &format!("{mark}3 $9 subscribe $4 open :1"));
        client.check("SUBSCRIBE open a", "-NOPERM ...");
        server.client().check("PUBLISH open still", ":1");
        client.expect("a message", &format!("{mark}3 $7 message $4 open $5 still"));
        client.check("UNSUBSCRIBE", &format!("{mark}3 $11 unsubscribe $4 open :0"));
        client.check("GET refused", "$1 1");
    }
}

#[test]
fn sharded_messages_reach_subscribers() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let mark = if version == Version::Resp2 { '*' } else { '>' };
        let length = name.len();
        let (mut subscriber, mut publisher) = (gateway.speaking(version), gateway.client());
        subscriber
            .check(&format!("SSUBSCRIBE {name}"), &format!("{mark}3 $10 ssubscribe ${length} {name} :1"));
        publisher.check(&format!("SPUBLISH {name} hello"), ":1");
        subscriber.expect("a message", &format!("{mark}3 $8 smessage ${length} {name} $5 hello"));
        subscriber
            .check(&format!("SUNSUBSCRIBE {name}"), &format!("{mark}3 $12 sunsubscribe ${length} {name} :0"));
        publisher.check(&format!("SPUBLISH {name} unheard"), ":0");
    });
}

#[test]
fn messages_come_once_and_in_order() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let (mut subscriber, mut publisher) = (gateway.speaking(version), gateway.client());
        subscriber.send_line(&format!("SUBSCRIBE {name}:order"));
        subscriber.reply();
        for number in 0..1_000 {
            publisher.send_line(&format!("PUBLISH {name}:order {number}"));
        }
        for number in 0..1_000 {
            publisher.reply();
            let message = elements(&subscriber.reply());
            assert_eq!(message.last().unwrap(), &number.to_string());
        }
    });
}

#[test]
fn confirmations_of_subscriptions_are_not_silenced() {
    let (server, gateway) = shared::single(module_path!());
    for address in [server.address(), gateway.address] {
        for version in BOTH_VERSIONS {
            let mut client = Client::speaking(address, version);
            let mark = if version == Version::Resp2 { '*' } else { '>' };
            let confirmed = |client: &mut Client, line: &str, replies: &[&str]| {
                client.send_line(line);
                replies.iter().for_each(|reply| client.expect(line, &format!("{mark}3 {reply}")));
            };
            client.send_line("CLIENT REPLY OFF");
            confirmed(&mut client, "SUBSCRIBE a b", &["$9 subscribe $1 a :1", "$9 subscribe $1 b :2"]);
            confirmed(
                &mut client,
                "UNSUBSCRIBE a b",
                &["$11 unsubscribe $1 a :1", "$11 unsubscribe $1 b :0"],
            );
            client.send_line("GET");
            confirmed(&mut client, "PUNSUBSCRIBE a", &["$12 punsubscribe $1 a :0"]);
            client.send_line("PING");
            client.check("CLIENT REPLY ON", "+OK");
            client.send_line("CLIENT REPLY SKIP");
            confirmed(&mut client, "PSUBSCRIBE a", &["$10 psubscribe $1 a :1"]);
            confirmed(&mut client, "PUNSUBSCRIBE a", &["$12 punsubscribe $1 a :0"]);
            client.send_line("CLIENT REPLY SKIP");
            confirmed(&mut client, "UNSUBSCRIBE a", &["$11 unsubscribe $1 a :0"]);
            client.check("PING", "+PONG");
        }
    }
}
