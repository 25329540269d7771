//! The start of a mask sale, played through the real program with two workers before a real cluster.
//!
//! Some clients browse: Zipf-like reads and writes of some thousand keys, and now and then a reservation of one SKU.
//! Then the sale opens, and the SKU takes 70 times its former load. The test holds that every place where an operator
//! may look tells of it, that each reservation is counted exactly once, and that Redis is spared most of the commands.
//! How long each place took is printed and never asserted.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::figures::calls;
use crate::support::text::{elements, encode};
use crate::support::{self, Client, Cluster, Gateway, PATIENCE, wait_for, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const CHANNEL: &str = "__hotkey_notify__";
const SKU: &str = "sku:{8421}:reserved";

const BROWSED_KEYS: usize = 5_000;
const ZIPF_EXPONENT: f64 = 0.8;
const BROWSING_PER_S: f64 = 16_000.0;
/// One in so many commands of those who browse reserves the SKU: too few to make it hot.
const BROWSING_PER_RESERVATION: u32 = 200;
const RUSH_FACTOR: f64 = 70.0;
/// How many reservations the rush goes on for when everybody knows of it.
const RESERVATIONS_AFTERWARDS: usize = 20_000;

/// Clients that send at a given rate, or as fast as they are answered if that is slower.
struct Traffic {
    stop: Arc<AtomicBool>,
    /// When the first command was sent.
    began: Arc<OnceLock<Instant>>,
    /// How many reservations of the SKU were answered.
    reserved: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<i64>>>,
}

impl Traffic {
    /// Starts `clients` threads that together send `per_s` commands in pipelines of `pipeline`. `command` makes one.
    fn start(
        gateway: &Gateway,
        clients: u64,
        pipeline: usize,
        per_s: f64,
        seed: u64,
        command: impl Fn(&mut SmallRng) -> Vec<String> + Clone + Send + 'static,
    ) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let began = Arc::new(OnceLock::new());
        let reserved = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients)
            .map(|number| {
                let mut client = gateway.client();
                let mut random = SmallRng::seed_from_u64(seed.wrapping_add(number));
                let (stop, began, reserved) = (stop.clone(), began.clone(), reserved.clone());
                let command = command.clone();
                let pipelines_per_s = per_s / clients as f64 / pipeline as f64;
                std::thread::spawn(move || {
                    let (mut sent, mut counts) = (0, Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let commands: Vec<_> = (0..pipeline).map(|_| command(&mut random)).collect();
                        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
                        let zero = *began.get_or_init(Instant::now);
                        let due = zero + Duration::from_secs_f64(f64::from(sent) / pipelines_per_s);
                        wait_until("the next pipeline is due", || Instant::now() >= due);
                        client.send(&bytes);
                        sent += 1;
                        for command in &commands {
                            let reply = elements(&client.reply()).pop();
                            if command[0] == "INCR" {
                                let count = reply.and_then(|count| count.parse().ok());
                                counts.push(count.unwrap_or_else(|| panic!("{command:?} got no number")));
                                reserved.fetch_add(1, Ordering::Relaxed);
                            } else {
                                assert!(!reply.is_some_and(|reply| reply.starts_with("ERR")), "{command:?}");
                            }
                        }
                    }
                    counts
                })
            })
            .collect();
        Traffic { stop, began, reserved, clients }
    }

    fn reserved(&self) -> usize {
        assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client of the traffic failed");
        self.reserved.load(Ordering::Relaxed)
    }

    /// Stops the clients when all they sent is answered, and gives the count that each reservation was told.
    fn finish(mut self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.clients).into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

/// A test that fails ends the clients before the gateway, so that only its own message is seen.
impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

fn reserve() -> Vec<String> {
    vec!["INCR".to_string(), SKU.to_string()]
}

/// Four clients that read, and sometimes write, keys of which few are popular.
fn browse(gateway: &Gateway, seed: u64) -> Traffic {
    let mut total = 0.0;
    let up_to: Arc<[f64]> = (1..=BROWSED_KEYS)
        .map(|rank| {
            total += (rank as f64).powf(-ZIPF_EXPONENT);
            total
        })
        .collect();
    Traffic::start(gateway, 4, 32, BROWSING_PER_S, seed, move |random| {
        if random.random_ratio(1, BROWSING_PER_RESERVATION) {
            return reserve();
        }
        let drawn = random.random_range(0.0..total);
        let key = format!("page:{}", up_to.partition_point(|&weight| weight <= drawn));
        match random.random_ratio(1, 10) {
            true => vec!["SET".to_string(), key, "masks".to_string()],
            false => vec!["GET".to_string(), key],
        }
    })
}

/// A client that hears what is published on the gateway's channel, and when.
struct Subscriber {
    heard: Arc<Mutex<Vec<(Instant, Value)>>>,
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Subscriber {
    fn start(gateway: &Gateway) -> Subscriber {
        let mut client = gateway.client();
        client.check(
            &format!("SUBSCRIBE {CHANNEL}"),
            &format!("*3 $9 subscribe ${} {CHANNEL} :1", CHANNEL.len()),
        );
        let (heard, stream) = (Arc::new(Mutex::new(Vec::new())), client.stream());
        // Between a hot and a cooled message nothing may be said for long.
        stream.set_read_timeout(None).unwrap();
        let notes = heard.clone();
        let thread = std::thread::spawn(move || {
            while let Ok(reply) = client.try_reply() {
                let message = elements(&reply);
                assert_eq!(message[..2], ["message", CHANNEL]);
                notes.lock().unwrap().push((Instant::now(), serde_json::from_str(&message[2]).unwrap()));
            }
        });
        Subscriber { heard, stream, thread }
    }

    /// What was said about the SKU so far.
    fn of_the_sku(&self) -> Vec<(Instant, Value)> {
        assert!(!self.thread.is_finished(), "the subscriber failed");
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(_, message)| message["key"] == SKU).cloned().collect()
    }

    fn finish(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.thread.join().unwrap();
    }
}

/// The body of a page of the HTTP side.
fn page(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    body.to_string()
}

/// A place that tells of the hot key, and whether it does so now.
type Place<'a> = (&'static str, Box<dyn FnMut() -> bool + 'a>);

fn places<'a>(gateway: &'a Gateway) -> Vec<Place<'a>> {
    let admin = gateway.admin.unwrap();
    let (mut first, mut second, mut third) = (gateway.client(), gateway.client(), gateway.client());
    vec![
        // A flat list of key, db and qps for each hot key, the hottest first.
        (
            "HOTKEYS GET",
            Box::new(move || first.list("HOTKEYS GET").get(..2).is_some_and(|start| start == ["key", SKU])),
        ),
        (
            "HOTGATE HOTKEYS",
            Box::new(move || second.list("HOTGATE HOTKEYS").windows(2).any(|pair| pair == ["key", SKU])),
        ),
        (
            "INFO hotkeys",
            Box::new(move || {
                let info = third.text("INFO hotkeys");
                info.lines().any(|line| {
                    line.starts_with("hotkey")
                        && line.contains("class=counter")
                        && line.ends_with(&format!("key={SKU}"))
                })
            }),
        ),
        (
            "GET /api/hotkeys",
            Box::new(move || {
                let answer: Value = serde_json::from_str(&page(admin, "/api/hotkeys")).unwrap();
                let keys = answer["keys"].as_array().unwrap();
                keys.iter().any(|key| key["key"] == SKU && key["class"] == "counter")
            }),
        ),
        (
            "GET /metrics",
            Box::new(move || {
                let start = format!("hotgate_hot_key_info{{key=\"{SKU}\",class=\"counter\",");
                page(admin, "/metrics").lines().any(|line| line.starts_with(&start))
            }),
        ),
        (
            "log",
            Box::new(|| gateway.log().lines().any(|line| line.contains("became hot") && line.contains(SKU))),
        ),
    ]
}

/// How many commands the master has executed that can change the counter, those inside of scripts included.
fn commands_at(master: &mut Client) -> usize {
    ["eval", "evalsha", "incr", "incrby"].map(|command| calls(master, command) as usize).iter().sum()
}

/// The sale was expected, so that its counter is folded from the first reservation on and not only when Redis has a queue.
const CONFIG: &str = "[gateway]\nworkers = 2\n[[rule]]\nmatch = 'sku:*'\nmode = 'combine'\n";

#[test]
fn everybody_is_told_of_the_sale_and_redis_is_spared() {
    let seed = support::seed();
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(CONFIG).start();
    let mut master = cluster.client(cluster.master_of(SKU));
    let subscriber = Subscriber::start(&gateway);

    let browsing = browse(&gateway, seed);
    wait_until("the SKU has its usual load", || browsing.reserved() >= 200);
    let usual_per_s = browsing.reserved() as f64 / browsing.began.get().unwrap().elapsed().as_secs_f64();
    let mut unaware = places(&gateway);
    for (name, tells) in &mut unaware {
        assert!(!tells(), "{name} tells of a sale before there is one");
    }
    assert!(subscriber.of_the_sku().is_empty());

    let (commands_before, reserved_before) = (commands_at(&mut master), browsing.reserved());
    let rush = Traffic::start(&gateway, 4, 64, RUSH_FACTOR * usual_per_s, seed, |_| reserve());
    let opening = wait_for("the sale opens", || rush.began.get().copied());
    let mut waiting = unaware;
    let mut sightings = Vec::new();
    wait_until("every place tells of the SKU", || {
        waiting.retain_mut(|(name, tells)| {
            let seen = tells();
            if seen {
                sightings.push((*name, opening.elapsed()));
            }
            !seen
        });
        rush.reserved();
        waiting.is_empty()
    });
    let (told, message) = wait_for("the subscriber is told", || subscriber.of_the_sku().first().cloned());
    sightings.push(("pub/sub", told - opening));
    for (field, expected) in [("state", "hot"), ("type", "write"), ("class", "counter")] {
        assert_eq!(message[field], expected, "{message}");
    }
    let enough = rush.reserved() + RESERVATIONS_AFTERWARDS;
    wait_until("the rush goes on", || rush.reserved() >= enough);
    let rush_took = opening.elapsed();
    let closing = Instant::now();
    let mut counts = rush.finish();
    let offered = counts.len() + browsing.reserved() - reserved_before;
    let commands = commands_at(&mut master) - commands_before;

    let cooled = wait_for("the subscriber is told that the SKU cooled", || {
        let (told, message) = subscriber.of_the_sku().pop()?;
        (told > closing && message["state"] == "cooled").then_some(told)
    });
    let rush_per_s = counts.len() as f64 / rush_took.as_secs_f64();
    println!("the SKU's load rose from {usual_per_s:.0} to {rush_per_s:.0} INCRs a second");
    println!(
        "{offered} INCRs were offered in {rush_took:.1?}; the master executed {commands} commands for them"
    );
    sightings.sort_by_key(|&(_, after)| after);
    for (name, after) in sightings {
        println!("{after:>8.0?} after the first INCR: {name}");
    }
    println!("{:>8.1?} after the last INCR: pub/sub says that it cooled", cooled - closing);

    // Every reservation was told another count, and none is missing.
    counts.extend(browsing.finish());
    counts.sort_unstable();
    assert!(counts.iter().copied().eq(1..=counts.len() as i64), "a count was told twice, or left out");
    assert_eq!(gateway.client().text(&format!("GET {SKU}")), counts.len().to_string());
    assert!(commands * 4 <= offered, "{commands} commands at Redis for {offered} INCRs");
    subscriber.finish();
}
