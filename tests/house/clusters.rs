//! A second cluster is one more in the list of clusters: nobody takes for granted which one is meant.

use super::{code, files, is_test_file};

/// Each line outside tests that `finds` something to complain of, in files other than those that `may`.
fn check(may: &[&str], why: &str, finds: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    for (path, text) in files("").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let shown = path.to_string_lossy();
        if may.iter().any(|may| shown.contains(may)) {
            continue;
        }
        for (line, _) in code(&text).enumerate().filter(|(_, code)| finds(code)) {
            found.push(format!("{shown}:{}", line + 1));
        }
    }
    assert!(found.is_empty(), "{why}: {found:#?}");
}

/// Whether the code reads a field called `upstream`.
fn reads_upstream(code: &str) -> bool {
    code.match_indices(".upstream").any(|(at, word)| {
        let next = code[at + word.len()..].chars().next();
        next.is_none_or(|next| next != '(' && next != '_' && !next.is_alphanumeric())
    })
}

#[test]
fn only_the_configuration_knows_which_clusters_there_are() {
    // Routes, and a topology of one server.
    let may = ["src/route/", "src/shared/topology.rs"];
    let names_one = |code: &str| code.contains("ClusterId::DEFAULT") || code.contains("ClusterId::default");
    check(&may, "a key, a node or a route says its cluster", names_one);
}

/// Credentials, time limits and bounds are those of the cluster of the node or key: `Config::upstream_of`.
#[test]
fn settings_of_servers_are_asked_for_by_cluster() {
    // The table of the file; what is given on the command line; what a journal was written for; and the demonstration, which
    // writes a configuration of its own. Monitoring has a source of this name.
    let may = ["src/config/", "src/command_line.rs", "src/journal/", "src/demo/", "src/monitor/sampler.rs"];
    check(&may, "ask Config::upstream_of for the settings of the cluster", reads_upstream);
    assert!(reads_upstream("let wait = self.core.config.upstream.unavailable_wait;"));
    assert!(reads_upstream("KeeperSettings::from(&config.upstream)") && reads_upstream("&config.upstream"));
    assert!(!reads_upstream("config.upstream_of(cluster)") && !reads_upstream("sources.upstreams"));
}

/// A key that a server has named lives in the cluster of that server, and one that is hot says where it lives. The routes are asked
/// for a bare name only: that of a request, of a command of an operator, of a pattern, of a journal.
#[test]
fn a_bare_name_gets_its_cluster_where_it_comes_in() {
    let may = [
        "src/route/",
        "src/worker/decide/snapshots.rs",
        "src/worker/decide/clusters.rs",
        "src/worker/core.rs",
        "src/worker/session/subscribe.rs",
        // The channel of a message.
        "src/worker/session/keyspace_events.rs",
        "src/worker/write_behind.rs",
        "src/worker/hot/behind/",
        "src/worker/hot/quota_news.rs",
        "src/control/masters.rs",
        "src/control/owner.rs",
        "src/control/sales/",
        "src/control/quotas.rs",
        "src/control/rights.rs",
        "src/ledger/upstream.rs",
        // An operator asks where a name lives.
        "src/monitor/routes.rs",
    ];
    let words = [
        "routes.cluster_of(",
        "routes.place_of(",
        "routes.cluster_for(",
        "routes().cluster_of(",
        "routes().place_of(",
        "core.id_of(",
    ];
    let asks = |code: &str| words.iter().any(|word| code.contains(word));
    check(&may, "whoever names the key knows its cluster", asks);
}

/// Commands without keys go to one cluster. Connections and hot keys have a cluster of their own.
#[test]
fn connections_and_hot_keys_do_not_ask_where_commands_without_keys_go() {
    let may_not = ["src/worker/hot/", "src/worker/upstream/"];
    let may = ["src/worker/upstream/node.rs"];
    let mut found = Vec::new();
    for (path, text) in files("worker").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let shown = path.to_string_lossy();
        let watched =
            may_not.iter().any(|room| shown.contains(room)) && !may.iter().any(|may| shown.contains(may));
        if watched && code(&text).any(|line| line.contains("keyless")) {
            found.push(shown.into_owned());
        }
    }
    assert!(found.is_empty(), "ask the node or the key for its cluster: {found:#?}");
}
