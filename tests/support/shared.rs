//! Servers and gateways that all tests of one module share, since a cluster takes seconds to form. A test that uses them
//! keeps to keys of its own and leaves the processes as they are; one that kills, pauses or floods starts its own.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, OnceLock};

use super::client::{BOTH_VERSIONS, Version};
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

/// A gateway of its own before the module's server.
pub fn gateway(module: &'static str, config: &str) -> Gateway {
    Gateway::before(&single(module).0).config(config).start()
}

/// The gateways before one server and before a cluster. `module` is the caller's `module_path!()`.
pub fn both(module: &'static str) -> [&'static Gateway; 2] {
    [&single(module).1, &cluster(module).1]
}

/// Runs `promise` before one server and before a cluster, in both versions of the protocol, each with a name that makes its keys
/// its own.
pub fn everywhere(module: &'static str, promise: impl Fn(&Gateway, Version, &str)) {
    for (gateway, place) in both(module).into_iter().zip(["single", "cluster"]) {
        for version in BOTH_VERSIONS {
            promise(gateway, version, &format!("{place}:{version:?}"));
        }
    }
}
