//! Servers and gateways that all tests of one module share, since a cluster takes seconds to form. A test that uses them
//! keeps to keys of its own and leaves the processes as they are; one that kills, pauses or floods starts its own.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, OnceLock};

use super::gateway::Gateway;
use super::redis::{Cluster, Server};

/// One of something for each module.
type ByModule<T> = LazyLock<Mutex<HashMap<&'static str, &'static OnceLock<T>>>>;

/// What belongs to `module`; the first to ask makes it, and others of the module wait for that.
fn of_module<T>(all: &ByModule<T>, module: &'static str, make: impl FnOnce() -> T) -> &'static T {
    let place = *all.lock().unwrap().entry(module).or_insert_with(|| Box::leak(Box::default()));
    place.get_or_init(make)
}

/// One server with a gateway before it. `module` is the caller's `module_path!()`.
pub fn single(module: &'static str) -> &'static (Server, Gateway) {
    static SINGLES: ByModule<(Server, Gateway)> = LazyLock::new(Mutex::default);
    of_module(&SINGLES, module, || {
        let server = Server::start();
        let gateway = Gateway::before_server(&server);
        (server, gateway)
    })
}

/// A cluster of three masters with a replica each and a gateway before it. `module` is the caller's `module_path!()`.
pub fn cluster(module: &'static str) -> &'static (Cluster, Gateway) {
    static CLUSTERS: ByModule<(Cluster, Gateway)> = LazyLock::new(Mutex::default);
    of_module(&CLUSTERS, module, || {
        let cluster = Cluster::start();
        let gateway = Gateway::before_cluster(&cluster);
        (cluster, gateway)
    })
}
