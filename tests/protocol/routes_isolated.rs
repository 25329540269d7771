//! A cluster that is slow, misconfigured or used up is so for its own keys, and nobody else's wait for it or are told of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Client, Gateway, Server, free_port, wait_until};

fn cluster(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[cluster]]\nname = {name:?}\nservers = [{address:?}]\nunavailable_wait = \"100ms\"\n{more}\
         [[route]]\nmatch = \"{name}:*\"\nclusters = [{name:?}]\n"
    )
}

/// Something that listens and is no Redis: it says this to whoever comes, or nothing at all.
fn stranger(says: Option<&'static str>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            match says {
                Some(text) => {
                    let _ = stream.read(&mut [0; 64]);
                    let _ = stream.write_all(text.as_bytes());
                }
                None => kept.push(stream),
            }
        }
    });
    address
}

/// Everything about these keys is as it should be, many times over.
fn goes_on(client: &mut Client, keys: &[&str]) {
    for number in 0..300 {
        for key in keys {
            client.check(&format!("SET {key} {number}"), "+OK");
            client.check(&format!("GET {key}"), &format!("${} {number}", number.to_string().len()));
        }
        client.check(&format!("EXISTS {}", keys.join(" ")), &format!(":{}", keys.len()));
    }
}

#[test]
fn a_cluster_that_is_misconfigured_confuses_nobody_else() {
    let (default, fine, locked) = (Server::start(), Server::start(), Server::start());
    locked.client().check("CONFIG SET requirepass secret", "+OK");
    let wrong = ["locked", "http", "mute", "nobody"];
    let config = cluster("fine", &fine.seed(), "")
        + &cluster("locked", &locked.seed(), "")
        + &cluster("http", &stranger(Some("HTTP/1.1 400 Bad Request\r\n\r\n")), "")
        + &cluster("mute", &stranger(None), "request_timeout = \"300ms\"\n")
        + &cluster("nobody", &format!("127.0.0.1:{}", free_port()), "");
    let gateway = Gateway::before(&default).config(&config).flag("--workers", "2").start();
    let mut client = gateway.client();
    wait_until("it serves", || client.ask("EXISTS fine:x") == ":0");
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in wrong {
            let mut client = gateway.client();
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    client.check(&format!("INCR {name}:x"), "-...");
                }
            });
        }
        goes_on(&mut client, &["plain", "fine:x"]);
        done.store(true, Ordering::Relaxed);
    });
    wait_until("readiness names them, and them alone", || {
        let (status, told) = gateway.get("/readyz");
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let away = told["clusters_away"].as_array().cloned().unwrap_or_default();
        let is_of = |(why, name): (&serde_json::Value, &str)| {
            why.as_str().is_some_and(|why| why.starts_with(&format!("cluster {name}: ")))
        };
        status == 200 && away.len() == wrong.len() && away.iter().zip(wrong).all(is_of)
    });
    // What is put right is taken without a word.
    let mut direct = locked.client();
    direct.check("AUTH secret", "+OK");
    direct.check("CONFIG SET requirepass \"\"", "+OK");
    wait_until("it serves again", || client.ask("INCR locked:x").starts_with(':'));
}

#[test]
fn a_cluster_that_is_slow_holds_up_its_own_keys_alone() {
    let (default, slow) = (Server::start(), Server::start());
    let patient = cluster("slow", &slow.seed(), "").replace("100ms", "30s");
    let gateway = Gateway::before(&default).config(&patient).flag("--workers", "2").start();
    let mut client = gateway.client();
    wait_until("it serves", || client.ask("EXISTS slow:x") == ":0");
    let mut waiting: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    // It stands still for a tenth of a second, again and again, while more is asked of it than it can do.
    let stalls = "EVAL \"local t=redis.call('TIME') local b=t[1]*1000000+t[2] repeat t=redis.call('TIME') until \
                  t[1]*1000000+t[2]>b+100000 return 1\" 0";
    let mut direct = slow.client();
    (0..5).for_each(|_| direct.send_line(stalls));
    for client in &mut waiting {
        (0..100).for_each(|_| client.send_line("INCR slow:x"));
    }
    goes_on(&mut client, &["plain", "other"]);
    let mut seen: Vec<i64> = Vec::new();
    for client in &mut waiting {
        for _ in 0..100 {
            let reply = String::from_utf8(client.reply()).unwrap();
            seen.push(reply.trim_start_matches(':').trim_end().parse().unwrap());
        }
    }
    seen.sort();
    assert!(seen.iter().copied().eq(1..=2000), "each increment once");
}

#[test]
fn connections_of_single_clients_are_bounded_for_each_cluster() {
    let (default, few) = (Server::start(), Server::start());
    let config = cluster("few", &few.seed(), "session_connections_max = 3\n");
    let gateway = Gateway::before(&default).config(&config).flag("--workers", "1").start();
    let mut probe = gateway.client();
    wait_until("it serves", || probe.ask("EXISTS few:x") == ":0");
    let mut blocked: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    blocked.iter_mut().for_each(|client| client.send_line("BLPOP few:queue 0"));
    wait_until("they wait", || few.client().text("INFO clients").contains("blocked_clients:3"));
    gateway.client().check("BLPOP few:queue 0", "-ERR hotgate: ...");
    let mut others: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    others.iter_mut().for_each(|client| client.send_line("BLPOP queue 0"));
    wait_until("others wait", || default.client().text("INFO clients").contains("blocked_clients:5"));
    for (key, clients) in [("queue", &mut others), ("few:queue", &mut blocked)] {
        clients.iter().for_each(|_| probe.check(&format!("LPUSH {key} x"), ":1"));
        for client in clients {
            client.expect(key, &format!("*2 ${} {key} $1 x", key.len()));
        }
    }
}
