//! Tests of the status sentence: figures in, sentence out.

use super::*;
use std::sync::Arc;

fn hot(key: &str, share: f64, offered: Option<f64>, flushed: Option<f64>) -> HotKeyView {
    HotKeyView {
        key: key.into(),
        class: "counter",
        since_ms: 0,
        requests_per_s: share * 138_000.0,
        reads_per_s: 0.0,
        writes_per_s: share * 138_000.0,
        bytes_per_s: 0.0,
        share,
        peak_per_s: 0.0,
        trend: 1.0,
        connections: 50,
        node: "10.0.0.1:7000".into(),
        cluster: "default".into(),
        tenant: String::new(),
        offered_per_s: offered,
        flushed_per_s: flushed,
        added_wait_us: None,
        cache_hits_per_s: 0.0,
        pending: 0,
        course: "",
        course_for_ms: 0,
        queue_us: 0,
        probe_in_ms: None,
        flushes_max: None,
        turn_wait_us: 0,
        unfolded: Vec::new(),
        history: Arc::from([]),
        offered_total: 0,
        flushed_total: 0,
        cache_hits_total: 0,
        ..HotKeyView::default()
    }
}

pub(super) fn node(name: &str, role: &'static str, up: bool) -> NodeView {
    let cluster = "default".to_owned();
    NodeView { node: name.into(), cluster, role, up, state: "up", slots: 5_461, ..NodeView::default() }
}

fn quota(key: &str) -> QuotaView {
    QuotaView {
        key: key.into(),
        quota: "sku:*:reserved".into(),
        limit: Some(1_000_000),
        value: Some(500_000),
        remaining: Some(500_000),
        used_share: Some(0.5),
        enforce: true,
        ..QuotaView::default()
    }
}

pub(super) struct Case {
    pub readiness: Readiness,
    pub now: Now,
    pub totals: Totals,
    pub hot_keys: Vec<HotKeyView>,
    pub nodes: Vec<NodeView>,
    pub quotas: Vec<QuotaView>,
    pub losses: Vec<Loss>,
    pub conditions: Conditions,
}

impl Default for Case {
    fn default() -> Self {
        let mut now = Now { requests_per_s: 12_345.0, ..Now::default() };
        now.request_time.p99_us = 820.0;
        Self {
            readiness: Readiness::Ready,
            now,
            totals: Totals::default(),
            hot_keys: Vec::new(),
            nodes: Vec::new(),
            quotas: Vec::new(),
            losses: Vec::new(),
            conditions: Conditions::default(),
        }
    }
}

impl Case {
    pub(super) fn status(&self) -> Status {
        judge(&StatusInput {
            readiness: &self.readiness,
            upstream_trouble: None,
            missing_rights: &[],
            now: &self.now,
            totals: &self.totals,
            hot_keys: &self.hot_keys,
            nodes: &self.nodes,
            quotas: &self.quotas,
            sales: &[],
            losses: &self.losses,
            conditions: &self.conditions,
        })
    }

    /// The first line and the others, in their order.
    pub(super) fn sentences(&self) -> Vec<String> {
        let status = self.status();
        let others = status.others.into_iter().map(|other| other.sentence);
        std::iter::once(status.sentence).chain(others).collect()
    }
}

pub(super) fn check(case: Case, level: Level, sentence: &str) {
    let status = case.status();
    assert_eq!((status.level, status.sentence.as_str()), (level, sentence));
}

#[test]
fn all_is_quiet() {
    check(Case::default(), Level::Ok, "All quiet: 12,300/s, p99 820 µs, no hot keys.");
    let small = vec![hot("k", 0.02, Some(100.0), Some(1.0))];
    check(
        Case { hot_keys: small, ..Case::default() },
        Level::Ok,
        "All quiet: 12,300/s, p99 820 µs, one hot key below 10 % of all requests.",
    );
    check(Case { now: Now::default(), ..Case::default() }, Level::Ok, "All quiet: no traffic, no hot keys.");
}

#[test]
fn a_super_hot_key() {
    let combined = vec![hot("sku:{8421}:reserved", 0.61, Some(84_000.0), Some(900.0))];
    check(
        Case { hot_keys: combined, ..Case::default() },
        Level::Notice,
        "sku:{8421}:reserved takes 61 % of all requests (84,200/s), combined to 900/s.",
    );
    // A quota folds at the key's home, however little there is to fold.
    let partly = || vec![hot("k", 0.5, Some(69_000.0), Some(30_000.0))];
    let sentence = "k takes 50 % of all requests (69,000/s), combined to 30,000/s.";
    check(Case { hot_keys: partly(), ..Case::default() }, Level::Notice, sentence);
    let late = NodeView { queue_us: 3_200, ..node("10.0.0.1:7000", "master", true) };
    let found = Case { hot_keys: partly(), nodes: vec![late], ..Case::default() }.sentences();
    let sentence = "k takes 50 % of all requests (69,000/s), combined to 30,000/s, which 10.0.0.1:7000 can't keep up with.";
    assert_eq!(found[1], sentence);
    let bare = vec![hot("list:1", 0.5, None, None)];
    check(
        Case { hot_keys: bare, ..Case::default() },
        Level::Notice,
        "list:1 takes 50 % of all requests (69,000/s), as it came: 10.0.0.1:7000 keeps up.",
    );
    let bare = vec![hot("list:1", 0.5, None, None)];
    let late = NodeView { queue_us: 3_200, ..node("10.0.0.1:7000", "master", true) };
    check(
        Case { hot_keys: bare, nodes: vec![late], ..Case::default() },
        Level::Warning,
        "10.0.0.1:7000 can't keep up: requests queue there for 3.20 ms.",
    );
}

#[test]
fn upstream_trouble_comes_first() {
    let hot_keys = vec![hot("k", 0.61, None, None)];
    let readiness =
        Readiness::UpstreamUnreachable { why: "10.0.0.1:7000: cannot connect: connection refused".into() };
    check(
        Case { readiness, hot_keys, ..Case::default() },
        Level::Critical,
        "No Redis to serve from: 10.0.0.1:7000: cannot connect: connection refused.",
    );
    let nodes = vec![node("a:1", "replica", false), node("b:2", "master", false)];
    check(
        Case { nodes, ..Case::default() },
        Level::Critical,
        "Master b:2 is down; its 5,461 slots are not served.",
    );
    let nodes = vec![NodeView { inflight: 900, inflight_max: 1_000, ..node("b:2", "master", true) }];
    check(
        Case { nodes, ..Case::default() },
        Level::Warning,
        "Node b:2 is near its limit: 90 % of its inflight requests.",
    );
}

#[test]
fn a_silent_node_says_how_long_and_for_whom() {
    let hung = NodeView { silent_ms: 3_100, waiting: 41, ..node("10.0.0.3:6379", "master", true) };
    let sentence = "10.0.0.3:6379 has not answered for 3 s; 41 requests wait.";
    check(Case { nodes: vec![hung.clone()], ..Case::default() }, Level::Critical, sentence);
    let readiness = Readiness::UpstreamUnreachable { why: "10.0.0.3:6379 has not answered for 3 s".into() };
    check(Case { nodes: vec![hung], readiness, ..Case::default() }, Level::Critical, sentence);
    let slow = NodeView { silent_ms: 900, waiting: 41, ..node("10.0.0.3:6379", "master", true) };
    let sentence = "10.0.0.3:6379 has not answered for 0.9 s; 41 requests wait.";
    check(Case { nodes: vec![slow.clone()], ..Case::default() }, Level::Notice, sentence);
    let short = NodeView { silent_ms: 400, ..slow };
    check(
        Case { nodes: vec![short], ..Case::default() },
        Level::Ok,
        "All quiet: 12,300/s, p99 820 µs, no hot keys.",
    );
}

#[test]
fn one_node_takes_the_load_of_all() {
    let nodes = |first: f64| {
        let node = |name, requests_per_s| NodeView { requests_per_s, ..node(name, "master", true) };
        Case { nodes: vec![node("a:1", first), node("b:2", 900.0), node("c:3", 1_100.0)], ..Case::default() }
    };
    check(nodes(2_900.0), Level::Ok, "All quiet: 12,300/s, p99 820 µs, no hot keys.");
    check(
        nodes(5_000.0),
        Level::Warning,
        "Out of balance: a:1 takes 71 % of all requests, with 33 % of the slots.",
    );
    // What one cluster takes of several is no matter of slots.
    let mut several = nodes(5_000.0);
    several.nodes[0].cluster = "orders".into();
    check(several, Level::Ok, "All quiet: 12,300/s, p99 820 µs, no hot keys.");
    let mut several = nodes(5_000.0);
    several.nodes.push(NodeView { cluster: "orders".into(), ..node("d:4", "master", true) });
    let sentence =
        "Out of balance: a:1 takes 71 % of the cluster default's requests, with 33 % of the slots.";
    check(several, Level::Warning, sentence);
    let of_one_key = vec![HotKeyView { node: "a:1".into(), ..hot("k", 0.6, None, None) }];
    check(
        Case { hot_keys: of_one_key, ..nodes(5_000.0) },
        Level::Notice,
        "k takes 60 % of all requests (82,800/s), as it came: a:1 keeps up.",
    );
}

#[test]
fn what_is_refused_here_is_not_said_to_reach_redis() {
    let refusing = QuotaView { exhausted: true, refused_per_s: 65_000.0, ..quota("k") };
    check(
        Case { hot_keys: vec![hot("k", 0.5, None, None)], quotas: vec![refusing], ..Case::default() },
        Level::Notice,
        "k is sold out, refusing 65,000/s.",
    );
    let nodes = vec![NodeView { node: "10.0.0.1:7000".into(), ..node("", "master", false) }];
    let status_of_dead = Case { hot_keys: vec![hot("k", 0.5, None, None)], nodes, ..Case::default() };
    check(status_of_dead, Level::Critical, "Master 10.0.0.1:7000 is down; its 5,461 slots are not served.");
}

#[test]
fn errors_need_a_share_and_a_rate() {
    let errors = |per_s: f64| {
        let now = Now {
            requests_per_s: 1_000.0,
            errors_per_s: per_s,
            errors_by_kind_per_s: [("timeout", per_s), ("overload", 0.1)].into(),
            ..Now::default()
        };
        Case { now, ..Case::default() }
    };
    check(errors(5.0), Level::Ok, "All quiet: 1,000/s, p99 0.0 µs, no hot keys.");
    check(
        errors(20.0),
        Level::Warning,
        "2.0 % of all requests fail (20/s): Redis does not reply within upstream.request_timeout.",
    );
    check(
        errors(200.0),
        Level::Critical,
        "20 % of all requests fail (200/s): Redis does not reply within upstream.request_timeout.",
    );
    check(
        errors(2_400.0),
        Level::Critical,
        "100 % of all requests fail (2,400/s): Redis does not reply within upstream.request_timeout.",
    );
}

#[test]
fn bounds_in_sight() {
    let totals = Totals { buffered_bytes: 85, buffered_bytes_max: 100, ..Totals::default() };
    check(
        Case { totals, ..Case::default() },
        Level::Warning,
        "Client buffers are 85 % full: clients read slower than Redis replies.",
    );
    let totals = Totals {
        write_behind_pending: 90,
        write_behind_pending_max: 100,
        write_behind_oldest_ms: 2_500,
        ..Totals::default()
    };
    check(
        Case { totals, ..Case::default() },
        Level::Warning,
        "90 write-behind deltas wait, the oldest for 2.5 s.",
    );
    let journal = |journal_full, journal_os_error| Case {
        totals: Totals { journal_refusing: 1, journal_full, journal_os_error, ..Totals::default() },
        ..Case::default()
    };
    for (case, why) in [
        (journal(0, 0), "it can't be written, see the log"),
        (journal(0, 30), "it can't be written: Read-only file system (os error 30)"),
        (journal(1, 0), "what Redis has not taken fills write_behind.journal_bytes_max"),
    ] {
        check(case, Level::Critical, &format!("The write-behind journal refuses increments: {why}."));
    }
    let now = Now { write_behind_refused_per_s: 40.0, admission_refused_per_s: 2.0, ..Now::default() };
    assert_eq!(
        Case { now, ..Case::default() }.sentences(),
        [
            "2 increments/s under quotas are refused: as many counters are remembered as admission.keys_max and \
             admission.bytes_max allow.",
            "Write-behind refuses 40 increments/s: Redis has not taken write_behind.pending_max that were answered \
             before.",
        ]
    );
}

#[test]
fn sales() {
    let case = |quota| Case { quotas: vec![quota], ..Case::default() };
    let sold_out = QuotaView { exhausted: true, refused_per_s: 99_950.0, ..quota("sku:1") };
    check(case(sold_out.clone()), Level::Notice, "sku:1 is sold out, refusing 100,000/s.");
    let away = QuotaView { refused_unavailable_per_s: 5.0, ..sold_out.clone() };
    check(case(away), Level::Critical, "sku:1 is refused because Redis is away, refusing 100,000/s.");
    let paused = QuotaView { paused: true, ..quota("sku:1") };
    check(case(paused), Level::Notice, "sku:1 is paused by an operator.");
    let nearly = QuotaView {
        used_share: Some(0.97),
        remaining: Some(30_000),
        sold_out_in_s: Some(41.2),
        ..quota("sku:1")
    };
    check(case(nearly), Level::Notice, "sku:1 is nearly sold out: 30,000 left, 41 s at this rate.");
    let soon = QuotaView { sold_out_in_s: Some(48.0), ..quota("sku:1") };
    check(case(soon), Level::Notice, "sku:1 sells out in 48 s at this rate: 500,000 left.");
    let rate_limit = QuotaView { window_ms: Some(1_000), ..sold_out };
    check(case(rate_limit), Level::Notice, "sku:1 is held to 1,000,000 per 1 s, refusing 100,000/s.");
}

#[test]
fn the_others_follow_worst_first() {
    let case = Case {
        nodes: vec![node("b:2", "master", false)],
        quotas: vec![QuotaView { paused: true, ..quota("sku:1") }],
        hot_keys: vec![hot("k", 0.5, None, None)],
        ..Case::default()
    };
    let status = case.status();
    assert_eq!(status.others.iter().map(|f| f.level).collect::<Vec<_>>(), [Level::Notice, Level::Notice]);
}

#[test]
fn a_slow_node_and_slots_on_their_way() {
    let slow = NodeView { p99_us: 1 << 19, ..node("b:2", "master", true) };
    let sentence = "b:2 is slow: one reply in a hundred takes longer than 262 ms.";
    check(Case { nodes: vec![slow.clone()], ..Case::default() }, Level::Warning, sentence);
    let hung = NodeView { silent_ms: 3_000, ..slow };
    let sentence = "b:2 has not answered for 3 s; new requests are held back.";
    check(Case { nodes: vec![hung], ..Case::default() }, Level::Critical, sentence);
    let now = |kinds: &[(&'static str, f64)]| Case {
        now: Now { redirects_per_s: kinds.iter().copied().collect(), ..Now::default() },
        ..Case::default()
    };
    let sentence = "Slots are on their way to another master: 40/s go after them (ASK).";
    check(now(&[("ask", 40.0), ("moved", 5.0)]), Level::Notice, sentence);
    let sentence = "Slots are on their way to another master: 0/s go after them (ASK), 2.5/s wait until their keys are \
                    together (TRYAGAIN).";
    check(now(&[("tryagain", 2.5)]), Level::Notice, sentence);
    check(now(&[("moved", 5.0)]), Level::Ok, "All quiet: no traffic, no hot keys.");
}

#[test]
fn a_node_that_takes_connections_and_answers_nobody() {
    let connecting = NodeView { state: "connecting", ..node("b:2", "master", true) };
    let mut case = Case { nodes: vec![connecting], ..Case::default() };
    case.now.errors_by_kind_per_s.insert("upstream_unavailable", 3.0);
    check(case, Level::Critical, "Master b:2 is down; its 5,461 slots are not served.");
}

#[test]
fn busy_workers_lack_workers_or_processors() {
    let case = |cores: [f64; 2], waits: [f64; 2]| {
        let of =
            |shares: [f64; 2]| vec![("worker-0".to_owned(), shares[0]), ("worker-1".to_owned(), shares[1])];
        let now = Now { worker_cores: of(cores), worker_waits: of(waits), ..Now::default() };
        Case { now, ..Case::default() }
    };
    check(case([0.9, 0.2], [0.05, 0.7]), Level::Ok, "All quiet: no traffic, no hot keys.");
    check(
        case([0.98, 0.2], [0.0, 0.0]),
        Level::Warning,
        "worker-0 is busy all the time: clients wait for it; add workers or gateways.",
    );
    check(
        case([0.5, 0.6], [0.5, 0.4]),
        Level::Warning,
        "All workers are busy all the time: clients wait, and 45 % of the time no processor is free for it; add \
         processors or gateways.",
    );
}

#[test]
fn a_quota_that_cannot_be_applied_says_why() {
    let faulty = QuotaView {
        fault: "limit key 'max:1' does not exist".into(),
        refused_fault_per_s: 12.0,
        refused_per_s: 12.0,
        ..quota("sku:1")
    };
    check(
        Case { quotas: vec![faulty], ..Case::default() },
        Level::Critical,
        "sku:1 is refused by its quota: limit key 'max:1' does not exist, refusing 12/s.",
    );
}

#[test]
fn a_share_is_that_of_the_slots_and_keys_have_one_as_well() {
    let nodes = |slots: [u32; 3], keys: [u64; 3]| {
        let node = |(place, name)| NodeView {
            slots: slots[place],
            keys: Some(keys[place]),
            requests_per_s: 4_000.0 * f64::from(slots[place]),
            ..node(name, "master", true)
        };
        Case { nodes: ["a:1", "b:2", "c:3"].into_iter().enumerate().map(node).collect(), ..Case::default() }
    };
    let quiet = "All quiet: 12,300/s, p99 820 µs, no hot keys.";
    // Who has most of the slots has most of the load.
    check(nodes([14_384, 1_000, 1_000], [140_000, 10_000, 11_000]), Level::Ok, quiet);
    check(nodes([5_461; 3], [5_000, 1, 1]), Level::Ok, quiet);
    check(
        nodes([5_461; 3], [50_000, 10_000, 11_000]),
        Level::Warning,
        "Out of balance: a:1 holds 70 % of all keys, with 33 % of the slots.",
    );
    check(
        nodes([1_000, 7_692, 7_692], [50_000, 60_000, 61_000]),
        Level::Warning,
        "Out of balance: a:1 holds 29 % of all keys, with 6.1 % of the slots.",
    );
}

#[test]
fn a_folded_key_of_a_dead_node_is_not_said_to_be_combined() {
    let case = |up| Case {
        hot_keys: vec![hot("k", 0.5, Some(58_000.0), Some(900.0))],
        nodes: vec![node("10.0.0.1:7000", "master", up)],
        ..Case::default()
    };
    assert_eq!(case(true).sentences(), ["k takes 50 % of all requests (69,000/s), combined to 900/s."]);
    let dead = case(false).sentences();
    assert_eq!(dead[1..], ["k takes 50 % of all requests (69,000/s)."]);
}
