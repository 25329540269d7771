//! A process hands over to a new one under load: nobody is refused or cut off, no reply is lost, and no increment is lost or counted twice.
//! One that can't take over leaves the old one as it was.
//!
//! `HOTGATE_UPGRADES` says how many upgrades follow each other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Client, Gateway, Server, wait_until};

/// Upgrades in a row, unless the environment says otherwise.
const UPGRADES: usize = 3;

/// Clients of each kind.
const CLIENTS: usize = 4;

fn config(workers: usize, journal: &std::path::Path) -> String {
    format!(
        "[[rule]]\nmatch = \"behind:*\"\nmode = \"write-behind\"\n[[rule]]\nmatch = \"folded:*\"\nmode = \"combine\"\n\
         [[quota]]\nmatch = \"sold:*\"\nlimit = 1000000\n\
         [write_behind]\njournal = true\njournal_path = \"{}\"\nflush_interval = \"20ms\"\n[gateway]\nworkers = {workers}\n",
        journal.display()
    )
}

/// What one client of a load did: its increments of each key, and the ids that it had.
#[derive(Default)]
struct Done {
    increments: [u64; 3],
    ids: Vec<i64>,
}

const KEYS: [&str; 3] = ["folded:1", "sold:1", "behind:1"];

/// Increments until it is told to stop. Each reply is awaited, and has to be a number.
fn increment(client: &mut Client, done: &mut Done, rounds: usize) {
    for _ in 0..rounds {
        for (key, count) in KEYS.iter().zip(&mut done.increments) {
            assert!(client.integer(&format!("INCR {key}")) > 0);
            *count += 1;
        }
    }
}

/// One connection that stays, or one after the other.
fn load(address: SocketAddr, stays: bool, stop: &AtomicBool) -> Done {
    let mut done = Done::default();
    let mut client = Client::connect(address);
    done.ids.push(client.integer("CLIENT ID"));
    while !stop.load(Ordering::Relaxed) {
        if !stays {
            client = Client::try_connect(address).expect("nobody is refused");
            done.ids.push(client.integer("CLIENT ID"));
        }
        increment(&mut client, &mut done, 3);
    }
    done
}

#[test]
fn upgrades_under_load_lose_nothing() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut gateway = Gateway::before(&server).config(&config(2, &journal)).start();
    let (address, stop) = (gateway.address, AtomicBool::new(false));
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE news", "*3 $9 subscribe $4 news :1");
    let upgrades = std::env::var("HOTGATE_UPGRADES").map_or(UPGRADES, |count| count.parse().unwrap());
    let all: Vec<Done> = thread::scope(|scope| {
        let stop = &stop;
        let running: Vec<_> =
            (0..2 * CLIENTS).map(|index| scope.spawn(move || load(address, index % 2 == 0, stop))).collect();
        let mut pid = gateway.pid();
        for number in 0..upgrades {
            gateway.write_config(&config(1 + number % 3, &journal));
            pid = gateway.upgrade(pid).expect("the new process takes over");
        }
        Client::connect(address).check("PUBLISH news told", ":1");
        subscriber.expect("SUBSCRIBE news", "*3 $7 message $4 news $4 told");
        stop.store(true, Ordering::Relaxed);
        running.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut witness = server.client();
    for (index, key) in KEYS.iter().enumerate() {
        let answered: u64 = all.iter().map(|done| done.increments[index]).sum();
        assert!(answered > 0);
        wait_until(&format!("{key} is {answered}"), || {
            let found: u64 = String::from_utf8(witness.bulk(&format!("GET {key}"))).unwrap().parse().unwrap();
            assert!(found <= answered, "{key} is {found} of {answered}");
            found == answered
        });
    }
    let ids: Vec<i64> = all.iter().flat_map(|done| done.ids.iter().copied()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is given once");
    let said = gateway.upgrade(gateway.pid()).unwrap_err();
    assert!(said.contains("can't be asked"), "who was relieved is not the one to ask: {said}");
    drop(subscriber);
    assert_eq!(gateway.wait().code(), Some(0), "the old process ends when its clients have left");
}

#[test]
fn a_process_that_cannot_take_over_leaves_the_old_one_as_it_was() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let mut gateway = Gateway::before(&server).config(&config(2, &journal)).start();
    let mut client = gateway.client();
    client.check("INCR behind:1", ":1");
    let nowhere = config(2, std::path::Path::new("/dev/null/journal"));
    // The first is refused at once, the second when the journal is handed over already.
    for (file, why) in [("[gateway]\nworkers = \"many\"\n", "gateway.workers"), (nowhere.as_str(), "journal")]
    {
        gateway.write_config(file);
        let said = gateway.upgrade(gateway.pid()).unwrap_err();
        assert!(said.contains("goes on") && said.contains(why), "{said}");
        assert!(gateway.runs());
    }
    assert!(gateway.log().contains("the upgrade failed"), "{}", gateway.log());
    assert!(gateway.get("/api/audit").1.contains("upgrade"), "an operator reads of it");
    client.check("INCR behind:1", ":2");
    let mut another = gateway.client();
    another.check("INCR behind:1", ":3");
    gateway.kill();
    // The journal that came back has what was answered.
    let gateway = Gateway::before(&server).config(&config(1, &journal)).start();
    let mut witness = server.client();
    wait_until("Redis has all of it", || witness.bulk("GET behind:1") == b"3");
    gateway.client().check("INCR behind:1", ":4");
}

#[test]
fn a_variable_that_is_set_by_hand_is_refused_in_a_line() {
    let server = Server::start();
    for (version, word) in [("1", "unset it"), ("99", "version 99")] {
        let (code, log) = Gateway::before(&server).environment("HOTGATE_HANDOVER", version).refused();
        assert_eq!(code, Some(1));
        assert!(log.lines().count() == 1 && log.contains(word), "{log}");
    }
}
