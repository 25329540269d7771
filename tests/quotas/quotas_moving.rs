//! Quotas while their keys are on two nodes, or the server refuses to count: windows grant what fits and not one more, whatever the number of
//! gateways, and what was let through while Redis was away comes into the counter, each increment once.

use crate::support::migration::Migration;
use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, Server, Turn, wait_until};

/// One cluster at a time: nodes that get no CPU for their timeout would be failed over without a test asking for it.
static ONE_AT_A_TIME: Turn = Turn::new();

const KEY: &str = "rate:{m}";
const LIMIT: i64 = 60;
const CLIENTS: usize = 4;

/// Moves the keys of the slot whose names hold this, and leaves the others.
fn move_those(migration: &Migration, part: &str) {
    let keys = migration.keys();
    let chosen: Vec<&String> = keys.iter().filter(|name| name.contains(part)).collect();
    assert!(!chosen.is_empty() && chosen.len() < keys.len(), "{part}: {keys:?}");
    chosen.into_iter().for_each(|name| migration.move_key(name));
}

/// What one of two nodes holds under a name.
fn value_at(cluster: &Cluster, migration: &Migration, key: &str) -> Option<i64> {
    [migration.from, migration.to].into_iter().find_map(|node| {
        let mut client = cluster.client(node);
        client.ask("ASKING");
        let reply = client.ask(&format!("GET {key}"));
        reply.strip_prefix('$')?.split(' ').nth(1)?.parse().ok()
    })
}

#[test]
fn a_window_is_exact_while_it_and_its_counter_are_on_two_nodes() {
    let _alone = ONE_AT_A_TIME.take();
    // What has moved: the counter, or its window.
    for moved in [KEY, "hotgate:window"] {
        let cluster = Cluster::start();
        let config = format!(
            "[gateway]\nworkers = 2\n[[quota]]\nmatch = 'rate:*'\nlimit = {LIMIT}\nwindow = '1h'\nrecheck = '10ms'\n"
        );
        let gateways = [(); 2].map(|()| Gateway::before(&cluster).config(&config).start());
        let mut clients: Vec<Client> = (0..CLIENTS).map(|place| gateways[place % 2].client()).collect();
        clients[0].check(&format!("INCRBY {KEY} 3"), ":3");
        let window = cluster
            .client(cluster.master_of(KEY))
            .list("KEYS *")
            .into_iter()
            .find(|name| name.contains("hotgate:window"))
            .expect("the window is there");
        let migration = Migration::begin(&cluster, KEY);
        if moved == KEY {
            migration.move_key(KEY);
        } else {
            move_those(&migration, moved);
        }
        let mut granted = vec![3];
        wait_until("all is granted", || {
            clients.iter_mut().for_each(|client| client.send_line(&format!("INCR {KEY}")));
            for client in &mut clients {
                let reply = one_line(&client.reply());
                match reply.strip_prefix(':') {
                    Some(value) => granted.push(value.parse().unwrap()),
                    None => assert!(reply.starts_with("-QUOTA limit of"), "{moved} has moved: {reply}"),
                }
            }
            granted.len() as i64 == LIMIT - 2
        });
        granted.sort_unstable();
        assert!(granted.iter().copied().eq(3..=LIMIT), "{moved} has moved: {granted:?}");
        for client in &mut clients {
            client.check(&format!("INCR {KEY}"), "-QUOTA limit of ...");
            // What gives back is not held up.
            client.check(&format!("INCRBY {KEY} 0"), &format!(":{LIMIT}"));
        }
        wait_until("what was taken of the window too much is given back", || {
            value_at(&cluster, &migration, &window) == Some(LIMIT)
        });
        migration.end();
        clients[0].check(&format!("INCR {KEY}"), "-QUOTA limit of ...");
    }
}

#[test]
fn what_was_let_through_comes_into_a_counter_whose_slot_moves() {
    let _alone = ONE_AT_A_TIME.take();
    for window in ["", "window = '1h'\n"] {
        let cluster = Cluster::with(&["--cluster-node-timeout", "60000"]);
        let config = format!(
            "[upstream]\nunavailable_wait = '300ms'\n[[quota]]\nmatch = 'rate:*'\nlimit = 100000\n{window}on_unavailable = 'allow'\n"
        );
        let gateway = Gateway::before(&cluster).config(&config).start();
        let mut client = gateway.client();
        let (mut counted, mut unknown) = (0, 0);
        let mut count = |client: &mut Client, when: &str| {
            for _ in 0..5 {
                let reply = client.ask(&format!("INCR {KEY}"));
                // What was on its way to a node that fell silent is in doubt, as a plain increment is.
                let is_in_doubt = when.contains("silent") && reply.contains("outcome unknown");
                assert!(reply.starts_with(':') || is_in_doubt, "{when}: {reply}");
                *(if is_in_doubt { &mut unknown } else { &mut counted }) += 1;
            }
            counted..=counted + unknown
        };
        count(&mut client, "before");
        let migration = Migration::begin(&cluster, KEY);
        migration.move_key(KEY);
        count(&mut client, "the counter has moved");
        cluster.pause(migration.to);
        count(&mut client, "its node is silent");
        cluster.resume(migration.to);
        count(&mut client, "it is back, and keys are apart");
        migration.end();
        let all = count(&mut client, "the slot has moved");
        let node = cluster.master_of(KEY);
        wait_until("all is in the counter", || {
            let value = cluster.client(node).integer(&format!("INCRBY {KEY} 0"));
            assert!(value <= *all.end(), "{value} of {all:?}");
            all.contains(&value)
        });
    }
}

/// A quota's increments are told so, count nowhere, and what fits is granted once there is memory again.
#[test]
fn a_server_without_memory_grants_nothing_and_then_what_fits() {
    let server = Server::start();
    let quotas = "[[quota]]\nmatch = 'rate:*'\nlimit = 5\nwindow = '1h'\n\
         [[quota]]\nmatch = 'free:*'\nlimit = 5\nwindow = '1h'\non_unavailable = 'allow'\n";
    let gateway = Gateway::of_two_workers(&server, quotas);
    let (mut client, mut direct) = (gateway.client(), server.client());
    for key in ["rate:1", "free:1"] {
        client.check(&format!("INCR {key}"), ":1");
        direct.check("CONFIG SET maxmemory 1", "+OK");
        for _ in 0..3 {
            client.check(&format!("INCR {key}"), "-OOM ...");
            client.check(&format!("GET {key}"), "$1 1");
        }
        direct.check("CONFIG SET maxmemory 0", "+OK");
        for value in 2..=5 {
            client.check(&format!("INCR {key}"), &format!(":{value}"));
        }
        client.check(&format!("INCR {key}"), "-QUOTA limit of 5 ...");
    }
}
