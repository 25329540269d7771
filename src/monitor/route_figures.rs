//! Figures of clusters, of routes to several of them, and of tenants.
//!
//! A cluster's are the sums over its nodes, those that have left it included, so that counters only grow. A tenant's are what workers
//! counted of it. How evenly load lies is told as *skew*: the busiest of several by their mean, 1 where all have the same.
//!
//! Judges nothing; `status` does.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::merged::Merged;
use super::node_view::NodeView;
use super::routes::{ClusterView, RouteView, RoutesView};
use super::window::Window;
use crate::route::ClusterId;
use crate::route::tenants::TenantOf;
use crate::shared::histogram::Octaves;
use crate::shared::tallies::NodeTally;
use crate::shared::tenant_tallies::{TenantLimit, TenantTally};
use crate::shared::tenants::{Tenant, Tenants};
use crate::shared::topology::Topology;

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RouteFigures {
    /// By the order of the configuration.
    pub clusters: Vec<ClusterFigures>,
    /// In the order in which they are tried.
    pub routes: Vec<OneRoute>,
    /// The busiest first.
    pub tenants: Vec<TenantFigures>,
}

/// A cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterFigures {
    /// Which, and how it is.
    #[serde(flatten)]
    pub cluster: ClusterView,
    /// Requests written to its nodes per second.
    pub requests_per_s: f64,
    /// Its part of all requests written, 0 to 1.
    pub share: f64,
    /// Error replies, and requests lost, per second.
    pub errors_per_s: f64,
    /// Bytes from its nodes per second.
    pub bytes_in_per_s: f64,
    /// Bytes to its nodes per second.
    pub bytes_out_per_s: f64,
    /// Median reply time, rounded up to a power of two, in microseconds.
    pub p50_us: u64,
    /// All but one reply in a hundred took at most this.
    pub p99_us: u64,
    /// Hot keys that live there.
    pub hot_keys: usize,
    /// The hottest of them; empty without any.
    pub hottest: String,
    /// Its busiest master by requests, by the mean of its masters; `None` with one master, or without load.
    pub skew: Option<f64>,
    /// That master; empty where there is no skew.
    pub busiest: String,
    /// What is counted of its nodes together. Not in the JSON.
    #[serde(skip)]
    pub tally: NodeTally,
}

/// A route.
#[derive(Clone, Debug, Serialize)]
pub struct OneRoute {
    /// As it is written.
    #[serde(flatten)]
    pub route: RouteView,
    /// The busiest of its clusters by requests, whichever route they came by, by their mean; `None` with one cluster, or without load.
    pub skew: Option<f64>,
    /// That cluster; empty where there is no skew.
    pub busiest: String,
}

/// A tenant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TenantFigures {
    /// What it is called.
    pub tenant: String,
    /// `user` or `match`: what makes a request its own.
    pub by: &'static str,
    /// That user, or that pattern of keys.
    pub of: String,
    /// Requests per second that it may send; `None` for as many as it likes.
    pub rate_max: Option<u64>,
    /// Bytes per second.
    pub bytes_rate_max: Option<u64>,
    /// Connections.
    pub clients_max: Option<usize>,
    /// Connections of its user; `None` where it is known by its keys.
    pub clients: Option<u64>,
    /// Requests answered per second.
    pub requests_per_s: f64,
    /// Its part of all requests of clients, 0 to 1.
    pub share: f64,
    /// Requests and connections refused per second.
    pub refused_per_s: f64,
    /// Requests per second whose client was held back.
    pub delayed_per_s: f64,
    /// Errors per second, but for those refused.
    pub errors_per_s: f64,
    /// Bytes of its requests per second.
    pub bytes_in_per_s: f64,
    /// Bytes of its replies per second.
    pub bytes_out_per_s: f64,
    /// Median time from request to reply, rounded up to a power of two, in microseconds.
    pub p50_us: u64,
    /// All but one in a hundred took at most this.
    pub p99_us: u64,
    /// Hot keys that are its own, where it is known by its keys.
    pub hot_keys: usize,
    /// The hottest of them; empty without any.
    pub hottest: String,
    /// Requests answered since the start.
    pub requests: u64,
    /// Refused since the start, by the directive of the limit.
    pub refused: BTreeMap<&'static str, u64>,
    /// What is counted of it. Not in the JSON.
    #[serde(skip)]
    pub tally: TenantTally,
}

/// Whose a hot key is.
#[derive(Clone, Debug)]
pub struct HotKeyOf {
    /// The key as people read it.
    pub key: String,
    /// The cluster that it lives in.
    pub cluster: String,
    /// The tenant whose pattern it matches; empty where there is none.
    pub tenant: String,
}

/// What they are seen through.
pub struct RouteInput<'a> {
    /// The last second.
    pub window: &'a Window<'a>,
    /// The tallies now.
    pub merged: &'a Merged,
    /// Which node is whose.
    pub topology: &'a Topology,
    /// The clusters and routes in force.
    pub routes: RoutesView,
    /// The tenants in force, if there are any.
    pub tenants: Option<Arc<Tenants>>,
    /// The nodes with their load.
    pub nodes: &'a [NodeView],
    /// The hot keys, the hottest first.
    pub hot_keys: &'a [HotKeyOf],
    /// All requests of clients per second.
    pub requests_per_s: f64,
}

/// The figures of all.
pub fn figures(input: RouteInput<'_>) -> RouteFigures {
    let mut clusters: Vec<ClusterFigures> = (0..)
        .map(ClusterId)
        .zip(&input.routes.clusters)
        .map(|(id, cluster)| input.cluster(id, cluster))
        .collect();
    let all_per_s: f64 = clusters.iter().map(|cluster| cluster.requests_per_s).sum();
    clusters
        .iter_mut()
        .filter(|_| all_per_s > 0.0)
        .for_each(|cluster| cluster.share = cluster.requests_per_s / all_per_s);
    let routes = input.routes.routes.iter().map(|route| {
        let named = clusters.iter().filter(|figures| route.clusters.contains(&figures.cluster.name));
        let (skew, busiest) =
            skew_of(named.map(|figures| (figures.cluster.name.as_str(), figures.requests_per_s)));
        OneRoute { route: route.clone(), skew, busiest }
    });
    let routes = routes.collect();
    let list = input.tenants.iter().flat_map(|tenants| &tenants.list);
    let mut tenants: Vec<TenantFigures> = list.map(|tenant| input.tenant(tenant)).collect();
    tenants
        .sort_by(|a, b| b.requests_per_s.total_cmp(&a.requests_per_s).then_with(|| a.tenant.cmp(&b.tenant)));
    RouteFigures { clusters, routes, tenants }
}

/// The busiest of several by their mean, and its name.
fn skew_of<'n>(loads: impl Iterator<Item = (&'n str, f64)>) -> (Option<f64>, String) {
    let loads: Vec<(&str, f64)> = loads.collect();
    let mean = loads.iter().map(|(_, load)| load).sum::<f64>() / loads.len().max(1) as f64;
    match loads.iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((name, load)) if loads.len() > 1 && mean > 0.0 => (Some(load / mean), (*name).to_owned()),
        _ => (None, String::new()),
    }
}

impl RouteInput<'_> {
    fn cluster(&self, id: ClusterId, cluster: &ClusterView) -> ClusterFigures {
        let (tally, base) = (self.sum(id, self.merged), self.sum(id, self.window.base));
        let rate = |of: fn(&NodeTally) -> u64| self.window.rate(of(&tally), of(&base));
        let replies = tally.reply_us.since(&base.reply_us);
        let is_own = |node: &&NodeView| {
            node.role == "master"
                && self.topology.nodes.get(node.place).is_some_and(|known| known.cluster == id)
        };
        let masters = self.nodes.iter().filter(is_own);
        let (skew, busiest) = skew_of(masters.map(|node| (node.node.as_str(), node.requests_per_s)));
        let (hot_keys, hottest) = self.hot_keys_with(|key| key.cluster == cluster.name);
        ClusterFigures {
            cluster: cluster.clone(),
            requests_per_s: rate(|tally| tally.requests),
            share: 0.0,
            errors_per_s: rate(|tally| tally.errors),
            bytes_in_per_s: rate(|tally| tally.bytes_in),
            bytes_out_per_s: rate(|tally| tally.bytes_out),
            p50_us: replies.quantile(0.5),
            p99_us: replies.quantile(0.99),
            hot_keys,
            hottest,
            skew,
            busiest,
            tally,
        }
    }

    /// What was counted of the nodes of a cluster.
    fn sum(&self, id: ClusterId, merged: &Merged) -> NodeTally {
        let mut sum = NodeTally::default();
        for (node, tally) in
            self.topology.nodes.iter().zip(&merged.all.nodes).filter(|(node, _)| node.cluster == id)
        {
            let _ = node;
            sum.requests += tally.requests;
            sum.errors += tally.errors;
            sum.bytes_in += tally.bytes_in;
            sum.bytes_out += tally.bytes_out;
            sum.reply_us.merge(&tally.reply_us);
        }
        sum
    }

    fn hot_keys_with(&self, is_own: impl Fn(&HotKeyOf) -> bool) -> (usize, String) {
        let mut own = self.hot_keys.iter().filter(|key| is_own(key));
        let hottest = own.next().map(|key| key.key.clone());
        (own.count() + usize::from(hottest.is_some()), hottest.unwrap_or_default())
    }

    fn tenant(&self, tenant: &Tenant) -> TenantFigures {
        let tally_of = |merged: &Merged| merged.tenants.get(&tenant.name).cloned().unwrap_or_default();
        let (tally, base) = (tally_of(self.merged), tally_of(self.window.base));
        let rate = |of: fn(&TenantTally) -> u64| self.window.rate(of(&tally), of(&base));
        let replies: Octaves = tally.reply_us.since(&base.reply_us);
        let requests_per_s = rate(|tally| tally.requests);
        let (by, of) = match &tenant.of {
            TenantOf::Keys(pattern) => ("match", pattern),
            TenantOf::User(user) => ("user", user),
        };
        let (hot_keys, hottest) = self.hot_keys_with(|key| key.tenant == *tenant.name);
        TenantFigures {
            tenant: tenant.name.to_string(),
            by,
            of: of.clone(),
            rate_max: tenant.rate.map(|rate| rate.per_s),
            bytes_rate_max: tenant.bytes_rate.map(|rate| rate.per_s),
            clients_max: tenant.clients_max,
            clients: matches!(tenant.of, TenantOf::User(_)).then(|| tenant.pools.places.taken()),
            requests_per_s,
            share: if self.requests_per_s > 0.0 {
                (requests_per_s / self.requests_per_s).min(1.0)
            } else {
                0.0
            },
            refused_per_s: rate(|tally| tally.refused.iter().sum()),
            delayed_per_s: rate(|tally| tally.delayed),
            errors_per_s: rate(|tally| tally.errors),
            bytes_in_per_s: rate(|tally| tally.bytes_in),
            bytes_out_per_s: rate(|tally| tally.bytes_out),
            p50_us: replies.quantile(0.5),
            p99_us: replies.quantile(0.99),
            hot_keys,
            hottest,
            requests: tally.requests,
            refused: TenantLimit::ALL
                .iter()
                .map(|limit| (limit.label(), tally.refused[limit.index()]))
                .collect(),
            tally,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_the_busiest_by_the_mean() {
        let check = |loads: &[(&'static str, f64)], expected: (Option<f64>, &str)| {
            let (skew, busiest) = skew_of(loads.iter().copied());
            assert_eq!((skew, busiest.as_str()), expected, "{loads:?}");
        };
        check(&[], (None, ""));
        check(&[("a", 5.0)], (None, ""));
        check(&[("a", 0.0), ("b", 0.0)], (None, ""));
        check(&[("a", 5.0), ("b", 5.0)], (Some(1.0), "b"));
        check(&[("a", 1.0), ("b", 5.0), ("c", 0.0)], (Some(2.5), "b"));
    }
}
