//! What operators change of quotas is followed at every gateway also on a cluster, with hundreds of changes, while a master hangs, and by a
//! user who may do no more than a quota needs.
//!
//! How long it takes until a change shows is printed and never asserted.

use std::time::Instant;

use crate::listed::{api, row};
use crate::support::{Client, Cluster, Gateway, Server, wait_until};
use hotgate::admission::overrides_index;
use hotgate::combine::override_key;
use serde_json::Value;

const QUOTA: &str = "[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n";

fn start(cluster: &Cluster) -> Gateway {
    Gateway::before(cluster).config(QUOTA).start()
}

/// Sets a limit at one gateway, and waits until another shows it.
fn check_change(client: &mut Client, there: &Gateway, key: &str, limit: i64) {
    client.check(&format!("HOTGATE QUOTA SET {key} LIMIT {limit}"), &format!("+limit {limit}"));
    let began = Instant::now();
    wait_until(&format!("{key} has its limit of {limit}"), || {
        row(there, key).is_some_and(|row| row["limit"] == limit && row["limit_overridden"] == true)
    });
    eprintln!("{key} shown after {} ms", began.elapsed().as_millis());
}

/// A counter whose master is `master`.
fn key_at(cluster: &Cluster, master: usize, name: &str) -> String {
    let mut keys = (0..).map(|n| format!("sku:{{{name}{n}}}"));
    keys.find(|key| cluster.master_of(key) == master).unwrap()
}

#[test]
fn changes_are_followed_on_a_cluster_also_while_a_master_hangs() {
    let cluster = Cluster::with(&["--cluster-node-timeout", "60000"]);
    cluster.wait_until_whole();
    let [here, there] = [start(&cluster), start(&cluster)];
    let mut client = here.client();
    let of_index = cluster.master_of(std::str::from_utf8(&overrides_index()).unwrap());
    let others: Vec<usize> = cluster.masters().into_iter().filter(|master| *master != of_index).collect();
    let keys: Vec<String> =
        [of_index, others[0], others[1]].iter().map(|master| key_at(&cluster, *master, "a")).collect();
    for (n, key) in keys.iter().enumerate() {
        check_change(&mut client, &there, key, 100 + n as i64);
    }
    // A change that somebody asks for at the hung master holds up no other.
    cluster.pause(others[0]);
    let waiting = std::thread::spawn({
        let (mut client, key) = (here.client(), keys[1].clone());
        move || client.ask(&format!("HOTGATE QUOTA SET {key} LIMIT 5"))
    });
    for limit in [200, 201, 202] {
        check_change(&mut client, &there, &keys[2], limit);
    }
    let kept = row(&there, &keys[1]).expect("what can't be asked stays as it was");
    assert_eq!((kept["limit"].as_i64(), &kept["limit_overridden"]), (Some(101), &Value::Bool(true)));
    let refused = waiting.join().unwrap();
    assert!(refused.starts_with("-ERR") && refused.contains("could not be written"), "{refused}");
    cluster.resume(others[0]);
    check_change(&mut client, &there, &keys[1], 300);
    // The master of the list of changes hangs: what is known is followed all the same.
    cluster.pause(of_index);
    let override_key = String::from_utf8(override_key(keys[2].as_bytes()).to_vec()).unwrap();
    cluster.client(others[1]).check(&format!("HSET {override_key} limit 203"), ":0");
    wait_until("what another gateway has changed shows", || {
        row(&there, &keys[2]).is_some_and(|row| row["limit"] == 203)
    });
    cluster.resume(of_index);
    check_change(&mut client, &there, &keys[0], 400);
}

#[test]
fn hundreds_of_changes_are_followed() {
    let cluster = Cluster::start();
    cluster.wait_until_whole();
    let [here, there] = [start(&cluster), start(&cluster)];
    let mut client = here.client();
    for n in 0..300 {
        client
            .check(&format!("HOTGATE QUOTA SET sku:{n} LIMIT {}", 1000 + n), &format!("+limit {}", 1000 + n));
    }
    let shown = || {
        let list = api(&there, "/api/quotas?search=sku&count=1000");
        list["quotas"].as_array().unwrap().iter().filter(|row| row["limit_overridden"] == true).count()
    };
    wait_until("all of them are shown", || shown() == 300);
    // The first and the last in the order of their names, and one between.
    for (key, limit) in [("sku:0", 7), ("sku:99", 8), ("sku:150", 9)] {
        check_change(&mut client, &there, key, limit);
    }
    client.check("HOTGATE QUOTA RESET sku:99", "+what is configured holds again");
    wait_until("what was reset is shown as configured", || {
        row(&there, "sku:99").is_none_or(|row| row["limit_overridden"] == false)
    });
}

#[test]
fn the_least_user_of_a_quota_follows_changes() {
    let server = Server::start();
    let rights = "~sku:* ~{???}hotgate:* +info +eval +evalsha +get +incrby +hmget +smembers +sadd +srem";
    server.client().check(&format!("ACL SETUSER gate reset on >secret {rights}"), "+OK");
    let here = Gateway::before(&server).config(QUOTA).start();
    let login = "[upstream]\nuser = 'gate'\npassword = 'secret'\n";
    let there = Gateway::before(&server).config(&format!("{login}{QUOTA}")).start();
    let mut client = here.client();
    check_change(&mut client, &there, "sku:1", 3);
    client.check("HOTGATE QUOTA PAUSE sku:2", "+paused");
    wait_until("the pause is told of", || {
        api(&there, "/api/stats")["status"].to_string().contains("sku:2 is paused")
    });
    there.client().check("INCR sku:2", "-QUOTA paused by an operator for 'sku:2'");
    assert!(!there.log().contains("ERROR") && !there.log().contains("WARN"), "{}", there.log());
    // Who changes quotas is told what that needs.
    let refused = there.client().ask("HOTGATE QUOTA PAUSE sku:1");
    assert!(refused.contains("NOPERM") && refused.contains("hset"), "{refused}");
}
