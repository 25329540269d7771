//! The clusters of a configuration and the routes to them: by number and by name, made ready and compared with others.
//!
//! A cluster is known by its number: 0 is `[upstream]`, the others follow in the order of the file. It holds for the life of the
//! process, so a reload takes no other list of clusters.

use super::address::Address;
use super::network::Network;
use super::policies::Route;
use super::sections::{Config, Upstream};
use super::types::UpstreamKindChoice;
use super::value::Value;
use crate::route::moves::moves;
use crate::route::table::RouteRule;
use crate::route::{ClusterId, DEFAULT_CLUSTER, Routes};

/// Keys that other routes would look for elsewhere than where they are, as a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedKeys {
    /// The route is meant to move them.
    pub is_forced: bool,
    /// What moves, and what to do.
    pub why: String,
}

impl Config {
    /// The clusters that the configuration names, in the order of their numbers.
    pub fn clusters(&self) -> impl ExactSizeIterator<Item = ClusterId> + use<> {
        (0..=self.further_clusters.len() as u16).map(ClusterId)
    }

    /// What a cluster is called.
    pub fn cluster_name(&self, cluster: ClusterId) -> &str {
        &self.upstream_of(cluster).name
    }

    /// How the servers of a cluster are reached, and as whom.
    #[inline]
    pub fn upstream_of(&self, cluster: ClusterId) -> &Upstream {
        match cluster.position() {
            0 => &self.upstream,
            place => self.further_clusters.get(place - 1).unwrap_or(&self.upstream),
        }
    }

    /// As [`Config::upstream_of`], to be changed.
    pub fn upstream_of_mut(&mut self, cluster: ClusterId) -> &mut Upstream {
        match cluster.position() {
            0 => &mut self.upstream,
            place => self.further_clusters.get_mut(place - 1).unwrap_or(&mut self.upstream),
        }
    }

    /// The servers of a cluster that the configuration names, which Sentinels are not.
    pub fn servers_of(&self, cluster: ClusterId) -> &[Address] {
        let upstream = self.upstream_of(cluster);
        if upstream.kind == UpstreamKindChoice::Sentinel { &[] } else { &upstream.servers }
    }

    /// The networks of the gateway's own zone.
    pub fn own_networks(&self) -> &[Network] {
        let own = self.zones.iter().find(|zone| self.gateway.zone.as_ref() == Some(&zone.name));
        own.map_or(&[], |zone| &zone.networks)
    }

    /// The servers of all clusters that the configuration names.
    pub fn all_servers(&self) -> impl Iterator<Item = &Address> {
        self.clusters().flat_map(|cluster| &self.upstream_of(cluster).servers)
    }

    /// Which cluster each key lives in.
    pub fn routing(&self) -> Routes {
        let names = self.clusters().map(|cluster| self.cluster_name(cluster).to_owned()).collect();
        Routes::new(names, self.route_rules())
    }

    /// The keys that live elsewhere by the routes of `other` than by those of this configuration.
    pub fn moved_keys(&self, other: &Config) -> Vec<MovedKeys> {
        other.moved_from(&self.route_rules())
    }

    /// The keys that live elsewhere by the routes of this configuration than by `rules`.
    pub fn moved_from(&self, rules: &[RouteRule]) -> Vec<MovedKeys> {
        let moves = moves(rules, &self.route_rules(), DEFAULT_CLUSTER);
        let describe = |found: crate::route::moves::Move| {
            let (pattern, from, to) = (&found.pattern, &found.from, &found.to);
            let part = found.share.map(|share| format!("about {:.0} % of the ", share * 100.0));
            let part = part.unwrap_or_default();
            let of = found.user.as_ref().map(|user| format!(" of the user {user:?}")).unwrap_or_default();
            let what = format!(
                "{part}keys{of} that match {pattern:?} live in {from} and would be looked for in {to}"
            );
            match found.rule.and_then(|place| self.routes.get(place)) {
                Some(route) => MovedKeys {
                    is_forced: route.force,
                    why: match route.force {
                        true => what,
                        false => format!("{what}; move them first, and set force = true on that route"),
                    },
                },
                None => MovedKeys {
                    is_forced: false,
                    why: format!(
                        "{what}, for their route is gone; bring them there, give that route clusters = [{to:?}] and force = true, \
                         and take it out after that"
                    ),
                },
            }
        };
        moves.into_iter().map(describe).collect()
    }

    /// A reload keeps the clusters that run; of their settings in `file` it takes what it takes of those of `[upstream]`.
    pub(super) fn keep_clusters(&mut self, running: &Config, file: &Config) {
        let named = |config: &Config| {
            config.further_clusters.iter().map(|cluster| cluster.name.clone()).collect::<Vec<_>>()
        };
        self.further_clusters.clone_from(&running.further_clusters);
        let directive = Config::DIRECTIVES.iter().find(|directive| directive.key == "cluster");
        if let Some(directive) = directive.filter(|_| named(file) == named(running)) {
            self.further_clusters.clone_from(&file.further_clusters);
            let both = self.further_clusters.iter_mut().zip(&running.further_clusters);
            both.for_each(|(cluster, running)| cluster.keep_running(running, directive));
        }
    }

    fn route_rules(&self) -> Vec<RouteRule> {
        let rule = |route: &Route| RouteRule {
            user: route.user.clone(),
            pattern: route.pattern().to_owned(),
            clusters: route
                .clusters
                .iter()
                .filter_map(|name| {
                    let named = self.clusters().find(|cluster| self.cluster_name(*cluster) == name);
                    named.map(|cluster| (cluster, name.clone()))
                })
                .collect(),
            by: route.by.clone().unwrap_or_default(),
        };
        self.routes.iter().map(rule).collect()
    }
}
