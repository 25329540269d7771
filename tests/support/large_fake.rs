//! Redis Clusters of hundreds of nodes that are made up: each node listens, answers what a gateway asks of it, redirects what is not its
//! own, and hears of a failover some time after it, as by gossip. They keep values of strings and nothing else.
//!
//! Owns a thread with all nodes. It counts what it is asked, and how many bytes it answers, by cluster. It deliberately fails over at once
//! when it is told to: how long a real cluster takes to notice is that cluster's matter.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotgate::resp::{Request, RequestLimits};
use hotgate::resp::{RequestScan, RequestScanner, key_slot};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const SLOTS: usize = 16_384;

/// How long the last node of a cluster takes to hear of a failover.
pub const GOSSIP_MAX: Duration = Duration::from_millis(100);

/// One node.
struct Node {
    port: u16,
    /// From when on it knows the present map; before that, the former one.
    knows_from: Instant,
    is_down: watch::Sender<bool>,
}

/// Who owns what: for each shard its nodes, the master first.
type Map = Vec<Vec<usize>>;

struct OneCluster {
    nodes: Vec<Node>,
    map: Map,
    former: Map,
    epoch: u64,
    values: HashMap<Vec<u8>, Vec<u8>>,
    counts: Counts,
}

/// What a cluster was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken.
    pub connections: u64,
    /// Questions for its map.
    pub maps: u64,
    /// Questions for its state, which come with those for its map, and from probes.
    pub states: u64,
    /// All commands.
    pub commands: u64,
    /// Bytes of all replies.
    pub bytes: u64,
}

/// The clusters, until they are dropped.
pub struct LargeFake {
    clusters: Arc<Mutex<Vec<OneCluster>>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn lock(clusters: &Mutex<Vec<OneCluster>>) -> MutexGuard<'_, Vec<OneCluster>> {
    clusters.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LargeFake {
    /// Starts clusters of so many nodes, three to a shard and those that are left over in the last one.
    pub fn start(sizes: &[usize]) -> LargeFake {
        let listeners: Vec<Vec<std::net::TcpListener>> =
            sizes.iter().map(|size| (0..*size).map(|_| listener()).collect()).collect();
        let clusters: Vec<OneCluster> = listeners.iter().map(|of| OneCluster::new(of)).collect();
        let clusters = Arc::new(Mutex::new(clusters));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shared = Arc::clone(&clusters);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                for (cluster, of) in listeners.into_iter().enumerate() {
                    for (node, listener) in of.into_iter().enumerate() {
                        tokio::spawn(listen(Arc::clone(&shared), (cluster, node), listener));
                    }
                }
                let _ = stopped.await;
            });
        });
        LargeFake { clusters, _stop: stop }
    }

    /// The addresses of the first nodes of a cluster, for a configuration.
    pub fn seeds(&self, cluster: usize, count: usize) -> Vec<SocketAddr> {
        let clusters = lock(&self.clusters);
        let nodes = clusters[cluster].nodes.iter().take(count);
        nodes.map(|node| SocketAddr::from(([127, 0, 0, 1], node.port))).collect()
    }

    /// The address of the master of a shard.
    pub fn master(&self, cluster: usize, shard: usize) -> SocketAddr {
        let clusters = lock(&self.clusters);
        let of = &clusters[cluster];
        SocketAddr::from(([127, 0, 0, 1], of.nodes[of.map[shard][0]].port))
    }

    /// A key of a shard.
    pub fn key_of(&self, cluster: usize, shard: usize, number: usize) -> String {
        let clusters = lock(&self.clusters);
        let map = &clusters[cluster].map;
        let is_its_own = |key: &String| shard_of(map, key_slot(key.as_bytes())) == shard;
        let name = |attempt: usize| format!("{number}:{attempt}");
        (0..).map(name).find(is_its_own).unwrap()
    }

    /// The master of a shard dies, and a replica takes its place. It knows so at once, the others hear of it.
    pub fn fail_over(&self, cluster: usize, shard: usize) {
        let mut clusters = lock(&self.clusters);
        let of = &mut clusters[cluster];
        of.former.clone_from(&of.map);
        let nodes = &mut of.map[shard];
        let dead = nodes.remove(0);
        let (promoted, now) = (nodes[0], Instant::now());
        nodes.push(dead);
        of.epoch += 1;
        let mut random = SmallRng::seed_from_u64(of.epoch);
        for (number, node) in of.nodes.iter_mut().enumerate() {
            let heard = GOSSIP_MAX.mul_f64(random.random_range(0.0..=1.0));
            node.knows_from = if number == promoted { now } else { now + heard };
        }
        of.nodes[dead].is_down.send_replace(true);
    }

    /// What each cluster was asked since it started.
    pub fn counts(&self) -> Vec<Counts> {
        lock(&self.clusters).iter().map(|of| of.counts.clone()).collect()
    }
}

fn listener() -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn shard_of(map: &Map, slot: u16) -> usize {
    usize::from(slot) * map.len() / SLOTS
}

impl OneCluster {
    fn new(listeners: &[std::net::TcpListener]) -> OneCluster {
        let now = Instant::now();
        let node = |listener: &std::net::TcpListener| Node {
            port: listener.local_addr().unwrap().port(),
            knows_from: now,
            is_down: watch::Sender::new(false),
        };
        let shards = listeners.len() / 3;
        let mut map: Map = (0..shards).map(|shard| vec![3 * shard, 3 * shard + 1, 3 * shard + 2]).collect();
        map.last_mut().unwrap().extend(3 * shards..listeners.len());
        let nodes = listeners.iter().map(node).collect();
        let (values, counts) = (HashMap::new(), Counts::default());
        OneCluster { nodes, former: map.clone(), map, epoch: 1, values, counts }
    }

    /// The map as a node knows it, and its epoch.
    fn known_to(&self, node: usize) -> (&Map, u64) {
        match Instant::now() >= self.nodes[node].knows_from {
            true => (&self.map, self.epoch),
            false => (&self.former, self.epoch - 1),
        }
    }

    fn id(node: usize) -> String {
        format!("{node:040x}")
    }

    fn range(map: &Map, shard: usize) -> (usize, usize) {
        let start = |shard: usize| (shard * SLOTS).div_ceil(map.len());
        (start(shard), start(shard + 1) - 1)
    }

    fn shards(&self, node: usize, out: &mut Vec<u8>) {
        let (map, _) = self.known_to(node);
        out.extend(format!("*{}\r\n", map.len()).bytes());
        for (shard, nodes) in map.iter().enumerate() {
            let (start, end) = Self::range(map, shard);
            out.extend(format!("*4\r\n$5\r\nslots\r\n*2\r\n:{start}\r\n:{end}\r\n$5\r\nnodes\r\n").bytes());
            out.extend(format!("*{}\r\n", nodes.len()).bytes());
            for (place, number) in nodes.iter().enumerate() {
                let role = if place == 0 { "master" } else { "replica" };
                // Who is dead is known to be as soon as the map is known.
                let is_known_dead = *self.nodes[*number].is_down.borrow() && place > 0;
                let health = if is_known_dead { "fail" } else { "online" };
                out.extend(b"*14\r\n");
                let port = self.nodes[*number].port;
                for (name, value) in [
                    ("id", Self::id(*number)),
                    ("ip", "127.0.0.1".to_owned()),
                    ("endpoint", "127.0.0.1".to_owned()),
                    ("role", role.to_owned()),
                    ("health", health.to_owned()),
                ] {
                    bulk(out, name);
                    bulk(out, &value);
                }
                bulk(out, "port");
                out.extend(format!(":{port}\r\n").bytes());
                bulk(out, "replication-offset");
                out.extend(b":1\r\n");
            }
        }
    }

    fn role(&self, node: usize, out: &mut Vec<u8>) {
        let (map, _) = self.known_to(node);
        let nodes = map.iter().find(|nodes| nodes.contains(&node)).unwrap();
        if nodes[0] == node {
            out.extend(b"*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n");
        } else {
            out.extend(b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n");
            out.extend(format!(":{}\r\n$9\r\nconnected\r\n:1\r\n", self.nodes[nodes[0]].port).bytes());
        }
    }

    /// Answers a request of `GET`, `SET` and `INCR`, or redirects it.
    fn serve(&mut self, node: usize, words: &[&[u8]], out: &mut Vec<u8>) {
        let slot = key_slot(words[1]);
        let (map, _) = self.known_to(node);
        let owner = map[shard_of(map, slot)][0];
        if owner != node {
            out.extend(format!("-MOVED {slot} 127.0.0.1:{}\r\n", self.nodes[owner].port).bytes());
            return;
        }
        match words {
            [_, key] => match self.values.get(*key) {
                Some(value) => bulk(out, std::str::from_utf8(value).unwrap()),
                None => out.extend(b"$-1\r\n"),
            },
            [_, key, value, ..] => {
                self.values.insert(key.to_vec(), value.to_vec());
                out.extend(b"+OK\r\n");
            }
            _ => out.extend(b"-ERR syntax error\r\n"),
        }
    }

    fn answer(&mut self, node: usize, words: &[&[u8]], out: &mut Vec<u8>) {
        self.counts.commands += 1;
        let word = |place: usize| {
            words.get(place).map_or(String::new(), |word| String::from_utf8_lossy(word).to_ascii_lowercase())
        };
        match (word(0).as_str(), word(1).as_str()) {
            ("ping", _) => out.extend(b"+PONG\r\n"),
            ("get" | "set", _) => self.serve(node, words, out),
            ("cluster", "shards") => {
                self.counts.maps += 1;
                self.shards(node, out);
            }
            ("cluster", "info") => {
                self.counts.states += 1;
                let (_, epoch) = self.known_to(node);
                bulk(out, &format!("cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_current_epoch:{epoch}\r\n"));
            }
            ("cluster", "myid") => bulk(out, &Self::id(node)),
            ("role", _) => self.role(node, out),
            ("info", _) => bulk(out, "redis_version:7.0.15\r\nredis_mode:cluster\r\ncluster_enabled:1\r\nconnected_clients:1\r\nmaxclients:10000\r\n"),
            ("dbsize", _) => out.extend(b":0\r\n"),
            ("hello", "3") => out.extend(b"%1\r\n$5\r\nproto\r\n:3\r\n"),
            ("hello", _) => out.extend(b"*2\r\n$5\r\nproto\r\n:2\r\n"),
            ("client", "id") => out.extend(b":1\r\n"),
            ("client" | "select" | "readonly" | "asking", _) => out.extend(b"+OK\r\n"),
            ("auth", _) => out.extend(b"-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"),
            // Its table of commands is what the gateway knows without asking.
            ("command", _) => out.extend(b"$-1\r\n"),
            (name, _) => out.extend(format!("-ERR unknown command '{name}'\r\n").bytes()),
        }
    }
}

fn bulk(out: &mut Vec<u8>, text: &str) {
    out.extend(format!("${}\r\n{text}\r\n", text.len()).bytes());
}

async fn listen(
    clusters: Arc<Mutex<Vec<OneCluster>>>,
    place: (usize, usize),
    listener: std::net::TcpListener,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut is_down = lock(&clusters)[place.0].nodes[place.1].is_down.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // With its listener it refuses, and each connection ends by itself.
            _ = is_down.wait_for(|is_down| *is_down) => return,
        };
        let Ok((stream, _)) = accepted else { return };
        lock(&clusters)[place.0].counts.connections += 1;
        let (clusters, mut is_down) = (Arc::clone(&clusters), is_down.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serve(clusters, place, stream) => {}
                _ = is_down.wait_for(|is_down| *is_down) => {}
            }
        });
    }
}

async fn serve(
    clusters: Arc<Mutex<Vec<OneCluster>>>,
    (cluster, node): (usize, usize),
    mut stream: TcpStream,
) {
    let (mut scanner, mut received) = (RequestScanner::new(limits()), bytes::BytesMut::new());
    loop {
        let mut out = Vec::new();
        while let RequestScan::Complete { len } = scanner.scan(&received) {
            let request = Request::new(&received[..len], scanner.spans());
            let words: Vec<&[u8]> = request.args().collect();
            lock(&clusters)[cluster].answer(node, &words, &mut out);
            let _ = received.split_to(len);
        }
        lock(&clusters)[cluster].counts.bytes += out.len() as u64;
        if stream.write_all(&out).await.is_err() {
            return;
        }
        match stream.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn limits() -> RequestLimits {
    RequestLimits {
        bulk_bytes_max: 1 << 20,
        arguments_max: 1024,
        inline_bytes_max: 1024,
        authenticated: true,
    }
}
