//! Figures by command: how many calls, how often, with what errors and how long; over all, by node, by cluster and by tenant.
//!
//! Rates are of the last second and quantiles of the last five, since many commands come seldom. Names are those of the command table,
//! `config|get` for a subcommand; what names no command of it is `unknown`. Judges nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::merged::Merged;
use super::node_view::NodeView;
use super::quantiles::Quantiles;
use super::routes::ClusterView;
use super::window::Window;
use crate::command::CommandTable;
use crate::route::ClusterId;
use crate::shared::command_tallies::{ByCommand, CommandCount, CommandRow, CommandTally};
use crate::shared::quarters::Quarters;
use crate::shared::topology::Topology;

/// The name of what is no command.
const UNKNOWN: &str = "unknown";

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CommandsView {
    /// The busiest first.
    pub commands: Vec<CommandView>,
    /// Commands at each node that is present.
    pub nodes: Vec<PartView>,
    /// Commands at the nodes of each cluster, those that have left it included; empty where there is one.
    pub clusters: Vec<PartView>,
    /// Commands of each tenant.
    pub tenants: Vec<PartView>,
    /// Error replies that clients got.
    pub errors: Vec<ErrorView>,
}

/// One command.
#[derive(Clone, Debug, Serialize)]
pub struct CommandView {
    /// Its name.
    pub command: String,
    /// Requests that were run since the start.
    pub calls: u64,
    /// Those per second.
    pub calls_per_s: f64,
    /// Its part of all calls, 0 to 1.
    pub share: f64,
    /// Calls that ended with an error since the start.
    pub failed: u64,
    /// Those per second.
    pub failed_per_s: f64,
    /// Requests that were refused before they ran since the start.
    pub rejected: u64,
    /// Those per second.
    pub rejected_per_s: f64,
    /// From a request to its queued reply.
    pub request_time: Quantiles,
    /// What of that the gateway added: here.
    pub gateway_time: Quantiles,
    /// How long Redis took.
    pub upstream_time: Quantiles,
}

/// One command of a part of the whole.
#[derive(Clone, Debug, Serialize)]
pub struct PartView {
    /// The node, the cluster or the tenant.
    pub of: String,
    /// The command.
    pub command: String,
    /// Requests that were answered since the start.
    pub calls: u64,
    /// Those per second.
    pub calls_per_s: f64,
    /// Those that got an error since the start. Of tenants that is not told by command.
    pub errors: u64,
    /// Those per second.
    pub errors_per_s: f64,
    /// How long an answer took in the last five seconds, on average, in microseconds: at the node, or of a tenant until it left.
    pub mean_us: f64,
    /// How long all answers took since the start, in seconds.
    pub sum_s: f64,
}

/// One kind of error.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorView {
    /// The word with which the reply begins; `other` for those beyond the bound.
    pub code: String,
    /// How many since the start.
    pub count: u64,
    /// Those per second.
    pub per_s: f64,
}

/// What they are seen through.
pub struct CommandsInput<'a> {
    /// The last second.
    pub window: &'a Window<'a>,
    /// The last five.
    pub long: &'a Window<'a>,
    /// The tallies now.
    pub merged: &'a Merged,
    /// The names.
    pub table: &'a CommandTable,
    /// The nodes.
    pub nodes: &'a [NodeView],
    /// Which node is whose.
    pub topology: &'a Topology,
    /// The clusters, in the order of the configuration.
    pub clusters: &'a [ClusterView],
}

/// The name of a command.
pub fn name_of(table: &CommandTable, row: CommandRow) -> &str {
    row.place().and_then(|place| table.at(place)).map_or(UNKNOWN, |command| &*command.name)
}

/// The figures of all.
pub fn figures(input: &CommandsInput<'_>) -> CommandsView {
    let mut commands: Vec<CommandView> =
        input.merged.all.commands.commands.iter().map(|(row, tally)| input.command(row, tally)).collect();
    let all_per_s: f64 = commands.iter().map(|command| command.calls_per_s).sum();
    if all_per_s > 0.0 {
        commands.iter_mut().for_each(|command| command.share = command.calls_per_s / all_per_s);
    }
    commands.sort_by(|a, b| {
        let by_rate = b.calls_per_s.total_cmp(&a.calls_per_s);
        by_rate.then_with(|| b.calls.cmp(&a.calls)).then_with(|| a.command.cmp(&b.command))
    });
    let several = input.clusters.len() > 1;
    let clusters = (0..).map(ClusterId).zip(input.clusters).filter(|_| several);
    CommandsView {
        commands,
        nodes: input.nodes.iter().flat_map(|node| input.node(node)).collect(),
        clusters: clusters.flat_map(|(id, cluster)| input.cluster(id, cluster)).collect(),
        tenants: input.tenants(),
        errors: input.errors(),
    }
}

impl CommandsInput<'_> {
    fn command(&self, row: CommandRow, tally: &CommandTally) -> CommandView {
        let of = |base: &Window<'_>| base.base.all.commands.commands.get(row).cloned().unwrap_or_default();
        let (base, long) = (of(self.window), of(self.long));
        let rate = |of: fn(&CommandTally) -> u64| self.window.rate(of(tally), of(&base));
        CommandView {
            command: name_of(self.table, row).to_owned(),
            calls: tally.calls,
            calls_per_s: rate(|tally| tally.calls),
            share: 0.0,
            failed: tally.failed,
            failed_per_s: rate(|tally| tally.failed),
            rejected: tally.rejected,
            rejected_per_s: rate(|tally| tally.rejected),
            request_time: quantiles(&tally.whole, &long.whole),
            gateway_time: quantiles(&tally.gateway, &long.gateway),
            upstream_time: quantiles(&tally.redis, &long.redis),
        }
    }

    fn node(&self, node: &NodeView) -> Vec<PartView> {
        let of = |merged: &Merged| {
            merged.all.nodes.get(node.place).map(|tally| tally.commands.clone()).unwrap_or_default()
        };
        self.part(&node.node, of)
    }

    fn cluster(&self, id: ClusterId, cluster: &ClusterView) -> Vec<PartView> {
        let of = |merged: &Merged| {
            let mut sum = ByCommand::default();
            let nodes = self.topology.nodes.iter().zip(&merged.all.nodes);
            for (_, tally) in nodes.filter(|(node, _)| node.cluster == id) {
                sum.merge(&tally.commands, CommandCount::add);
            }
            sum
        };
        self.part(&cluster.name, of)
    }

    fn tenants(&self) -> Vec<PartView> {
        let names: BTreeMap<_, _> = self.merged.tenants.iter().collect();
        let of = |name: &str, merged: &Merged| {
            merged.tenants.get(name).map(|tally| tally.commands.clone()).unwrap_or_default()
        };
        names.into_keys().flat_map(|name| self.part(name, |merged| of(name, merged))).collect()
    }

    /// The rows of a part, the busiest first.
    fn part(&self, name: &str, of: impl Fn(&Merged) -> ByCommand<CommandCount>) -> Vec<PartView> {
        let (now, base, long) = (of(self.merged), of(self.window.base), of(self.long.base));
        let row = |(row, count): (CommandRow, &CommandCount)| {
            let at = |rows: &ByCommand<CommandCount>| rows.get(row).copied().unwrap_or_default();
            let (base, long) = (at(&base), at(&long));
            let calls = count.calls.saturating_sub(long.calls);
            let took_ns = count.sum_ns.wrapping_sub(long.sum_ns);
            PartView {
                of: name.to_owned(),
                command: name_of(self.table, row).to_owned(),
                calls: count.calls,
                calls_per_s: self.window.rate(count.calls, base.calls),
                errors: count.errors,
                errors_per_s: self.window.rate(count.errors, base.errors),
                mean_us: if calls > 0 { took_ns as f64 / 1e3 / calls as f64 } else { 0.0 },
                sum_s: count.sum_ns as f64 / 1e9,
            }
        };
        let mut rows: Vec<PartView> = now.iter().map(row).collect();
        rows.sort_by(|a, b| b.calls_per_s.total_cmp(&a.calls_per_s).then_with(|| b.calls.cmp(&a.calls)));
        rows
    }

    fn errors(&self) -> Vec<ErrorView> {
        let (now, base) = (&self.merged.all.commands.errors, &self.window.base.all.commands.errors);
        let before: BTreeMap<&str, u64> = base.sorted().into_iter().collect();
        let view = |(code, count, before): (&str, u64, u64)| ErrorView {
            code: code.to_owned(),
            count,
            per_s: self.window.rate(count, before),
        };
        let kept = now.sorted().into_iter().map(|(code, count)| {
            let before = before.get(code).copied().unwrap_or_default();
            (code, count, before)
        });
        let others = (now.others() > 0).then(|| ("other", now.others(), base.others()));
        kept.chain(others).map(view).collect()
    }
}

fn quantiles(all: &Quarters, base: &Quarters) -> Quantiles {
    let happened = all.since(base);
    let us = |quantile| happened.quantile_ns(quantile) as f64 / 1_000.0;
    Quantiles { p50_us: us(0.5), p99_us: us(0.99), p999_us: us(0.999) }
}
