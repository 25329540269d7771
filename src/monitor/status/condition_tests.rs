//! Tests of lines about nodes that nobody asks, replicas, losses, the gateway's threads and its file: figures in, sentence out.

use super::tests::{Case, check, node};
use super::*;
use crate::monitor::losses::LossKind;
use crate::monitor::node_view::ProbeView;
use crate::monitor::upsets::UpsetsView;
use crate::monitor::view::ServerFault;

fn case(nodes: Vec<NodeView>) -> Case {
    Case { nodes, now: Now::default(), ..Case::default() }
}

/// A master whose probe says this.
fn probed(probe: ProbeView) -> Case {
    case(vec![NodeView { probe, ..node("a:1", "master", true) }])
}

#[test]
fn a_node_that_nobody_asks_is_told_of() {
    let only_probed = ProbeView { only_probed: true, ..ProbeView::default() };
    let hung = NodeView { silent_ms: 2_000, probe: only_probed.clone(), ..node("a:1", "master", true) };
    let sentence = "a:1 has not answered for 2 s; no client has asked it meanwhile.";
    check(case(vec![hung.clone()]), Level::Critical, sentence);
    let late = NodeView { silent_ms: 740, waiting: 3, ..node("a:1", "master", true) };
    check(case(vec![late]), Level::Notice, "a:1 has not answered for 0.7 s; 3 requests wait.");
    // It refuses connections, and the requests that waited for it are as silent.
    let unreachable = ProbeView { unreachable: "cannot connect: refused".into(), ..ProbeView::default() };
    let dead = NodeView { silent_ms: 9_000, up: false, probe: unreachable, ..node("a:1", "master", false) };
    check(case(vec![dead]), Level::Critical, "Master a:1 is down; its 5,461 slots are not served.");
    let paused = ProbeView { paused: true, ..only_probed };
    let paused = NodeView { probe: paused, waiting: 3, ..hung };
    let sentence = "a:1 has held all commands back for 2 s (CLIENT PAUSE); 3 requests wait.";
    check(case(vec![paused]), Level::Critical, sentence);
    let holding = NodeView { held_ms: 4_200, waiting: 20, ..node("a:1", "master", true) };
    let sentence =
        "a:1 has held commands back for 4 s (CLIENT PAUSE, a failover, or a script); 20 requests wait.";
    check(case(vec![holding]), Level::Warning, sentence);
    let loading = ProbeView { refuses: "loading", ..ProbeView::default() };
    check(probed(loading.clone()), Level::Critical, "a:1 is loading its data.");
    let replica = NodeView { probe: loading, ..node("b:2", "replica", true) };
    check(case(vec![replica]), Level::Notice, "b:2 is loading its data.");
}

#[test]
fn what_the_next_connection_would_meet_is_told_of() {
    let text = str::to_owned;
    for (probe, sentence) in [
        (
            ProbeView { turns_away: text("its maxclients is reached"), ..ProbeView::default() },
            "a:1 turns the gateway's new connections away: its maxclients is reached.",
        ),
        (
            ProbeView { clients: 9_600, clients_max: 10_000, ..ProbeView::default() },
            "a:1 has 9,600 of the 10,000 clients that it may have (maxclients): the gateway's next connection may be \
             turned away.",
        ),
        (
            ProbeView { unresolved: text("cannot resolve: no such host"), ..ProbeView::default() },
            "The name of a:1 has no address any more (cannot resolve: no such host): open connections serve, new ones \
             will fail.",
        ),
        (
            ProbeView { stranger: true, ..ProbeView::default() },
            "At a:1 is another server now, which is not the node that was there: see CLUSTER NODES on it.",
        ),
    ] {
        check(probed(probe), Level::Warning, sentence);
    }
    let few = ProbeView { clients: 9_400, clients_max: 10_000, ..ProbeView::default() };
    check(probed(few), Level::Ok, "All quiet: no traffic, no hot keys.");
}

#[test]
fn a_shard_without_a_replica_is_a_notice() {
    let bereft = |name| NodeView { lost_replicas: true, ..node(name, "master", true) };
    let sentence = "a:1 has lost its replica: nobody takes its 5,461 slots over if it fails.";
    check(case(vec![bereft("a:1"), node("b:2", "master", true)]), Level::Notice, sentence);
    let single = NodeView { slots: 16_384, ..bereft("a:1") };
    check(case(vec![single]), Level::Notice, "a:1 has lost its replica: nobody takes over if it fails.");
    let all = ["a:1", "b:2", "c:3", "d:4"].map(bereft).to_vec();
    let sentence =
        "4 masters have lost their replicas, and nobody takes over if one fails: a:1, b:2, c:3 and 1 more.";
    check(case(all), Level::Notice, sentence);
    // Once it has failed, that is the news.
    let dead = NodeView { up: false, ..bereft("a:1") };
    let found = case(vec![dead, node("b:2", "master", true)]).sentences();
    assert_eq!(found, ["Master a:1 is down; its 5,461 slots are not served."]);
}

#[test]
fn a_replica_is_told_of_with_its_master() {
    let replica = |probe| NodeView { master: "a:1".into(), probe, ..node("b:2", "replica", false) };
    let master = |lost_replicas| NodeView { lost_replicas, ..node("a:1", "master", true) };
    let found = case(vec![master(false), replica(ProbeView::default())]).sentences();
    assert_eq!(found, ["Replica b:2 of a:1 is down; others are in place."]);
    let found = case(vec![master(true), replica(ProbeView::default())]).sentences();
    assert_eq!(found, ["a:1 has lost its replica: nobody takes its 5,461 slots over if it fails."]);
    let unlinked = ProbeView { unlinked: true, ..ProbeView::default() };
    let found = case(vec![master(true), replica(unlinked)]).sentences();
    assert_eq!(found[1], "Replica b:2 has no link to its master a:1: what is read there grows old.");
    let hung =
        NodeView { silent_ms: 3_000, ..replica(ProbeView { only_probed: true, ..ProbeView::default() }) };
    let sentence = "b:2 has not answered for 3 s; no client has asked it meanwhile.";
    check(case(vec![master(false), hung]), Level::Warning, sentence);
}

#[test]
fn slots_that_nobody_has_and_servers_that_are_no_use() {
    let of = |conditions| Case { conditions, now: Now::default(), ..Case::default() };
    let conditions = Conditions { unserved_slots: 412, ..Conditions::default() };
    let sentence =
        "412 slots of the cluster have no master: requests for their keys fail; CLUSTER SLOTS shows which.";
    check(of(conditions.clone()), Level::Critical, sentence);
    // What nodes say for want of them is an effect.
    let saying = |name| {
        let refusals_per_s = [("clusterdown", 40.0)].into();
        NodeView { refusals_per_s, ..node(name, "master", true) }
    };
    let nodes = || [saying("a:1"), saying("b:2"), node("c:3", "master", true)].to_vec();
    assert_eq!(Case { nodes: nodes(), ..of(conditions) }.sentences(), [sentence]);
    let sentence = "a:1 and another say that the cluster is down: see CLUSTER INFO on it (80/s).";
    assert_eq!(case(nodes()).sentences(), [sentence]);
    let of_cluster = |cluster: &str, what: &str| ServerFault { cluster: cluster.into(), what: what.into() };
    let servers = ["old:6379: cannot resolve: no such host", "b:2: it does not answer"];
    let servers = servers.map(|what| of_cluster("default", what));
    let conditions = Conditions { unusable_servers: servers.to_vec(), ..Conditions::default() };
    let sentence =
        "upstream.servers names what can't be used: old:6379: cannot resolve: no such host, and 1 more.";
    check(of(conditions.clone()), Level::Notice, sentence);
    let orders = vec![of_cluster("orders", "c:3: it does not answer")];
    let of_orders = Conditions { unusable_servers: orders, ..Conditions::default() };
    let sentence = "servers of [[cluster]] orders names what can't be used: c:3: it does not answer.";
    check(of(of_orders), Level::Notice, sentence);
    let stray = Conditions { stray_servers: vec![of_cluster("default", "a:9")], ..Conditions::default() };
    let sentence = "upstream.servers names servers of another cluster, which are not used: a:9.";
    check(of(stray), Level::Warning, sentence);
    // While none can be used, that says it of each.
    let readiness = Readiness::UpstreamUnreachable { why: "old:6379: no such host".into() };
    let found = Case { readiness, ..of(conditions) }.sentences();
    assert_eq!(found, ["No Redis to serve from: old:6379: no such host."]);
}

#[test]
fn the_gateways_threads_clock_and_file() {
    let of = |upsets| {
        let conditions = Conditions { upsets, ..Conditions::default() };
        Case { conditions, now: Now::default(), ..Case::default() }
    };
    for (upsets, level, sentence) in [
        (
            UpsetsView { late_workers: vec![(1, 3_100)], ..UpsetsView::default() },
            Level::Critical,
            "worker-1 has not come round for 3 s: all of its clients wait.",
        ),
        (
            UpsetsView { standstill_ms: Some(12_000), ..UpsetsView::default() },
            Level::Warning,
            "The gateway has stood still for 12 s: it was stopped, or had no processor.",
        ),
        (
            UpsetsView { jump_ms: Some(-3_600_000), ..UpsetsView::default() },
            Level::Notice,
            "The system's clock jumped 60 min back: times shown of before are off by that.",
        ),
    ] {
        check(of(upsets), level, sentence);
    }
    let conditions = Conditions {
        reload_refused: vec!["line 3: unknown key 'x'".into(), "line 4: unknown key 'y'".into()],
        restart_needed: vec!["gateway.workers".into(), "admin.listen".into()],
        ..Conditions::default()
    };
    let case = Case { conditions, now: Now::default(), ..Case::default() };
    assert_eq!(
        case.sentences(),
        [
            "The configuration file was not taken over, the last one holds: line 3: unknown key 'x', and 1 more, which \
             the log has.",
            "gateway.workers, admin.listen have changed in the file: only a restart takes that.",
        ]
    );
}

#[test]
fn a_loss_is_a_line_while_it_is_recent() {
    let loss = |kind, recent| Loss {
        kind,
        count: 40,
        recent,
        first_at_ms: 0,
        last_at_ms: 0,
        first_ms_ago: 3_600_000,
        last_ms_ago: 30_000,
        sentence: String::new(),
    };
    let of = |loss| Case { losses: vec![loss], now: Now::default(), ..Case::default() };
    for (kind, recent, sentence) in [
        (
            LossKind::Refused,
            3,
            "3 write-behind increments are lost: Redis refused them; the log names the counters.",
        ),
        (
            LossKind::Unknown,
            1,
            "1 write-behind increment has an unknown outcome: Redis may have it or not; the log names the counters.",
        ),
        (
            LossKind::Owed,
            1,
            "1 sum that a quota let through while Redis was away may be missing in its counter; the log names the \
             counters.",
        ),
    ] {
        check(of(loss(kind, recent)), Level::Critical, sentence);
    }
    check(of(loss(LossKind::Refused, 0)), Level::Ok, "All quiet: no traffic, no hot keys.");
    assert_eq!(
        describe(&loss(LossKind::Refused, 0)),
        "40 write-behind increments are lost: Redis refused them (the first 60 min ago, the last 30 s ago)."
    );
}
