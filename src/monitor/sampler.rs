//! Turns snapshots into views: rates from the difference of tallies, the hot set joined with what combining
//! did for each key, nodes with their load, quotas with their time to sell-out.
//!
//! It runs on the control thread, four times a second, and is the only reader of the workers' tallies for
//! display. What is asked through HTTP, INFO or `hotgate top` reads the view it made, so asking costs the
//! workers nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::big_keys;
use super::calm::Calm;
use super::certificates;
pub use super::clock::Clock;
use super::commands::{self, CommandsInput, CommandsView};
use super::figures::{kind_name, now, totals};
use super::history::{Minutes, Ring};
use super::hot_key_figures::{self, HotKeyInput};
use super::last_refusals::LastRefusals;
use super::losses::{Loss, Losses};
use super::merged::Merged;
use super::node_view::{NodeInput, nodes};
use super::process_figures::{ProcessFigures, ThreadFigures};
use super::quota_figures::QuotaFigures;
use super::quota_page::QuotaQuery;
use super::route_figures::{self, HotKeyOf, RouteInput};
use super::sales;
use super::shards::Shards;
use super::sources::Sources;
use super::status::{self, StatusInput};
use super::turned_away::{Counts, Reason};
use super::upsets::{Upsets, UpsetsView};
use super::view::{Conditions, Histories, HotKeyView, NodeView, Now, QuotaView, Stats, Totals, View};
use super::window::Window;
use crate::command::CommandTable;
use crate::detect::HotSet;
use crate::shared::history::Step;
use crate::shared::keys::KeyNames;
use crate::shared::topology::Topology;

/// How often [`Sampler::tick`] should be called, in milliseconds.
pub const TICK_MS: u64 = 250;
/// Rates are over the last second: the first snapshot at least this old is the base.
const RATE_WINDOW_MS: u64 = 1_000;
/// What nodes refuse is told over a window that is longer than the second after which write-behind tries again.
const REFUSAL_WINDOW_MS: u64 = 1_250;
/// A time to sell-out is told by the rate over five seconds, so that it is steady enough to read.
const SELL_OUT_WINDOW_MS: u64 = 5_000;
/// Snapshots kept: five seconds at four a second, and one older.
const PAST_MAX: usize = (SELL_OUT_WINDOW_MS / TICK_MS) as usize + 1;

/// The sampler's memory.
pub struct Sampler {
    sources: Arc<Sources>,
    version: u64,
    past: VecDeque<Snapshot>,
    seconds: Ring,
    minutes: Minutes,
    quotas: QuotaFigures,
    losses: Losses,
    upsets: Upsets,
    shards: Shards,
    /// The order of hot keys.
    hottest: Calm,
    refusals: LastRefusals,
}

#[derive(Clone)]
struct Snapshot {
    monotonic_ms: u64,
    merged: Arc<Merged>,
    cpu_s: f64,
    /// Connections and requests that the HTTP side turned away.
    turned_away: Counts,
    /// Processor time of each thread, by name.
    threads: Arc<[ThreadFigures]>,
}

impl Sampler {
    /// A sampler that has seen nothing yet, but for what former processes left.
    pub fn new(sources: Arc<Sources>, unix_ms: u64) -> Self {
        let former = sources.history.take_former();
        Self {
            sources,
            version: 0,
            past: VecDeque::new(),
            seconds: Ring::new(Step::Second, &former, unix_ms),
            minutes: Minutes::new(&former, unix_ms),
            quotas: QuotaFigures::default(),
            losses: Losses::default(),
            upsets: Upsets::default(),
            shards: Shards::default(),
            hottest: Calm::default(),
            refusals: LastRefusals::default(),
        }
    }

    /// Takes a sample. The first has no rates.
    pub fn tick(&mut self, clock: Clock) -> View {
        let cells: Vec<_> = self.sources.tallies.iter().map(|cell| cell.load()).collect();
        let merged = Arc::new(Merged::of(cells.iter().map(|cell| &**cell)));
        let process = ProcessFigures::read();
        let (monotonic_ms, threads) = (clock.monotonic_ms, Arc::from(process.threads.as_slice()));
        let turned_away = self.sources.turned_away.counts();
        let upsets = self.upsets.take(clock, &cells);
        let snapshot = Snapshot { monotonic_ms, merged, cpu_s: process.cpu_s(), turned_away, threads };
        let view = self.view(clock, &snapshot, process, upsets);
        let known = !self.past.is_empty();
        let second = known.then(|| self.seconds.offer(clock.unix_ms, &view.stats.now)).flatten();
        if let Some(point) = second {
            self.sources.key_histories.add(point.at_ms, &view.hot_keys, &view.quotas);
        }
        let minute = self.minutes.offer(clock, &snapshot.merged);
        second.into_iter().chain(minute).for_each(|point| self.sources.history.keep(point));
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(snapshot);
        view
    }

    /// The last ten minutes and the last day.
    pub fn history(&self) -> Histories {
        Histories { seconds: self.seconds.columns(), minutes: self.minutes.columns() }
    }

    fn view(
        &mut self,
        clock: Clock,
        snapshot: &Snapshot,
        process: ProcessFigures,
        upsets: UpsetsView,
    ) -> View {
        self.version += 1;
        let sources = Arc::clone(&self.sources);
        let (hot, topology) = ((sources.hot)(), (sources.topology)());
        let (readiness, trouble) = ((sources.readiness)(), (sources.upstream_trouble)());
        let quotas = self.quotas(clock, snapshot);
        let quotas_total = (sources.quota_page)(&QuotaQuery { count: 0, ..QuotaQuery::default() }).total;
        let missing_rights = (sources.missing_rights)();
        let base = self.base(snapshot, RATE_WINDOW_MS);
        let window = Window { base: &base.merged, seconds: seconds_between(&base, snapshot) };
        let refusal_base = self.base(snapshot, REFUSAL_WINDOW_MS);
        let seconds = seconds_between(&refusal_base, snapshot);
        let refusals = Window { base: &refusal_base.merged, seconds };
        let merged = &snapshot.merged;
        let now = rates(&window, &base, snapshot);
        let totals = self.totals(clock, snapshot, &process);
        let sales = sales::views((merged, &*(sources.sales_seen)()), &window, &sources.key_names);
        let (clusters, tenants) = ((sources.routes_view)().clusters, (sources.tenants)());
        let input = HotKeyInput {
            window: &window,
            merged,
            topology: &topology,
            key_names: &sources.key_names,
            clusters: &clusters,
            tenants: tenants.as_deref(),
        };
        let hot_keys = self.hot_keys(&input, &hot);
        let nodes = self.nodes(clock, [&window, &refusals], merged, &topology);
        let (commands, command_table) = self.commands(snapshot, &window, (&nodes, &topology));
        let names = (&sources.key_names, &*command_table);
        let big_keys = big_keys::view(merged, names, &clusters, clock.unix_ms);
        let routes = route_figures::figures(RouteInput {
            window: &window,
            merged,
            topology: &topology,
            routes: (sources.routes_view)(),
            tenants,
            nodes: &nodes,
            hot_keys: &hot_keys.iter().map(whose).collect::<Vec<_>>(),
            requests_per_s: now.requests_per_s,
        });
        let losses = self.losses(clock, merged);
        let conditions = Conditions { upsets, ..(sources.conditions)() };
        let status = status::judge(&StatusInput {
            readiness: &readiness,
            upstream_trouble: trouble.as_deref().filter(|trouble| trouble.serves).map(|t| t.why.as_str()),
            missing_rights: &missing_rights,
            now: &now,
            totals: &totals,
            hot_keys: &hot_keys,
            nodes: &nodes,
            quotas: &quotas,
            sales: &sales,
            losses: &losses,
            conditions: &conditions,
        });
        let kind = kind_name(topology.cluster(sources.routes.keyless()).kind);
        let stats = Stats {
            at_ms: clock.unix_ms,
            gateway: sources.identity.clone(),
            upstream_version: (sources.upstream)().version.clone(),
            upstream_kind: kind,
            uptime_s: clock.unix_ms.saturating_sub(sources.identity.started_unix_ms) / 1000,
            readiness: readiness.clone(),
            status,
            now,
            totals,
            losses,
        };
        View {
            version: self.version,
            at_ms: clock.unix_ms,
            merged: Arc::clone(merged),
            stats,
            hot_keys,
            nodes,
            commands,
            big_keys,
            command_table,
            routes,
            quotas,
            quotas_total,
            sales,
            process,
            missing_rights: missing_rights.len() as u64,
            conditions,
            readiness,
            notices: sources.notices.view(),
            events: sources.events.counts(),
            topology_version: topology.version,
            hot_set: Arc::clone(&hot),
            metric_keys_max: sources.metric_keys_max,
        }
    }

    /// Figures by command, and their names.
    fn commands(
        &self,
        snapshot: &Snapshot,
        window: &Window<'_>,
        (nodes, topology): (&[NodeView], &Topology),
    ) -> (CommandsView, Arc<CommandTable>) {
        let long_base = self.base(snapshot, SELL_OUT_WINDOW_MS);
        let seconds = seconds_between(&long_base, snapshot);
        let table = (self.sources.commands)();
        let figures = commands::figures(&CommandsInput {
            window,
            long: &Window { base: &long_base.merged, seconds },
            merged: &snapshot.merged,
            table: &table,
            nodes,
            topology,
            clusters: &(self.sources.routes_view)().clusters,
        });
        (figures, table)
    }

    /// The youngest snapshot at least `age_ms` old, or the oldest; the snapshot itself when there is none.
    fn base(&self, snapshot: &Snapshot, age_ms: u64) -> Snapshot {
        let old_enough = |past: &&Snapshot| past.monotonic_ms + age_ms <= snapshot.monotonic_ms;
        self.past.iter().rev().find(old_enough).or(self.past.front()).unwrap_or(snapshot).clone()
    }

    fn totals(&self, clock: Clock, snapshot: &Snapshot, process: &ProcessFigures) -> Totals {
        let mut totals = totals(&snapshot.merged, process);
        totals.certificates = certificates::rows(&(self.sources.certificates)(), clock.unix_ms);
        // The workers' own count is as old as what they published last.
        totals.clients = (self.sources.connected)();
        totals.admin_turned_away =
            Reason::ALL.iter().map(|r| (r.label(), snapshot.turned_away[r.index()])).collect();
        totals
    }

    /// What nodes refuse has a window of its own, the second one.
    fn nodes(
        &mut self,
        clock: Clock,
        [window, refusals]: [&Window<'_>; 2],
        merged: &Merged,
        topology: &Topology,
    ) -> Vec<NodeView> {
        let mut nodes = nodes(&NodeInput {
            window,
            refusals,
            merged,
            topology,
            routes: &self.sources.routes,
            probes: &(self.sources.probes)(),
            now: Instant::now(),
        });
        if self.sources.key_names != KeyNames::Plain {
            nodes.iter_mut().for_each(|node| {
                node.last_error = node.last_error.split(' ').next().unwrap_or_default().to_owned();
            });
        }
        self.shards.mark(clock.monotonic_ms, &mut nodes);
        nodes
    }

    fn losses(&mut self, clock: Clock, merged: &Merged) -> Vec<Loss> {
        let mut losses = self.losses.take(clock, merged);
        losses.iter_mut().for_each(|loss| loss.sentence = status::describe(loss));
        losses
    }

    fn quotas(&mut self, clock: Clock, snapshot: &Snapshot) -> Vec<QuotaView> {
        let [base, long_base] =
            [RATE_WINDOW_MS, SELL_OUT_WINDOW_MS].map(|age_ms| self.base(snapshot, age_ms));
        let windows = [&base, &long_base]
            .map(|base| Window { base: &base.merged, seconds: seconds_between(base, snapshot) });
        let rows = (self.sources.quotas)();
        let mut quotas = self.quotas.views(&windows, &snapshot.merged, &rows, &self.sources.key_names);
        self.refusals.mark(clock.unix_ms, &mut quotas);
        quotas
    }

    /// The hottest first.
    fn hot_keys(&mut self, input: &HotKeyInput<'_>, hot: &HotSet) -> Vec<HotKeyView> {
        let mut hot_keys: Vec<_> = hot.entries.iter().map(|hot| hot_key_figures::view(input, hot)).collect();
        self.hottest.order(&mut hot_keys, |key| &key.key, |key| key.requests_per_s);
        hot_keys
    }
}

/// What is going on now.
fn rates(window: &Window<'_>, base: &Snapshot, snapshot: &Snapshot) -> Now {
    let mut now = now(window, &snapshot.merged);
    now.cpu_cores = (snapshot.cpu_s - base.cpu_s).max(0.0) / window.seconds;
    now.worker_cores = of_workers(base, snapshot, window.seconds, |thread| thread.cpu_s);
    now.worker_waits = of_workers(base, snapshot, window.seconds, |thread| thread.waited_s);
    now.admin_turned_away_per_s = turned_away_per_s(window, base, snapshot);
    now
}

fn whose(key: &HotKeyView) -> HotKeyOf {
    HotKeyOf { key: key.key.clone(), cluster: key.cluster.clone(), tenant: key.tenant.clone() }
}

/// By reason, those that occurred.
fn turned_away_per_s(
    window: &Window<'_>,
    base: &Snapshot,
    snapshot: &Snapshot,
) -> BTreeMap<&'static str, f64> {
    let rate = |reason: Reason| {
        let place = reason.index();
        (reason.label(), window.rate(snapshot.turned_away[place], base.turned_away[place]))
    };
    Reason::ALL.into_iter().map(rate).filter(|(_, per_s)| *per_s > 0.0).collect()
}

/// The share of time that each worker's thread did something.
fn of_workers(
    base: &Snapshot,
    snapshot: &Snapshot,
    seconds: f64,
    of: fn(&ThreadFigures) -> f64,
) -> Vec<(String, f64)> {
    let workers = snapshot.threads.iter().filter(|thread| thread.name.starts_with("worker-"));
    let did = |now: &ThreadFigures| {
        let then_s = base.threads.iter().find(|known| known.name == now.name).map_or(of(now), of);
        (now.name.clone(), (of(now) - then_s).max(0.0) / seconds)
    };
    workers.map(did).collect()
}

fn seconds_between(base: &Snapshot, snapshot: &Snapshot) -> f64 {
    (snapshot.monotonic_ms.saturating_sub(base.monotonic_ms).max(1)) as f64 / 1000.0
}
