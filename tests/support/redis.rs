//! The private redis servers of `hotgate::demo`, for tests that are not asynchronous: one server, or a cluster of three
//! masters with a replica each.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use hotgate::demo::private_redis::{PrivateCluster, PrivateRedisError, PrivateServer};

use super::certificates::tls_port;
use super::client::Client;
use super::secured::{self, Secured};
use super::{wait_for, wait_until};

/// Starting servers is asynchronous; everything else about them is not.
fn started<T>(start: impl Future<Output = Result<T, PrivateRedisError>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(start).unwrap_or_else(|error| panic!("{error}"))
}

/// One redis process. Killed when dropped.
pub struct Server {
    server: PrivateServer,
    secured: Option<&'static Secured>,
}

impl Server {
    /// A server with default options.
    pub fn start() -> Server {
        Self::with(&[])
    }

    /// A server with further command-line options (`["--requirepass", "secret"]`).
    pub fn with(options: &[&str]) -> Server {
        Self::start_with(options, secured::everywhere())
    }

    /// A server that speaks TLS beside its plain port; gateways before it use the former.
    pub fn secured(secured: &'static Secured, options: &[&str]) -> Server {
        Self::start_with(options, Some(secured))
    }

    fn start_with(options: &[&str], secured: Option<&'static Secured>) -> Server {
        let more = secured.map_or_else(Vec::new, Secured::server_options);
        let options: Vec<&str> = options.iter().copied().chain(more.iter().map(String::as_str)).collect();
        Server { server: started(PrivateServer::start(&options)), secured }
    }

    /// As `--upstream` takes it.
    pub fn seed(&self) -> String {
        seed(self.port(), self.secured)
    }

    /// A server that saves its data, and after a restart loads it key by key so slowly that clients see it load.
    pub fn slow_to_load() -> Server {
        let interval = ["--loading-process-events-interval-bytes", "1024"];
        Server::with(&[&["--save", "3600 1", "--key-load-delay", "3000"][..], &interval].concat())
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    pub fn port(&self) -> u16 {
        self.server.address().port
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// SIGKILL; the process is gone when this returns.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port with the same options; its data are gone.
    pub fn restart(&mut self) {
        started(self.server.restart());
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.server.pause().unwrap();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.server.resume().unwrap();
    }
}

fn seed(port: u16, secured: Option<&Secured>) -> String {
    let port = if secured.is_some() { tls_port(port) } else { port };
    format!("127.0.0.1:{port}")
}

/// Sends `signal` to a process. After `STOP` it stands still when this returns: one thread of it takes the signal when it
/// gets to run, and until then the others go on.
pub fn signal(pid: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
    if signal == "STOP" {
        wait_until("the process stands still", || threads_stopped(pid));
    }
}

/// Whether each thread of a process is in the state "stopped" (proc(5): the third field of `stat`).
fn threads_stopped(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('T'))
    })
}

/// Three masters (nodes 0 to 2 at first) with a replica each.
pub struct Cluster {
    cluster: PrivateCluster,
    secured: Option<&'static Secured>,
    nodes: usize,
}

impl Cluster {
    pub fn start() -> Cluster {
        Self::with(&[])
    }

    /// A cluster whose servers have further command-line options.
    pub fn with(options: &[&str]) -> Cluster {
        Self::start_with(options, secured::everywhere())
    }

    /// A cluster that speaks TLS, its nodes among each other too.
    pub fn secured(secured: &'static Secured, options: &[&str]) -> Cluster {
        Self::start_with(options, Some(secured))
    }

    fn start_with(options: &[&str], secured: Option<&'static Secured>) -> Cluster {
        let more = secured.map_or_else(Vec::new, Secured::node_options);
        let options: Vec<&str> = options.iter().copied().chain(more.iter().map(String::as_str)).collect();
        let cluster = started(PrivateCluster::start(3, 1, &options));
        let nodes = cluster.addresses().len();
        Cluster { cluster, secured, nodes }
    }

    pub fn len(&self) -> usize {
        self.nodes
    }

    pub fn port(&self, node: usize) -> u16 {
        self.cluster.node(node).address().port
    }

    pub fn client(&self, node: usize) -> Client {
        Client::connect((Ipv4Addr::LOCALHOST, self.port(node)).into())
    }

    pub fn kill(&mut self, node: usize) {
        self.cluster.kill(node);
    }

    pub fn restart(&mut self, node: usize) {
        started(self.cluster.restart(node));
    }

    /// The node comes back as itself on another port.
    pub fn restart_elsewhere(&mut self, node: usize) {
        started(self.cluster.restart_elsewhere(node));
    }

    pub fn pause(&self, node: usize) {
        self.cluster.pause(node).unwrap();
    }

    pub fn resume(&self, node: usize) {
        self.cluster.resume(node).unwrap();
    }

    /// Waits until every node sees every slot served and all others alive, and every replica has its master's data.
    pub fn wait_until_whole(&self) {
        wait_until("the cluster is whole", || {
            (0..self.nodes).all(|node| {
                let mut client = self.client(node);
                let mut text = |line: &str| client.text(line);
                let (info, nodes, replication) =
                    (text("CLUSTER INFO"), text("CLUSTER NODES"), text("INFO replication"));
                info.contains("cluster_state:ok")
                    && !nodes.contains("fail")
                    && (replication.contains("role:master") || replication.contains("master_link_status:up"))
            })
        });
    }

    /// `host:port` of every node, with commas between.
    pub fn seeds(&self) -> String {
        let seeds: Vec<String> =
            self.cluster.addresses().iter().map(|address| seed(address.port, self.secured)).collect();
        seeds.join(",")
    }

    /// A replica of the master with this number.
    pub fn replica_of(&self, master: usize) -> usize {
        let id = self.client(master).text("CLUSTER MYID");
        let follows = |node: &usize| {
            let nodes = self.client(*node).text("CLUSTER NODES");
            nodes.lines().any(|line| line.contains("myself,slave") && line.contains(&id))
        };
        wait_for("the master has a replica", || (0..self.nodes).find(follows))
    }

    /// Makes a replica of the key's master the master in its place, as before maintenance, and waits for it.
    pub fn fail_over(&self, key: &str) {
        self.fail_over_watching(key, || {});
    }

    /// As [`Cluster::fail_over`], with something to look at again and again meanwhile.
    pub fn fail_over_watching(&self, key: &str, mut look: impl FnMut()) {
        let promoted = self.replica_of(self.master_of(key));
        let mut client = self.client(promoted);
        wait_until("the replica is in sync", || {
            client.text("INFO replication").contains("master_link_status:up")
        });
        // Redis gives an attempt up after five seconds, and begins anew when asked again before.
        let mut asked: Option<Instant> = None;
        wait_until("the replica is the master", || {
            look();
            if asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(6)) {
                client.ask("CLUSTER FAILOVER");
                asked = Some(Instant::now());
            }
            client.list("ROLE")[0] == "master"
        });
    }

    /// The node that serves `key` as a master now.
    pub fn master_of(&self, key: &str) -> usize {
        wait_for("a master that serves the key", || {
            self.masters()
                .into_iter()
                .find(|&node| !self.client(node).ask(&format!("TYPE {key}")).starts_with('-'))
        })
    }

    /// The nodes that run and are masters now.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &usize| {
            let address = (Ipv4Addr::LOCALHOST, self.port(*node)).into();
            Client::try_connect(address).is_ok_and(|mut client| client.ask("ROLE").contains("master"))
        };
        (0..self.nodes).filter(is_master).collect()
    }
}
