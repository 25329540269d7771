//! What must hold of the names of clusters and of the routes to them.

use super::findings::{captures_of, relation, repeated};
use super::policies::Route;
use super::reader::Reader;
use super::sections::Config;
use crate::route::DEFAULT_CLUSTER;

/// Reports what is wrong with names of clusters and with routes.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    if config.upstream.name != DEFAULT_CLUSTER {
        let message = format!(
            "expected \"{DEFAULT_CLUSTER}\", the name of the cluster of [upstream], found {:?}; other names are for [[cluster]]",
            config.upstream.name
        );
        relation(reader, &["upstream.name"], message);
    }
    for (index, cluster) in config.further_clusters.iter().enumerate() {
        let (name, servers) = (format!("cluster[{index}].name"), format!("cluster[{index}].servers"));
        if cluster.name == DEFAULT_CLUSTER {
            let message =
                format!("expected a name of its own: \"{DEFAULT_CLUSTER}\" is the cluster of [upstream]");
            relation(reader, &[&name], message);
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if cluster.name.len() > 64 || !cluster.name.chars().all(is_plain) {
            let message = "expected at most 64 letters, digits, '-', '_' and '.'".to_owned();
            relation(reader, &[&name], message);
        }
        if reader.has_read(&format!("cluster[{index}]")) && !reader.has_read(&servers) {
            reader.error(
                &servers,
                "expected the servers of the cluster, found nothing: it must be given".to_owned(),
            );
        }
    }
    let names = config.further_clusters.iter().map(|cluster| &cluster.name);
    repeated(names, reader, |index| format!("cluster[{index}].name"), "is the name of an earlier cluster");
    check_routes(config, reader);
}

fn check_routes(config: &Config, reader: &mut Reader<'_>) {
    let keys = config.routes.iter().map(|route| match &route.user {
        Some(user) => format!("{:?} of the user {user:?}", route.pattern()),
        None => route.pattern().to_owned(),
    });
    let directive = |index: usize| {
        let key = if config.routes[index].pattern.is_some() { "match" } else { "user" };
        format!("route[{index}].{key}")
    };
    repeated(keys, reader, directive, "is matched by an earlier route, so this one never holds");
    for (index, route) in config.routes.iter().enumerate() {
        let path = format!("route[{index}]");
        let [matched, user, clusters] = ["match", "user", "clusters"].map(|key| format!("{path}.{key}"));
        if route.pattern.is_none() && route.user.is_none() {
            let message =
                "expected match or user, which say whose keys it is about, found neither".to_owned();
            relation(reader, &[&path, &matched, &user], message);
        }
        for (place, name) in route.clusters.iter().enumerate() {
            if !config.clusters().any(|cluster| config.cluster_name(cluster) == name) {
                let known: Vec<&str> =
                    config.clusters().map(|cluster| config.cluster_name(cluster)).collect();
                let message = format!("{name:?} is no cluster; known are {}", known.join(", "));
                relation(reader, &[&format!("{clusters}[{place}]"), &clusters, "cluster"], message);
            }
        }
        repeated(&route.clusters, reader, |place| format!("{clusters}[{place}]"), "is listed twice");
        check_by(route, &path, reader);
    }
}

/// What picks one of several clusters.
fn check_by(route: &Route, path: &str, reader: &mut Reader<'_>) {
    let [matched, clusters, by] = ["match", "clusters", "by"].map(|key| format!("{path}.{key}"));
    let (stars, highest) = captures_of(route.pattern(), route.by.as_deref().unwrap_or_default());
    match (&route.by, route.clusters.len()) {
        (None, 2..) => {
            let message = "expected what of the key picks one of the clusters, such as \"$1\" for what the first star of match \
                           matched, found nothing"
                .to_owned();
            relation(reader, &[&by, &clusters], message);
        }
        (Some(_), 2..) if highest == 0 => {
            let message =
                "expected $1 to $9 in it, found none: all keys would live in one cluster".to_owned();
            relation(reader, &[&by], message);
        }
        (Some(_), _) if highest > stars => {
            let message =
                format!("expected at most ${stars}, since match has {stars} stars, found ${highest}");
            relation(reader, &[&by, &matched], message);
        }
        _ => {}
    }
}
