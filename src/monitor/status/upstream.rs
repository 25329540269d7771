//! Redis as a whole: whether anything can be served, what is named and can't be used, slots that nobody has or that are on their way.

use super::nodes::is_silent;
use super::{Findings, Level, StatusInput, rate, whole};
use crate::config::naming;
use crate::monitor::view::{Conditions, Readiness};
use crate::shared::labels::RedirectKind;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    match input.readiness {
        Readiness::Ready => {}
        Readiness::Leaving => {
            found.add(Level::Notice, "About to drain: balancers are told so, and who still comes is served.");
        }
        Readiness::Draining => {
            found.add(Level::Notice, "Draining: what is in flight is finished, no new clients are taken.");
        }
        // A silent node is told of below, with what waits for it.
        Readiness::UpstreamUnreachable { .. } if input.nodes.iter().any(is_silent) => {}
        Readiness::UpstreamUnreachable { why } => {
            found.add(Level::Critical, format!("No Redis to serve from: {why}."));
        }
    }
    if let Some(why) = input.upstream_trouble {
        found.add(Level::Critical, format!("{why}."));
    }
    for away in &input.conditions.clusters_away {
        found.add(Level::Critical, format!("Keys of one cluster can't be served; others are. {away}."));
    }
    for missing in input.missing_rights {
        found.add(Level::Warning, format!("{missing}."));
    }
    if *input.readiness == Readiness::Ready {
        judge_servers(input.conditions, found);
    }
}

/// Servers that are named and no nodes. While none can be used, that is told of each.
fn judge_servers(conditions: &Conditions, found: &mut Findings) {
    if let Some(first) = conditions.stray_servers.first() {
        let of_it = conditions.stray_servers.iter().filter(|server| server.cluster == first.cluster);
        let servers = of_it.map(|server| server.what.as_str()).collect::<Vec<_>>().join(", ");
        let text =
            format!("upstream.servers names servers of another cluster, which are not used: {servers}.");
        found.add(Level::Warning, naming(&first.cluster, &text));
    }
    let unusable = &conditions.unusable_servers;
    let Some(first) = unusable.first() else { return };
    if conditions.no_sentinel {
        let text = format!("No Sentinel can be asked, so a failover would go unnoticed: {}.", first.what);
        return found.add(Level::Warning, text);
    }
    let more = match unusable.len() {
        1 => String::new(),
        count => format!(", and {} more", whole(count as i64 - 1)),
    };
    let text = format!("upstream.servers names what can't be used: {}{more}.", first.what);
    found.add(Level::Notice, naming(&first.cluster, &text));
}

/// Slots that nobody has, and those on their way. The latter are no fault, and explain what takes longer.
pub(super) fn judge_slots(input: &StatusInput<'_>, found: &mut Findings) {
    if input.has_unserved_slots() {
        let unserved = input.conditions.unserved_slots;
        let (slots, have) = if unserved == 1 { ("slot", "has") } else { ("slots", "have") };
        let count = whole(i64::from(unserved));
        found.add(
            Level::Critical,
            format!("{count} {slots} of the cluster {have} no master: requests for their keys fail; CLUSTER SLOTS shows which."),
        );
    }
    let per_s = |kind: RedirectKind| input.now.redirects_per_s.get(kind.label()).copied().unwrap_or(0.0);
    let (follow, wait) = (per_s(RedirectKind::Ask), per_s(RedirectKind::TryAgain));
    if follow + wait <= 0.0 {
        return;
    }
    let waiting = if wait > 0.0 {
        format!(", {}/s wait until their keys are together (TRYAGAIN)", rate(wait))
    } else {
        String::new()
    };
    found.add(
        Level::Notice,
        format!("Slots are on their way to another master: {}/s go after them (ASK){waiting}.", rate(follow)),
    );
}
