//! Real redis servers for the tests: one server, or a cluster of three masters with a replica each, on free ports of
//! the loopback interface, without persistence, in a temporary directory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::{reaper, wait_for, wait_until};

/// One redis process. Killed when dropped.
pub struct Server {
    child: Child,
    port: u16,
    options: Vec<String>,
    directory: TempDir,
}

impl Server {
    /// A server with default options.
    pub fn start() -> Server {
        Self::with(&[])
    }

    /// A server with further command-line options (`["--requirepass", "secret"]`).
    pub fn with(options: &[&str]) -> Server {
        Self::at(free_port(), options)
    }

    /// A server at a port that the caller has chosen, as after a restart.
    pub fn at(port: u16, options: &[&str]) -> Server {
        let directory = tempfile::Builder::new().prefix("hotgate-test-redis").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let child = spawn(port, &options, &directory);
        let server = Server { child, port, options, directory };
        server.wait_until_it_answers();
        server
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// SIGKILL, and the process is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::spare(self.child.id());
    }

    /// Starts it again on the same port with the same options; its data are gone.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.options, &self.directory);
        self.wait_until_it_answers();
    }

    pub fn restart_elsewhere(&mut self) {
        self.kill();
        self.port = free_port();
        self.restart();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        signal(self.child.id(), "STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(self.child.id(), "CONT");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_answers(&self) {
        wait_until("redis answers", || {
            Client::try_connect(self.address()).is_ok_and(|mut client| {
                client.send_line("PING");
                client.try_reply().is_ok()
            })
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, options: &[String], directory: &TempDir) -> Child {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--dir", &directory.path().display().to_string(), "--enable-debug-command", "local"])
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is on PATH (apt-get install redis-server)");
    reaper::kill_at_end(child.id());
    child
}

/// Sends `signal` to a process.
pub fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// A port that was free a moment ago, low enough for a cluster bus port 10,000 above it.
pub fn free_port() -> u16 {
    wait_for("a free port", || {
        let port = rand::random_range(20_000..32_000);
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (free(port) && free(port + 10_000)).then_some(port)
    })
}

/// Three masters with a replica each; the first three nodes begin as the masters.
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    pub fn start() -> Cluster {
        Self::with(&[])
    }

    pub fn with(options: &[&str]) -> Cluster {
        let mut all = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--repl-diskless-sync-delay",
            "0",
        ];
        all.extend_from_slice(options);
        let nodes: Vec<Server> = (0..6).map(|_| Server::with(&all)).collect();
        let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Cluster { nodes };
        cluster.wait_until_whole();
        cluster
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn client(&self, node: usize) -> Client {
        self.nodes[node].client()
    }

    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].port()
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    pub fn restart(&mut self, node: usize) {
        self.nodes[node].restart();
    }

    pub fn restart_elsewhere(&mut self, node: usize) {
        self.nodes[node].restart_elsewhere();
    }

    pub fn pause(&self, node: usize) {
        self.nodes[node].pause();
    }

    pub fn resume(&self, node: usize) {
        self.nodes[node].resume();
    }

    /// Waits until every node sees every slot served and every replica has its master's data.
    pub fn wait_until_whole(&self) {
        wait_until("the cluster is whole", || {
            self.nodes.iter().all(|node| {
                let mut client = node.client();
                let info = String::from_utf8(client.bulk("CLUSTER INFO")).unwrap();
                let replication = String::from_utf8(client.bulk("INFO replication")).unwrap();
                info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:6")
                    && (replication.contains("role:master") || replication.contains("master_link_status:up"))
            })
        });
    }

    /// `host:port` of every node, with commas between.
    pub fn seeds(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        addresses.join(",")
    }

    /// The index of the node that serves `key` as a master now.
    pub fn master_of(&self, key: &str) -> usize {
        wait_for("a master that serves the key", || {
            self.nodes.iter().position(|node| {
                let mut client = node.client();
                client.ask("ROLE").contains("master") && !client.ask(&format!("TYPE {key}")).starts_with('-')
            })
        })
    }

    /// The nodes that are masters now.
    pub fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&index| self.nodes[index].client().ask("ROLE").contains("master"))
            .collect()
    }
}
