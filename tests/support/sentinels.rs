//! A master with replicas, and Sentinels that watch it: real processes on free ports.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::redis::Server;
use super::{free_port, reaper, wait_until};

/// What the Sentinels call the master.
pub const MASTER: &str = "mymaster";

/// One Sentinel. Killed when dropped.
pub struct Sentinel {
    child: Child,
    pub address: SocketAddr,
    directory: TempDir,
}

/// A watched master.
pub struct Watched {
    /// The first one is the master at the start.
    pub servers: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
}

impl Sentinel {
    /// Watches the master at this port, with further lines of its configuration. A server is down after a time that a busy machine
    /// does not need for a `PING` even right after a failover, or one follows the other.
    pub fn start(master: u16, quorum: usize, more: &str) -> Sentinel {
        let directory = tempfile::Builder::new().prefix("hotgate-test-sentinel").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        let port = free_port();
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} 2500\nsentinel failover-timeout {MASTER} 10000\n\
             sentinel parallel-syncs {MASTER} 2\n{more}\n"
        );
        std::fs::write(directory.path().join("sentinel.conf"), config).unwrap();
        let child = spawn(&directory);
        Sentinel { child, address: SocketAddr::from(([127, 0, 0, 1], port)), directory }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn kill(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            reaper::spare(self.child.id());
        }
    }

    /// As it was before it was killed: it keeps what it knows in its file.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.directory);
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&self) {
        wait_until("the Sentinel listens", || Client::try_connect(self.address).is_ok());
    }

    /// The port of the master, as it knows it, and since which failover. Not while it holds one itself.
    pub fn master(&self) -> Option<(u16, u64)> {
        let mut client = Client::try_connect(self.address).ok()?;
        client.try_send(format!("SENTINEL MASTER {MASTER}\r\n").as_bytes()).ok()?;
        let reply = String::from_utf8(client.try_reply().ok()?).ok()?;
        let words: Vec<&str> = reply.split("\r\n").skip(2).step_by(2).collect();
        let value = |name| words.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        if value("flags")?.contains("failover_in_progress") {
            return None;
        }
        Some((value("port")?.parse().ok()?, value("config-epoch")?.parse().ok()?))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(directory: &TempDir) -> Child {
    let server = std::env::var("HOTGATE_TEST_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let child = Command::new(server)
        .arg(directory.path().join("sentinel.conf"))
        .arg("--sentinel")
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    reaper::kill_at_end(child.id());
    child
}

impl Watched {
    /// A master, so many replicas, and three Sentinels that know of each other and of all of them.
    pub fn start(replicas: usize, options: &[&str], of_sentinels: &str) -> Watched {
        let mut servers = vec![Server::with(options)];
        let port = servers[0].port().to_string();
        for _ in 0..replicas {
            servers.push(Server::with(&[options, &["--replicaof", "127.0.0.1", &port]].concat()));
        }
        let sentinels: Vec<Sentinel> =
            (0..3).map(|_| Sentinel::start(servers[0].port(), 2, of_sentinels)).collect();
        sentinels.iter().for_each(Sentinel::wait_until_it_listens);
        Watched { servers, sentinels }
    }

    /// Once the Sentinels can hold a failover.
    pub fn wait_until_whole(&self, log_in: &str) {
        let replicas = format!("num-slaves\r\n$1\r\n{}\r\n", self.servers.len() - 1);
        for sentinel in &self.sentinels {
            wait_until("the Sentinels know each other and the replicas", || {
                let mut client = sentinel.client();
                if !log_in.is_empty() {
                    client.ask(log_in);
                }
                let state = String::from_utf8_lossy(&client.call_line(&format!("SENTINEL MASTER {MASTER}")))
                    .into_owned();
                state.contains(&replicas)
                    && state.contains("num-other-sentinels\r\n$1\r\n2\r\n")
                    && state.contains("\r\nmaster\r\n")
            });
        }
    }

    /// `[upstream]` of a gateway before it.
    pub fn config(&self) -> String {
        let sentinels: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("\"{}\"", sentinel.address)).collect();
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream]\nservers = [{}]\nkind = \"sentinel\"\nmaster = \"{MASTER}\"\n",
            sentinels.join(", ")
        )
    }

    /// The server that listens at this port.
    pub fn at(&self, port: u16) -> usize {
        self.servers.iter().position(|server| server.port() == port).expect("it is one of them")
    }

    /// Which server is the master, once all Sentinels that run say the same and none holds a failover.
    pub fn settled_master(&self) -> Option<usize> {
        let mut running =
            self.sentinels.iter().filter(|sentinel| Client::try_connect(sentinel.address).is_ok());
        let first = running.next()?.master()?;
        running.all(|sentinel| sentinel.master() == Some(first)).then(|| self.at(first.0))
    }
}
