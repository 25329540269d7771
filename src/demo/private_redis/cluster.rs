//! A private Redis Cluster, formed with the servers' own commands and without redis-cli.
//!
//! Owns the servers and how they find each other. Deliberately serves no client and moves no slot after the start.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use redis_protocol::resp2::types::OwnedFrame;
use tokio::time::{Instant, sleep};

use super::directory::ServerDirectory;
use super::{PrivateRedisError, PrivateServer};
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient, UpstreamError};
use crate::shared::topology::{Address, SLOTS};

/// Two seconds are Redis' own: a master that just started waits so long before it calls the cluster's state `ok`
/// (`CLUSTER_WRITABLE_DELAY` in cluster.c). The rest is for a loaded machine.
const FORMATION_TIME_MAX: Duration = Duration::from_secs(60);

/// Between two questions to a node.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), reply: Duration::from_secs(10) };

/// A running cluster. Nodes are numbered from 0: first the masters, which own equal parts of the slots in that order,
/// then the replicas, of which number `masters + i` copies master `i % masters`. The numbers say how it was formed; a
/// failover changes roles, not numbers.
pub struct PrivateCluster {
    nodes: Vec<PrivateServer>,
    masters: usize,
}

impl PrivateCluster {
    /// Starts `masters * (1 + replicas_per_master)` servers and forms a cluster of them; every node says that its state
    /// is `ok`, and every replica is in sync, when this returns. `extra_args` go to each server and override what is set
    /// here, for example `["--cluster-node-timeout", "1000"]` (5 seconds otherwise).
    ///
    /// # Errors
    /// Every [`PrivateRedisError`]. Servers that were started by then are killed.
    pub async fn start(
        masters: usize,
        replicas_per_master: usize,
        extra_args: &[&str],
    ) -> Result<Self, PrivateRedisError> {
        let directory = Arc::new(ServerDirectory::create()?);
        let mut arguments = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
        // Replicas sync at once, and one that was long without its master may still be elected.
        arguments.extend(["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"]);
        arguments.extend(extra_args);
        let mut nodes = Vec::new();
        for number in 0..masters * (1 + replicas_per_master) {
            let name = format!("node-{number}");
            nodes.push(PrivateServer::start_in(Arc::clone(&directory), &name, &arguments).await?);
        }
        let cluster = Self { nodes, masters };
        cluster.form().await?;
        Ok(cluster)
    }

    /// The addresses of all nodes, by their numbers.
    pub fn addresses(&self) -> Vec<Address> {
        self.nodes.iter().map(PrivateServer::address).collect()
    }

    /// The server of number `node`. Panics when there is none, as do the methods below.
    pub fn node(&self, node: usize) -> &PrivateServer {
        &self.nodes[node]
    }

    /// Ends a node at once, as a crash would.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node again under the same address and id.
    ///
    /// # Errors
    /// Those of [`PrivateServer::restart`].
    pub async fn restart(&mut self, node: usize) -> Result<(), PrivateRedisError> {
        self.nodes[node].restart().await
    }

    /// Starts a node again under the same id on another port.
    ///
    /// # Errors
    /// Those of [`PrivateServer::restart_elsewhere`].
    pub async fn restart_elsewhere(&mut self, node: usize) -> Result<(), PrivateRedisError> {
        self.nodes[node].restart_elsewhere().await
    }

    /// Stops a node where it stands, sockets open.
    ///
    /// # Errors
    /// Those of [`PrivateServer::pause`].
    pub fn pause(&self, node: usize) -> Result<(), PrivateRedisError> {
        self.nodes[node].pause()
    }

    /// Lets a paused node go on.
    ///
    /// # Errors
    /// Those of [`PrivateServer::pause`].
    pub fn resume(&self, node: usize) -> Result<(), PrivateRedisError> {
        self.nodes[node].resume()
    }

    /// A client of a node.
    ///
    /// # Errors
    /// [`PrivateRedisError::NoCluster`] when it does not answer.
    pub async fn client(&self, node: usize) -> Result<UpstreamClient, PrivateRedisError> {
        let address = self.nodes[node].address();
        UpstreamClient::connect(&address, &Credentials::default(), TIMEOUTS)
            .await
            .map_err(|error| PrivateRedisError::NoCluster(format!("connecting to {address}: {error}")))
    }

    async fn form(&self) -> Result<(), PrivateRedisError> {
        let mut clients = Vec::new();
        for node in 0..self.nodes.len() {
            clients.push(self.client(node).await?);
        }
        let mut ids = Vec::new();
        for (node, client) in clients.iter_mut().enumerate() {
            // Distinct epochs from the start: otherwise the nodes have to settle the collision first.
            let epoch = (node + 1).to_string();
            ask(client, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
            if node < self.masters {
                assign_slots(client, self.slots_of(node)).await?;
            }
            ids.push(ask(client, &["CLUSTER", "MYID"]).await?);
        }
        // Every pair meets at once, which is faster than waiting for gossip to introduce them.
        for (node, client) in clients.iter_mut().enumerate() {
            for peer in &self.nodes[node + 1..] {
                ask(client, &["CLUSTER", "MEET", "127.0.0.1", &peer.address().port.to_string()]).await?;
            }
        }
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        for client in &mut clients {
            wait_for(client, &["CLUSTER", "INFO"], |info| info.contains(&known)).await?;
        }
        for (replica, client) in clients.iter_mut().enumerate().skip(self.masters) {
            let master = &ids[replica % self.masters];
            // Refused until this node has heard who that is.
            wait_for(client, &["CLUSTER", "REPLICATE", master], |reply| reply == "OK").await?;
        }
        for (node, client) in clients.iter_mut().enumerate() {
            wait_for(client, &["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok")).await?;
            if node >= self.masters {
                wait_for(client, &["INFO", "replication"], |info| info.contains("master_link_status:up"))
                    .await?;
            }
        }
        self.wait_until_replicas_are_known(&mut clients).await
    }

    /// Every node knows every replica as one: gossip takes its time to say so.
    async fn wait_until_replicas_are_known(
        &self,
        clients: &mut [UpstreamClient],
    ) -> Result<(), PrivateRedisError> {
        let replicas = self.nodes.len() - self.masters;
        for client in clients {
            wait_for(client, &["CLUSTER", "NODES"], |nodes| nodes.matches("slave ").count() == replicas)
                .await?;
        }
        Ok(())
    }

    fn slots_of(&self, master: usize) -> std::ops::Range<usize> {
        let slots = usize::from(SLOTS);
        slots * master / self.masters..slots * (master + 1) / self.masters
    }
}

/// `CLUSTER ADDSLOTS` rather than `ADDSLOTSRANGE`, which servers before 7.0 do not have.
async fn assign_slots(
    client: &mut UpstreamClient,
    slots: std::ops::Range<usize>,
) -> Result<(), PrivateRedisError> {
    let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
    let mut arguments = vec!["CLUSTER", "ADDSLOTS"];
    arguments.extend(slots.iter().map(String::as_str));
    ask(client, &arguments).await.map(drop)
}

/// Asks until the reply is as it should be. A refusal is a reply like any other here.
async fn wait_for(
    client: &mut UpstreamClient,
    arguments: &[&str],
    is_there: impl Fn(&str) -> bool,
) -> Result<(), PrivateRedisError> {
    let deadline = Instant::now() + FORMATION_TIME_MAX;
    loop {
        let reply = match try_ask(client, arguments).await {
            Ok(reply) => reply,
            Err(UpstreamError::Refused(text)) => text,
            Err(error) => return Err(no_cluster(arguments, &error.to_string())),
        };
        if is_there(&reply) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(no_cluster(arguments, &reply));
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn ask(client: &mut UpstreamClient, arguments: &[&str]) -> Result<String, PrivateRedisError> {
    try_ask(client, arguments).await.map_err(|error| no_cluster(arguments, &error.to_string()))
}

async fn try_ask(client: &mut UpstreamClient, arguments: &[&str]) -> Result<String, UpstreamError> {
    let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    match client.command(&arguments).await? {
        OwnedFrame::SimpleString(text) | OwnedFrame::BulkString(text) => {
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        other => Ok(format!("{other:?}")),
    }
}

fn no_cluster(arguments: &[&str], answer: &str) -> PrivateRedisError {
    let mut what = arguments.iter().take(4).fold(String::new(), |mut what, argument| {
        let _ = write!(what, "{argument} ");
        what
    });
    what.push_str(&format!("was answered by: {}", answer.trim_end()));
    PrivateRedisError::NoCluster(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_forms_and_its_nodes_can_be_killed_and_restarted() {
        let mut cluster = PrivateCluster::start(3, 1, &[]).await.unwrap();
        assert_eq!(cluster.addresses().len(), 6);
        let id = ask(&mut cluster.client(1).await.unwrap(), &["CLUSTER", "MYID"]).await.unwrap();
        cluster.kill(1);
        assert!(cluster.client(1).await.is_err());
        cluster.restart(1).await.unwrap();
        let mut client = cluster.client(1).await.unwrap();
        assert_eq!(ask(&mut client, &["CLUSTER", "MYID"]).await.unwrap(), id);
        wait_for(&mut client, &["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok")).await.unwrap();
    }

    #[tokio::test]
    async fn dropping_a_cluster_leaves_nothing() {
        let cluster = PrivateCluster::start(1, 0, &[]).await.unwrap();
        let path = cluster.node(0).path().to_owned();
        let address = cluster.node(0).address();
        drop(cluster);
        assert!(!path.exists());
        let dialled = UpstreamClient::connect(&address, &Credentials::default(), TIMEOUTS).await;
        assert!(matches!(dialled, Err(UpstreamError::Connect(_))));
    }
}
