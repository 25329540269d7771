//! Two hundred users reserve, confirm, give back and ask through four gateways, while gateways are killed, connections are cut and masters change:
//! each is told what is true, and at the end the sale's count, its holders and its ledger are one.
//!
//! Each user has one hand: what it is told is held against what it was told before. An answer that was lost is asked for again. The masters hand
//! over in order (`CLUSTER FAILOVER`): where one dies, Redis itself may lose what it has acknowledged, and nothing could be said of single users.
//! `HOTGATE_SEED` repeats the requests of each user and the order of the faults; how they interleave is the machine's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, seed, wait_until};

const GATEWAYS: usize = 4;
const HANDS: usize = 20;
const USERS_EACH: usize = 10;
const LIMIT: usize = 120;
const FAULTS: usize = 12;
const REPLIES_BETWEEN: usize = 500;

/// Places of this one are the users' for good.
const FIRM: &str = "{8421}:firm";
/// Those of this one only for a moment.
const HELD: &str = "{8421}:held";

const CONFIG: &str = "[gateway]\nworkers = 2\n[upstream]\nunavailable_wait = '20s'\nbackoff_max = '50ms'\n\
    [reserve]\nrecheck = '5ms'\nsweep_interval = '200ms'\n";

#[derive(Default)]
struct Shop {
    addresses: Mutex<Vec<SocketAddr>>,
    replies: AtomicUsize,
    closing: AtomicBool,
    failed: AtomicBool,
}

/// Lets the hands rest when the test fails, since they are waited for.
struct RestWhenFailed<'a>(&'a Shop);

impl Drop for RestWhenFailed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, SeqCst);
        }
    }
}

/// What a user knows of its holding in the firm sale.
#[derive(Clone, Debug, PartialEq)]
enum Knows {
    Nothing,
    Holds(u64),
    /// An answer was lost.
    Unsure,
}

struct User {
    name: String,
    knows: Knows,
    /// The last place in line that it was told.
    last_seq: u64,
}

impl User {
    /// Holds a reply against what is known.
    fn hear(&mut self, line: &str, reply: &str, context: &str) {
        let Some((knows, seq)) = self.follows(line.split(' ').next().unwrap(), reply) else {
            let Self { name, knows, last_seq } = self;
            panic!("{name} knows {knows:?}, last {last_seq}; {line} -> {reply} ({context})");
        };
        (self.knows, self.last_seq) = (knows, seq);
    }

    /// What is known behind a reply, and the last place in line; nothing if the reply can't be.
    fn follows(&self, verb: &str, reply: &str) -> Option<(Knows, u64)> {
        if reply.contains("nothing was done") {
            return Some((self.knows.clone(), self.last_seq));
        }
        let holds = matches!(self.knows, Knows::Holds(_));
        let Some(holding) = reply.strip_prefix("*4 $9 ") else {
            let may_be = match verb {
                "RESERVE.ADD" => reply.starts_with("-SOLDOUT"),
                "RESERVE.CONFIRM" => reply.starts_with("-NOTHELD"),
                _ => reply == "*-1",
            };
            return (may_be && !holds).then_some((Knows::Nothing, self.last_seq));
        };
        let seq: u64 = holding.split(' ').nth(1)?.strip_prefix(':')?.parse().ok()?;
        let is_same = match self.knows {
            Knows::Holds(known) => known == seq,
            Knows::Unsure => seq >= self.last_seq,
            Knows::Nothing => false,
        };
        if verb == "RESERVE.CANCEL" && holding.starts_with("cancelled") {
            return is_same.then_some((Knows::Nothing, seq));
        }
        let is_new = self.knows == Knows::Nothing && verb == "RESERVE.ADD" && seq > self.last_seq;
        (holding.starts_with("confirmed") && (is_same || is_new)).then_some((Knows::Holds(seq), seq))
    }
}

/// The users of one hand, one request after the other.
fn use_sale(shop: &Shop, hand: usize, seed: u64) -> Vec<User> {
    let _rest = RestWhenFailed(shop);
    let mut rng = SmallRng::seed_from_u64(seed ^ hand as u64);
    let named = |user| User { name: format!("user{hand}-{user}"), knows: Knows::Nothing, last_seq: 0 };
    let mut users: Vec<User> = (0..USERS_EACH).map(named).collect();
    let mut client: Option<Client> = None;
    while !shop.failed.load(SeqCst) {
        let closing = shop.closing.load(SeqCst);
        let unsure = users.iter().position(|user| user.knows == Knows::Unsure);
        if closing && unsure.is_none() {
            return users;
        }
        let Some(connection) = &mut client else {
            let address = shop.addresses.lock().unwrap().choose(&mut rng).copied();
            client = address.and_then(|address| Client::try_connect(address).ok());
            continue;
        };
        let user = &mut users[unsure.unwrap_or_else(|| rng.random_range(0..USERS_EACH))];
        let is_firm = unsure.is_some() || rng.random_ratio(2, 3);
        let verb = match rng.random_range(0..10) {
            0..=3 => "RESERVE.ADD",
            4 => "RESERVE.CONFIRM",
            5..=7 => "RESERVE.CANCEL",
            _ => "RESERVE.CHECK",
        };
        let line = format!("{verb} {} {}", if is_firm { FIRM } else { HELD }, user.name);
        let sent = connection.try_send(&crate::support::text::request(&line));
        match sent.and_then(|()| connection.try_reply()) {
            Err(_) => {
                client = None;
                if is_firm {
                    user.knows = Knows::Unsure;
                }
            }
            Ok(reply) => {
                shop.replies.fetch_add(1, SeqCst);
                let reply = one_line(&reply);
                let is_unknown = reply.contains("could not be found out in time");
                if is_firm && is_unknown {
                    user.knows = Knows::Unsure;
                } else if is_firm {
                    user.hear(&line, &reply, &format!("seed {seed}"));
                } else {
                    let known = ["*4 ", "*-1", "-SOLDOUT", "-NOTHELD", "-ERR hotgate"];
                    assert!(
                        known.iter().any(|start| reply.starts_with(start)),
                        "{line} -> {reply} (seed {seed})"
                    );
                }
            }
        }
    }
    users
}

/// One fault of a kind that the seed chooses.
fn break_something(cluster: &Cluster, gateways: &mut Vec<Gateway>, shop: &Shop, rng: &mut SmallRng) {
    match rng.random_range(0..5) {
        0 | 1 => {
            let place = rng.random_range(0..GATEWAYS);
            shop.addresses.lock().unwrap().remove(place);
            gateways[place].kill();
            gateways.remove(place);
            let fresh = Gateway::before(cluster).config(CONFIG).start();
            shop.addresses.lock().unwrap().push(fresh.address);
            gateways.push(fresh);
        }
        2 | 3 => {
            let mut owner = cluster.client(cluster.master_of(FIRM));
            owner.send_line("CLIENT KILL TYPE normal SKIPME yes");
            owner.reply();
        }
        _ => cluster.fail_over(FIRM),
    }
}

/// Rows of a sale by user, and the places in them.
fn rows(client: &mut Client, sku: &str) -> BTreeMap<String, (u64, u64)> {
    let (mut rows, mut after) = (BTreeMap::new(), "0".to_owned());
    loop {
        let words = client.list(&format!("RESERVE.LIST {sku} AFTER {after} COUNT 50"));
        let Some(last) = words.chunks_exact(5).next_back() else { return rows };
        after = last[0].clone();
        for row in words.chunks_exact(5) {
            let former = rows.insert(row[1].clone(), (row[0].parse().unwrap(), row[2].parse().unwrap()));
            assert_eq!(former, None, "{} is there twice", row[1]);
        }
    }
}

/// What the ledger says of each user: never more places than a user may have, never fewer than none.
fn by_ledger(owner: &mut Client, sku: &str) -> BTreeMap<String, i64> {
    let keys =
        owner.list(&format!("KEYS *hotgate:sale.ledger:{}", sku.replace('{', "\\{").replace('}', "\\}")));
    let words = owner.list(&format!("XRANGE {} - +", keys[0]));
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    for entry in words
        .split(|word| word.contains('-') && word[..1].parse::<u8>().is_ok())
        .filter(|entry| !entry.is_empty())
    {
        let field = |name: &str| {
            let at = entry.iter().step_by(2).position(|word| word == name);
            at.map(|at| entry[2 * at + 1].clone()).unwrap_or_default()
        };
        let count: i64 = field("count").parse().unwrap_or(0);
        let change = match field("event").as_str() {
            "add" => count,
            "cancel" | "expire" => -count,
            _ => 0,
        };
        let places = places.entry(field("user")).or_default();
        *places += change;
        assert!((0..=1).contains(places), "{entry:?}");
    }
    places.retain(|_, places| *places > 0);
    places
}

#[test]
fn everybody_is_told_the_truth_and_the_books_agree() {
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let cluster = Cluster::start();
    let mut gateways: Vec<Gateway> =
        (0..GATEWAYS).map(|_| Gateway::before(&cluster).config(CONFIG).start()).collect();
    let shop = Shop::default();
    shop.addresses.lock().unwrap().extend(gateways.iter().map(|gateway| gateway.address));
    let mut client = gateways[0].client();
    client.check(&format!("RESERVE.OPEN {FIRM} LIMIT {LIMIT}"), "+OK");
    client.check(&format!("RESERVE.OPEN {HELD} LIMIT {LIMIT} HOLD 150"), "+OK");
    let users: Vec<User> = std::thread::scope(|scope| {
        let _rest = RestWhenFailed(&shop);
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                scope.spawn({
                    let shop = &shop;
                    move || use_sale(shop, hand, seed)
                })
            })
            .collect();
        for _ in 0..FAULTS {
            let wanted = shop.replies.load(SeqCst) + REPLIES_BETWEEN;
            wait_until("users go on", || {
                assert!(!shop.failed.load(SeqCst), "a hand has failed (seed {seed})");
                shop.replies.load(SeqCst) >= wanted
            });
            break_something(&cluster, &mut gateways, &shop, &mut rng);
        }
        shop.closing.store(true, SeqCst);
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    let mut client = gateways[0].client();
    wait_until("all holds have ended that were not confirmed", || {
        rows(&mut client, HELD).len() as i64 == info(&mut client, HELD, "confirmed")
    });
    let mut owner = cluster.client(cluster.master_of(FIRM));
    for sku in [FIRM, HELD] {
        let rows = rows(&mut client, sku);
        let by_ledger = by_ledger(&mut owner, sku);
        let places: u64 = rows.values().map(|(_, places)| places).sum();
        assert_eq!(info(&mut client, sku, "taken"), places as i64, "{sku}, seed {seed}");
        assert!(rows.len() <= LIMIT, "{sku} is oversold, seed {seed}");
        assert!(rows.keys().eq(by_ledger.keys()), "{sku}, seed {seed}: {rows:?} {by_ledger:?}");
        if sku == FIRM {
            for User { name, knows, .. } in &users {
                let seq = rows.get(name).map(|(seq, _)| *seq);
                let expected = seq.map_or(Knows::Nothing, Knows::Holds);
                assert_eq!(*knows, expected, "{name}, seed {seed}");
            }
        }
    }
}

fn info(client: &mut Client, sku: &str, name: &str) -> i64 {
    let words = client.list(&format!("RESERVE.INFO {sku}"));
    let at = words.iter().step_by(2).position(|word| word == name).unwrap();
    words[2 * at + 1].parse().unwrap()
}
