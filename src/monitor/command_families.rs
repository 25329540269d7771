//! The metrics of commands, and of keys that they showed to be big.

use super::commands::{CommandsView, PartView, name_of};
use super::exposition::{Exposition, Metric};
use super::metrics as m;
use super::view::View;
use crate::shared::command_tallies::CommandTally;

/// Of the bounds that are powers of two one in so many is shown: 8 µs, 33 µs, 131 µs, ..., 34 s.
const OCTAVES_TO_A_BUCKET: usize = 2;
/// The first bound shown, counted from 1 µs.
const FIRST_OCTAVE: usize = 3;

/// Its part of `/metrics`.
pub fn render(out: &mut Exposition, view: &View) {
    let CommandsView { commands, nodes, clusters, tenants, errors } = &view.commands;
    let mut each = |metric, of: fn(&super::commands::CommandView) -> u64| {
        let mut family = out.family(metric);
        for command in commands {
            family.sample(&[&command.command], of(command) as f64);
        }
    };
    each(&m::COMMAND_CALLS, |command| command.calls);
    each(&m::COMMAND_FAILED, |command| command.failed);
    each(&m::COMMAND_REJECTED, |command| command.rejected);
    seconds(out, view);
    let mut family = out.family(&m::BIG_KEYS);
    for cluster in &view.big_keys.clusters {
        family.sample(&[&cluster.cluster], cluster.keys as f64);
    }
    let mut family = out.family(&m::BIG_KEY_REQUESTS);
    for cluster in &view.big_keys.clusters {
        family.sample(&[&cluster.cluster], cluster.seen as f64);
    }
    let mut family = out.family(&m::ERROR_REPLIES);
    for error in errors {
        family.sample(&[&error.code], error.count as f64);
    }
    parts(out, nodes, [&m::NODE_COMMANDS, &m::NODE_COMMAND_SECONDS]);
    let mut family = out.family(&m::NODE_COMMAND_ERRORS);
    for part in nodes.iter().filter(|part| part.errors > 0) {
        family.sample(&[&part.of, &part.command], part.errors as f64);
    }
    parts(out, clusters, [&m::CLUSTER_COMMANDS, &m::CLUSTER_COMMAND_SECONDS]);
    parts(out, tenants, [&m::TENANT_COMMANDS, &m::TENANT_COMMAND_SECONDS]);
}

fn seconds(out: &mut Exposition, view: &View) {
    let mut family = out.family(&m::COMMAND_SECONDS);
    for (row, tally) in view.merged.all.commands.commands.iter() {
        let CommandTally { whole, .. } = tally;
        if whole.count() == 0 {
            continue;
        }
        let buckets = whole.octaves().skip(FIRST_OCTAVE).step_by(OCTAVES_TO_A_BUCKET);
        let buckets = buckets.map(|(bound_ns, count)| (bound_ns as f64 / 1e9, count));
        let name = name_of(&view.command_table, row);
        family.histogram(&[name], buckets, whole.count(), whole.sum_ns() as f64 / 1e9);
    }
}

/// How many answers, and how long they took together.
fn parts(out: &mut Exposition, parts: &[PartView], [calls, seconds]: [&'static Metric; 2]) {
    let mut family = out.family(calls);
    for part in parts {
        family.sample(&[&part.of, &part.command], part.calls as f64);
    }
    let mut family = out.family(seconds);
    for part in parts {
        family.sample(&[&part.of, &part.command], part.sum_s);
    }
}
