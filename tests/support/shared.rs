//! Servers and gateways that all tests of one file share, since a cluster takes seconds to form. A test that uses them
//! keeps to keys of its own and leaves the processes as they are; one that kills, pauses or floods starts its own.

use std::sync::OnceLock;

use super::gateway::Gateway;
use super::redis::{Cluster, Server};

/// One server with a gateway before it.
pub fn single() -> &'static (Server, Gateway) {
    static SINGLE: OnceLock<(Server, Gateway)> = OnceLock::new();
    SINGLE.get_or_init(|| {
        let server = Server::start();
        let gateway = Gateway::before_server(&server);
        (server, gateway)
    })
}

/// A cluster of three masters with a replica each and a gateway before it.
pub fn cluster() -> &'static (Cluster, Gateway) {
    static CLUSTER: OnceLock<(Cluster, Gateway)> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start();
        let gateway = Gateway::before_cluster(&cluster);
        (cluster, gateway)
    })
}
