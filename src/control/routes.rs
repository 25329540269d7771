//! Which keys go to which cluster, as the routes in force have it, for whoever asks.

use crate::monitor::routes::{PlaceView, RoutesView, place_view, routes_view};
use crate::shared::gateway::Gateway;

/// All routes and clusters.
pub(super) fn routes_of(gateway: &Gateway) -> RoutesView {
    routes_view(&gateway.routes(), &gateway.topology.load(), &names_of(gateway))
}

/// Where a key lives for a user.
pub(super) fn place_of(gateway: &Gateway, user: &[u8], key: &[u8]) -> PlaceView {
    place_view(&gateway.routes(), &gateway.topology.load(), &names_of(gateway), (user, key))
}

fn names_of(gateway: &Gateway) -> Vec<String> {
    let config = gateway.config.load();
    config.clusters().map(|cluster| config.cluster_name(cluster).to_owned()).collect()
}
