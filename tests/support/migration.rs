//! The move of a slot from one master of a cluster to another.

use super::client::Client;
use super::redis::Cluster;
use super::wait_until;

/// The name of a node in its cluster.
pub fn id(client: &mut Client) -> String {
    client.text("CLUSTER MYID")
}

/// A slot on its way from one master to another, as `redis-cli --cluster reshard` moves it.
pub struct Migration<'a> {
    cluster: &'a Cluster,
    slot: i64,
    pub from: usize,
    pub to: usize,
}

impl<'a> Migration<'a> {
    /// From the master that has `key` to another one.
    pub fn begin(cluster: &'a Cluster, key: &str) -> Migration<'a> {
        let from = cluster.master_of(key);
        let to = cluster.masters().into_iter().find(|&node| node != from).unwrap();
        let (mut source, mut target) = (cluster.client(from), cluster.client(to));
        let slot = source.integer(&format!("CLUSTER KEYSLOT {key}"));
        let (ours, theirs) = (id(&mut source), id(&mut target));
        // Behind a failover each refuses until it has heard that the other is a master.
        wait_until("both know each other as masters", || {
            target.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {ours}")) == "+OK"
                && source.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {theirs}")) == "+OK"
        });
        Migration { cluster, slot, from, to }
    }

    /// The keys of the slot that are not moved yet.
    pub fn keys(&self) -> Vec<String> {
        self.cluster.client(self.from).list(&format!("CLUSTER GETKEYSINSLOT {} 10000", self.slot))
    }

    /// Moves this key.
    pub fn move_key(&self, key: &str) {
        let port = self.cluster.port(self.to);
        self.cluster.client(self.from).check(&format!("MIGRATE 127.0.0.1 {port} {key} 0 10000"), "+...");
    }

    /// Moves up to `count` keys one by one; says how many there were.
    pub fn move_keys(&self, count: usize) -> usize {
        let mut source = self.cluster.client(self.from);
        let keys = source.list(&format!("CLUSTER GETKEYSINSLOT {} {count}", self.slot));
        for key in &keys {
            let port = self.cluster.port(self.to);
            source.check(&format!("MIGRATE 127.0.0.1 {port} {key} 0 10000"), "+OK");
        }
        keys.len()
    }

    /// Moves what is left and gives the slot to its new master.
    pub fn end(self) {
        while self.move_keys(10) > 0 {}
        let new_master = id(&mut self.cluster.client(self.to));
        let mut nodes = self.cluster.masters();
        nodes.sort_by_key(|&node| if node == self.to { 0 } else { 1 });
        for node in nodes {
            let mut client = self.cluster.client(node);
            wait_until("it takes the new master for one", || {
                client.ask(&format!("CLUSTER SETSLOT {} NODE {new_master}", self.slot)) == "+OK"
            });
        }
    }
}
