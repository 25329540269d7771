//! What is shown of routes: which keys go to which cluster, how each cluster is, and where one key lives.
//!
//! Owns the shapes of `HOTGATE ROUTE` and `/api/routes`. It deliberately does not decide where a key lives: `route` does.

use serde::Serialize;

use crate::route::{ClusterId, Routes, SlotAt};
use crate::shared::topology::{ClusterMap, Topology, UpstreamKind};

/// All routes and clusters.
#[derive(Debug, Default, Serialize)]
pub struct RoutesView {
    /// By the order of the configuration, the one of `[upstream]` first.
    pub clusters: Vec<ClusterView>,
    /// In the order in which they are tried.
    pub routes: Vec<RouteView>,
}

/// A cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterView {
    /// What it is called.
    pub name: String,
    /// `server`, `cluster`, or `unknown` while no server of it has answered.
    pub kind: &'static str,
    /// The addresses of its masters.
    pub masters: Vec<String>,
    /// Some slot of it has a master that is not known to have failed.
    pub ready: bool,
}

/// A rule. Keys that none matches live in `default`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteView {
    /// The pattern of the keys.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The user whose keys alone it is about; nothing where it is everybody's.
    pub user: Option<String>,
    /// The clusters that share them.
    pub clusters: Vec<String>,
    /// The part of the key that picks one of several; empty where there is one.
    pub by: String,
}

impl RouteView {
    /// How it is told from others in figures.
    pub fn label(&self) -> String {
        match &self.user {
            Some(user) => format!("{} of {user}", self.pattern),
            None => self.pattern.clone(),
        }
    }
}

/// Where a key lives.
#[derive(Debug, Serialize)]
pub struct PlaceView {
    /// The cluster.
    pub cluster: String,
    /// The slot in it.
    pub slot: u16,
    /// The address of the slot's master, if one is known.
    pub node: Option<String>,
    /// The pattern of the rule that decided, if one did.
    pub route: Option<String>,
    /// The user whose rule it is; nothing where it is everybody's.
    pub user: Option<String>,
}

/// All of them. `names` are those of the clusters.
pub fn routes_view(routes: &Routes, topology: &Topology, names: &[String]) -> RoutesView {
    let clusters = (0..).map(ClusterId).zip(names).map(|(id, name)| {
        let map = topology.cluster(id);
        let masters =
            map.masters.iter().filter_map(|master| Some(topology.node(*master)?.address.to_string()));
        ClusterView {
            name: name.clone(),
            kind: kind_of(map),
            masters: masters.collect(),
            ready: map.is_ready(),
        }
    });
    let rules =
        routes.several().map(|table| table.rules()).unwrap_or_default().iter().map(|rule| RouteView {
            pattern: rule.pattern.clone(),
            user: rule.user.clone(),
            clusters: rule.clusters.iter().map(|(_, name)| name.clone()).collect(),
            by: rule.by.clone(),
        });
    RoutesView { clusters: clusters.collect(), routes: rules.collect() }
}

/// Where `key` lives for `user`.
pub fn place_view(
    routes: &Routes,
    topology: &Topology,
    names: &[String],
    (user, key): (&[u8], &[u8]),
) -> PlaceView {
    let routed_as = routes.routed_as(user);
    let place = SlotAt::of(routes.cluster_for(routed_as, key), key);
    let master = topology.cluster(place.cluster).master_of(place.slot);
    let rule = routes.several().and_then(|table| table.rules().get(table.place_of_rule(routed_as, key)?));
    PlaceView {
        cluster: names.get(place.cluster.position()).cloned().unwrap_or_default(),
        slot: place.slot,
        node: master.and_then(|master| Some(topology.node(master)?.address.to_string())),
        route: rule.map(|rule| rule.pattern.clone()),
        user: rule.and_then(|rule| rule.user.clone()),
    }
}

fn kind_of(map: &ClusterMap) -> &'static str {
    match map.kind {
        _ if !map.is_known() => "unknown",
        UpstreamKind::Single => "server",
        UpstreamKind::Cluster => "cluster",
    }
}
