//! A gateway that does not exist: tallies, hot set, topology and quotas that tell the story of a sale, so
//! that what operators see can be tested and looked at without workers and without Redis.

mod courses;
mod served;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hotgate::admission::QuotaAction;
use hotgate::command::CommandTable;
use hotgate::detect::{Class, HotKey, HotSet, KeyName, Rates};
use hotgate::monitor::notify::NoticeFigures;
use hotgate::monitor::quota_page::{QuotaPage, QuotaQuery, QuotaRow};
use hotgate::monitor::sampler::TICK_MS;
use hotgate::monitor::sources::Sources;
use hotgate::monitor::view::{Conditions, Identity, Readiness};
use hotgate::route::{ClusterId, Routes};
use hotgate::shared::audit::{Audit, AuditEntry};
use hotgate::shared::client_rows::{ClientRow, ClientRowsPort};
use hotgate::shared::command_log::CommandLog;
use hotgate::shared::events::Events;
use hotgate::shared::keys::KeyNames;
use hotgate::shared::labels::{ErrorKind, NodeState, Outcome, QuotaRefusal, RequestClass};
use hotgate::shared::probes::{NodeProbe, Rows};
use hotgate::shared::quota_changes::QuotaChangePort;
use hotgate::shared::quota_facts::{Changed, QuotaFacts};
use hotgate::shared::tallies::{QuotaTally, TalliesCell, WorkerTallies};
use hotgate::shared::topology::{Address, Node, NodeIndex, Role, Shard, Topology, UpstreamKind};
use hotgate::shared::upstream_facts::UpstreamFacts;

pub use served::Served;

pub const SKU: &[u8] = b"sku:{8421}:reserved";
pub const MARKUP: &[u8] = b"<img src=x onerror=document.title='owned'>";
pub const BINARY: &[u8] = b"session:\xff\x00\xfe:profile";
pub const START_MS: u64 = 1_790_000_000_000;

/// The state shared with the sources' closures.
pub struct Stage {
    pub cell: Arc<TalliesCell>,
    pub hot: Mutex<Arc<HotSet>>,
    pub topology: Mutex<Arc<Topology>>,
    pub quotas: Mutex<Vec<QuotaFacts>>,
    pub readiness: Mutex<Readiness>,
    pub probes: Mutex<Rows>,
    pub conditions: Mutex<Conditions>,
    pub audit: Audit,
    pub events: Arc<Events>,
    pub command_log: Arc<CommandLog>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            cell: Arc::default(),
            hot: Mutex::default(),
            topology: Mutex::new(Arc::new(cluster())),
            quotas: Mutex::new(vec![quota(SKU, 0, 1_000_000), quota(b"sku:{77}:reserved", 0, 20_000)]),
            readiness: Mutex::new(Readiness::Ready),
            probes: Mutex::new(answering()),
            conditions: Mutex::default(),
            audit: Audit::new(Vec::new(), None),
            events: Arc::default(),
            command_log: Arc::default(),
        }
    }
}

impl Stage {
    pub fn sources(self: &Arc<Self>) -> Sources {
        let [a, b, c, d, e, f, g, h, i, j] = [(); 10].map(|()| self.clone());
        let (clients, inboxes) = ClientRowsPort::new(1);
        for mut inbox in inboxes {
            tokio::spawn(async move {
                while let Some(request) = inbox.recv().await {
                    let rows = (0..40).map(client).take(request.query.rows_max).collect();
                    let _ = request.reply.send((rows, 40));
                }
            });
        }
        let (quota_changes, mut changes) = QuotaChangePort::new();
        let stage = self.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                let verdict = stage.change(&change.key, change.action);
                let key = KeyNames::Plain.label(&change.key);
                let entry = AuditEntry::new(&change.by, format!("quota {}", change.action.word()), key);
                stage.audit.record(entry.from_to("what is configured", "another").because(change.reason));
                let _ = change.verdict.send(verdict);
            }
        });
        Sources {
            routes_view: Box::new(Default::default),
            tenants: Box::new(|| None),
            config: Box::new(Default::default),
            commands: Box::new(|| Arc::new(CommandTable::builtin())),
            identity: Identity {
                version: "0.1.0".into(),
                id: "5f1c0a3e9b7d24681357acebdf0246813579bdf0".into(),
                listen: vec!["127.0.0.1:6380".into()],
                workers: 2,
                config_file: "/etc/hotgate/hotgate.toml".into(),
                started_unix_ms: START_MS - 3 * 3_600_000,
            },
            tallies: vec![self.cell.clone()],
            hot: Box::new(move || a.hot.lock().unwrap().clone()),
            topology: Box::new(move || b.topology.lock().unwrap().clone()),
            routes: Routes::default(),
            upstream: Box::new(|| {
                let (version, mode) = (Some("7.0.15".into()), Some("cluster".into()));
                Arc::new(UpstreamFacts { version, mode, commands: None })
            }),
            upstream_trouble: Box::new(|| None),
            missing_rights: Box::new(Vec::new),
            certificates: Box::new(Arc::default),
            quotas: Box::new(move || c.quota_rows(&QuotaQuery { count: 256, ..QuotaQuery::default() }).rows),
            quota_page: Box::new(move |query| e.quota_rows(query)),
            sales_seen: Box::new(Arc::default),
            sales_looked_at: Box::new(|| ()),
            probes: Box::new(move || g.probes.lock().unwrap().clone()),
            conditions: Box::new(move || h.conditions.lock().unwrap().clone()),
            connected: Box::new(move || f.cell.load().clients.current),
            readiness: Box::new(move || d.readiness.lock().unwrap().clone()),
            notices: Arc::new(NoticeFigures::default()),
            turned_away: Arc::default(),
            key_names: KeyNames::Plain,
            metric_keys_max: 20,
            clients,
            audit: Box::new(move |count| i.audit.latest(count)),
            note_change: Box::new(move |entry| j.audit.record(entry)),
            events: Arc::clone(&self.events),
            history: Arc::default(),
            command_log: Arc::clone(&self.command_log),
            quota_changes,
            key_modes: courses::key_modes(self),
            key_histories: Arc::default(),
            client_kill: Box::new(|id, _, _| Box::pin(async move { id == 7 })),
            sale_command: Box::new(|_, _| Box::pin(async { bytes::Bytes::from_static(b"+OK\r\n") })),
        }
    }

    /// The quotas in their order, which is that of their use.
    fn quota_rows(&self, query: &QuotaQuery) -> QuotaPage {
        let all = self.quotas.lock().unwrap();
        let found: Vec<_> = all.iter().filter(|facts| query.finds(&facts.key)).collect();
        let page = found.iter().skip(query.offset).take(query.count);
        let row =
            |facts: &QuotaFacts| QuotaRow { facts: facts.clone(), admitted_per_s: 0.0, refused_per_s: 0.0 };
        QuotaPage {
            total: all.len() as u64,
            matched: found.len() as u64,
            rows: page.map(|facts| row(facts)).collect(),
        }
    }

    fn change(&self, key: &[u8], action: QuotaAction) -> Result<String, String> {
        let mut quotas = self.quotas.lock().unwrap();
        let fact = quotas.iter_mut().find(|fact| fact.key == key).ok_or("no quota holds this key")?;
        match action {
            QuotaAction::Pause => {
                fact.paused = true;
                fact.changed.paused_by = "10.0.0.9 over HTTP".into();
            }
            QuotaAction::Resume => fact.paused = false,
            QuotaAction::Limit(limit) => {
                fact.limit = Some(limit);
                (fact.changed.limit, fact.changed.limit_by) = (true, "10.0.0.9 over HTTP".into());
            }
            QuotaAction::Reset => {
                (fact.limit, fact.paused, fact.changed) = (Some(1_000_000), false, Changed::default());
            }
        }
        Ok("done".into())
    }
}

pub fn quota(key: &[u8], rule: u16, limit: i64) -> QuotaFacts {
    QuotaFacts {
        key: key.to_vec(),
        rule,
        pattern: "sku:*:reserved".into(),
        limit: Some(limit),
        counts_down: false,
        value: Some(0),
        window_ms: None,
        enforce: true,
        paused: false,
        exhausted: false,
        fault: String::new(),
        changed: Changed::default(),
        tally: QuotaTally::default(),
    }
}

/// All nodes answer, and the masters say how many keys they hold.
fn answering() -> Rows {
    let row = |place: usize| {
        let keys = [Some(812_000), Some(301_000), Some(298_000), None, None, None][place];
        let probe = NodeProbe {
            keys,
            clients: Some((40, 10_000)),
            is_linked: keys.is_none().then_some(true),
            ..NodeProbe::default()
        };
        ((ClusterId::DEFAULT, node_address(place)), probe)
    };
    (0..6).map(row).collect()
}

/// The address of a node of [`cluster`].
pub fn node_address(place: usize) -> Address {
    format!("10.0.3.{}:6379", 10 + place).parse().unwrap()
}

/// Three masters, each with a replica.
pub fn cluster() -> Topology {
    let node = |port: u16, role| {
        let address = node_address(usize::from(port));
        Arc::new(Node {
            cluster: ClusterId::DEFAULT,
            address,
            id: format!("{port:040}"),
            role,
            present: true,
            healthy: true,
        })
    };
    let nodes = (0..6).map(|n| node(n, if n < 3 { Role::Master } else { Role::Replica })).collect();
    let shard = |n: u16, start, end| Shard {
        master: NodeIndex(n),
        ranges: vec![(start, end)],
        replicas: vec![NodeIndex(n + 3)],
    };
    Topology::new(
        3,
        UpstreamKind::Cluster,
        nodes,
        &[shard(0, 0, 5460), shard(1, 5461, 10922), shard(2, 10923, 16383)],
    )
}

pub fn hot_key(key: &[u8], class: Class, rates: Rates, history: Vec<u32>) -> HotKey {
    HotKey {
        key: KeyName::new(ClusterId::DEFAULT, key),
        since_ms: START_MS,
        class,
        rates,
        peak: rates.ops * 1.07,
        history: history.into(),
    }
}

fn client(id: u64) -> ClientRow {
    let names: [&[u8]; 3] = [b"checkout", b"catalogue", b"\xffodd <b>name</b>"];
    ClientRow {
        id,
        worker: (id % 2) as usize,
        address: SocketAddr::from(([10, 0, 1, (id % 200) as u8], 50_000 + id as u16)).into(),
        local_address: SocketAddr::from(([10, 0, 0, 1], 6380)).into(),
        name: names[id as usize % 3].to_vec(),
        library_name: b"redis-py".to_vec(),
        library_version: b"5.0.1".to_vec(),
        user: b"default".to_vec(),
        age_s: 40 + id * 97,
        idle_s: id % 3,
        flags: "N".into(),
        database: 0,
        resp: 2 + (id % 2) as u8,
        last_command: ["incr", "get", "hgetall"][id as usize % 3].into(),
        requests: 1_000 * id,
        errors: 0,
        slow_replies: 0,
        bytes_in: 0,
        bytes_out: 0,
        subscriptions: 0,
        pattern_subscriptions: 0,
        shard_subscriptions: 0,
        redirect: -1,
        queued_commands: -1,
        inflight: 0,
        buffered_in_bytes: 0,
        buffered_out_bytes: id * 17,
    }
}

/// The sale: background traffic, then one SKU that takes most of all requests, is combined, and sells out.
pub struct Sale {
    pub stage: Arc<Stage>,
    tallies: WorkerTallies,
    sku_row: hotgate::shared::keyed::RowId,
    quota_row: hotgate::shared::keyed::RowId,
    history: Vec<u32>,
    sold: f64,
}

/// When the sale opens, in seconds of the story.
pub const OPENS_S: f64 = 420.0;

impl Sale {
    pub fn new(stage: Arc<Stage>) -> Self {
        let mut tallies = WorkerTallies::default();
        let sku_row = tallies.combine.keys.acquire(Arc::from(SKU));
        let quota_row = tallies.quotas.acquire(Arc::from(SKU));
        tallies.clients.current = 412;
        tallies.clients.opened = 9_120;
        tallies.clients.buffered_bytes_max = 64 << 20;
        tallies.clients.buffered_out_bytes = 180_000;
        tallies.detector.tracked = 4_096;
        tallies.detector.memory_bytes = 5 << 20;
        tallies.courses = courses::courses();
        Self { stage, tallies, sku_row, quota_row, history: vec![0; 60], sold: 0.0 }
    }

    /// Plays one tick of the story, which lies `second` seconds after its start.
    pub fn play(&mut self, second: f64) {
        let tick = TICK_MS as f64 / 1_000.0;
        let wobble = 1.0 + 0.06 * (second / 7.0).sin() + 0.04 * (second / 1.7).sin();
        let background = 52_000.0 * wobble * tick;
        let rush =
            if second < OPENS_S { 1_200.0 } else { 84_000.0 * (1.0 - (-(second - OPENS_S) / 9.0).exp()) };
        let sku = rush * wobble * tick;
        self.traffic(background, sku, second);
        self.nodes(background, second);
        self.sell(sku, second);
        if ((second / tick) as u64).is_multiple_of(4) {
            self.history.remove(0);
            self.history.push((sku / tick) as u32);
        }
        self.publish(background / tick, sku / tick, second);
    }

    /// So many write-behind increments are refused.
    pub fn lose(&mut self, increments: u64) {
        self.tallies.write_behind.lost_deltas += increments;
        self.stage.cell.publish(&self.tallies);
    }

    /// So many requests more in this tick.
    pub fn rush(&mut self, requests: u64) {
        self.tallies.requests[RequestClass::Read.index()][Outcome::Forwarded.index()] += requests;
        self.stage.cell.publish(&self.tallies);
    }

    fn traffic(&mut self, background: f64, sku: f64, second: f64) {
        let tallies = &mut self.tallies;
        let count = |tallies: &mut WorkerTallies, class: RequestClass, outcome: Outcome, n: f64| {
            tallies.requests[class.index()][outcome.index()] += n as u64;
        };
        count(tallies, RequestClass::Read, Outcome::Forwarded, background * 0.7);
        count(tallies, RequestClass::Write, Outcome::Forwarded, background * 0.25);
        count(tallies, RequestClass::Local, Outcome::Answered, background * 0.05);
        count(tallies, RequestClass::Counter, Outcome::Combined, sku);
        let us = if second < OPENS_S { 210.0 } else { 290.0 } * (1.0 + 0.1 * (second / 3.0).sin());
        for (factor, share) in [(1.0, 0.9), (1.8, 0.08), (3.9, 0.015), (9.0, 0.005)] {
            let n = (background * share) as u64;
            tallies.request_time.record_n((us * factor * 1e3) as u64, n);
            tallies.upstream_time.record_n((us * factor * 0.93e3) as u64, n);
            tallies.gateway_time.record_n((us * factor * 0.07e3) as u64, n);
        }
        tallies.clients.bytes_in += ((background + sku) * 46.0) as u64;
        tallies.clients.bytes_out += (background * 310.0 + sku * 8.0) as u64;
        if (140.0..146.0).contains(&second) {
            tallies.errors[ErrorKind::Timeout.index()] += 60;
            tallies.errors[ErrorKind::UpstreamLost.index()] += 20;
        }
        let flushed = (sku / 90.0).min(230.0).max(if sku > 0.0 { 1.0 } else { 0.0 }) as u64;
        tallies.combine.offered += sku as u64;
        tallies.combine.flushed += flushed;
        for _ in 0..flushed.min(20) {
            tallies.combine.batch_size.record((sku / flushed as f64) as u64);
            tallies.combine.added_wait_us.record(430);
        }
        let row = tallies.combine.keys.row(self.sku_row);
        row.offered += sku as u64;
        row.flushed += flushed;
        row.added_wait_us_sum += (sku * 430.0) as u64;
        tallies.detector.accesses += (background + sku) as u64;
        tallies.detector.sampled += (background + sku) as u64;
    }

    fn nodes(&mut self, background: f64, second: f64) {
        for place in 0..6 {
            let part = [0.31, 0.36, 0.33, 0.0, 0.0, 0.0][place];
            let node = self.tallies.node(place);
            node.state = if part > 0.0 { NodeState::Up } else { NodeState::Idle };
            node.requests += (background * part) as u64;
            node.bytes_in += (background * part * 300.0) as u64;
            node.bytes_out += (background * part * 45.0) as u64;
            node.inflight = (background * part / 900.0) as u64;
            node.inflight_max = 131_072;
            node.connects = 2;
            if place == 1 && (140.0..146.0).contains(&second) {
                node.errors += 20;
                node.reconnects = 2;
            }
            for us in [170, 190, 220, 240, 900] {
                if part > 0.0 {
                    node.reply_us.record(us);
                }
            }
        }
    }

    fn sell(&mut self, sku: f64, second: f64) {
        let mut quotas = self.stage.quotas.lock().unwrap();
        let fact = &mut quotas[0];
        let left = fact.limit.unwrap() as f64 - self.sold;
        let granted = if fact.paused { 0.0 } else { (sku * 0.12).min(left.max(0.0)) };
        self.sold += granted;
        fact.value = Some(self.sold as i64);
        fact.exhausted = fact.remaining() == Some(0);
        let row = self.tallies.quotas.row(self.quota_row);
        row.admitted += granted as u64;
        row.admitted_units += granted as u64;
        if fact.exhausted || fact.paused {
            let reason = if fact.paused { QuotaRefusal::Paused } else { QuotaRefusal::Exhausted };
            row.refused[reason.index()] += (sku - granted) as u64;
            self.tallies.requests[RequestClass::Counter.index()][Outcome::Refused.index()] +=
                (sku - granted) as u64;
        }
        quotas[1].value = Some((second * 31.0) as i64);
    }

    fn publish(&self, background: f64, sku: f64, second: f64) {
        let all = background + sku;
        let rates = |ops: f64, reads: f64, connections| Rates {
            ops,
            reads: ops * reads,
            writes: ops * (1.0 - reads),
            bytes_in: ops * 40.0,
            bytes_out: ops * 100.0,
            share: ops / all,
            trend: 1.0,
            connections,
            ..Rates::default()
        };
        let wave = |base: f64, phase: f64| {
            (0..60)
                .map(|i| (base * (1.0 + 0.25 * ((second + f64::from(i) + phase) / 6.0).sin())) as u32)
                .collect()
        };
        let mut entries = vec![
            hot_key(b"config:flags", Class::ReadHot, rates(4_310.0, 1.0, 380), wave(4_310.0, 0.0)),
            hot_key(MARKUP, Class::WriteHot, rates(2_120.0, 0.22, 41), wave(2_120.0, 9.0)),
            hot_key(
                "購物車:{u:1929}:items".as_bytes(),
                Class::ByteHot,
                rates(910.0, 0.9, 12),
                wave(910.0, 4.0),
            ),
            hot_key(BINARY, Class::ReadHot, rates(640.0, 0.98, 7), wave(640.0, 2.0)),
        ];
        if second >= OPENS_S {
            let sku = hot_key(SKU, Class::CounterHot, rates(sku, 0.04, 396), self.history.clone());
            entries.insert(0, sku);
        }
        *self.stage.hot.lock().unwrap() =
            Arc::new(HotSet { version: 9, entries, total_ops: all, ..HotSet::default() });
        self.stage.cell.publish(&self.tallies);
    }
}
