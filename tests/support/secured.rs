//! TLS on both sides, as a parameter of a test's set-up: servers that speak it beside their plain port, a gateway that speaks it
//! with them and with clients, and a tunnel that brings plain test clients to it.
//!
//! A test asks for it with `Server::secured` and `Start::secured`. With `HOTGATE_TEST_TLS` in the environment all servers and gateways
//! are started so, and most tests hold then too; [.ci/release](../../.ci/release) runs a part of them.

use std::net::SocketAddr;
use std::sync::OnceLock;

use super::certificates::{Authority, Pair};
use super::tunnel;

/// An authority and a certificate for everybody. It lives as long as the test process.
pub struct Secured {
    pub authority: Authority,
    pub pair: Pair,
}

/// That of a test process in which everything is to be secured.
pub fn everywhere() -> Option<&'static Secured> {
    static EVERYWHERE: OnceLock<Option<&'static Secured>> = OnceLock::new();
    *EVERYWHERE.get_or_init(|| std::env::var_os("HOTGATE_TEST_TLS").map(|_| Secured::new()))
}

impl Secured {
    pub fn new() -> &'static Secured {
        let authority = Authority::new();
        let pair = authority.issue("everybody");
        Box::leak(Box::new(Secured { authority, pair }))
    }

    /// A configuration of a gateway with TLS on both sides, whatever else it says.
    pub fn config(&self, toml: &str) -> String {
        let upstream = self.authority.upstream();
        let secured = match toml.contains("[upstream]\n") {
            true => toml.replacen("[upstream]\n", &upstream, 1),
            false => format!("{toml}\n{upstream}"),
        };
        let listener = self.authority.listener(&self.pair);
        let secured = secured.replace("[[cluster]]\n", &upstream.replace("[upstream]", "[[cluster]]"));
        match secured.contains("[tls]\n") {
            true => secured.replacen("[tls]\n", &listener, 1),
            false => format!("{secured}\n{listener}"),
        }
    }

    /// What a server is told beside its other options.
    pub fn server_options(&self) -> Vec<String> {
        self.authority.server_options(&self.pair)
    }

    /// What a node of a cluster is told: the nodes speak TLS among each other, and announce the ports for it.
    pub fn node_options(&self) -> Vec<String> {
        let cluster = ["--tls-cluster", "yes", "--tls-replication", "yes", "--cluster-port", "{port+10000}"]
            .map(str::to_owned);
        [self.server_options(), cluster.to_vec()].concat()
    }

    /// Where plain clients may connect to reach what speaks TLS there.
    pub fn tunnel(&self, target: SocketAddr) -> SocketAddr {
        tunnel::open(tunnel::dialer(&self.authority, None), target)
    }
}
