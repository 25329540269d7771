//! The configuration in force, for whoever looks at it: what each directive is and where that comes from, which rules, quotas, routes, tenants
//! and clusters there are and how many keys each holds, and what waits for a restart.
//!
//! Deliberately shows no secret, and reads no file: where values stand is noted when the file is taken.

use super::quota_list::QuotaList;
use super::routes::routes_of;
use crate::command::glob;
use crate::config::{Config, Origins, Shown, ShownTable};
use crate::monitor::config_view::{ConfigView, DirectiveView, TableView};
use crate::monitor::quota_page::QuotaQuery;
use crate::shared::gateway::Gateway;
use tokio::time::Instant;

/// What there is now.
pub(super) fn config_view(gateway: &Gateway, quotas: &QuotaList, file: &str) -> ConfigView {
    let (config, origins) = (gateway.config.load(), gateway.config_origins.load());
    let outcome = gateway.config_file.load();
    let waits = |path: &str| outcome.restart_needed.iter().any(|waiting| waiting == path);
    let directives = config.shown(&origins).into_iter().map(|shown| {
        let waits_for_restart = waits(&shown.path);
        directive(shown, waits_for_restart)
    });
    ConfigView {
        file: file.to_owned(),
        directives: directives.collect(),
        tables: tables(gateway, &config, &origins, quotas),
        restart_needed: outcome.restart_needed.clone(),
        refused: outcome.refused.clone(),
        secrets_refused: outcome.secrets_refused.clone(),
    }
}

fn directive(shown: Shown, waits_for_restart: bool) -> DirectiveView {
    let Shown { path, value, default, flag, line, reload, meaning } = shown;
    let from = match (flag, line) {
        (Some(flag), _) => flag.to_owned(),
        (None, Some(_)) => "file".to_owned(),
        (None, None) => "default".to_owned(),
    };
    let is_default = value == default;
    DirectiveView { path, value, default, is_default, from, line, reload, waits_for_restart, meaning }
}

fn tables(gateway: &Gateway, config: &Config, origins: &Origins, quotas: &QuotaList) -> Vec<TableView> {
    let held = KeyCounts::now(gateway, (config, origins), quotas);
    let of_kind = |(kind, tables): (&'static str, Vec<ShownTable>)| {
        let view = |table: ShownTable| TableView {
            kind,
            keys: held.by(kind).and_then(|keys| keys.get(table.index).copied()),
            hot_keys: held.hot_by(kind).and_then(|keys| keys.get(table.index).copied()),
            index: table.index,
            text: table.text,
            line: table.line,
        };
        tables.into_iter().map(view).collect::<Vec<_>>()
    };
    config.shown_tables(origins).into_iter().flat_map(of_kind).collect()
}

/// How many keys each table of a kind holds, by its place.
struct KeyCounts {
    /// Counters that each quota holds, as far as this gateway has met them.
    quotas: Vec<u64>,
    /// Keys at the masters of each further cluster, where they are known.
    clusters: Vec<u64>,
    /// Hot keys that each rule decides about: the first one that matches.
    hot_by_rule: Vec<u64>,
    /// Hot keys that each route sends to its clusters.
    hot_by_route: Vec<u64>,
    /// Hot keys that are each tenant's by its pattern.
    hot_by_tenant: Vec<u64>,
}

impl KeyCounts {
    fn now(gateway: &Gateway, (config, origins): (&Config, &Origins), list: &QuotaList) -> Self {
        let all = QuotaQuery { count: usize::MAX, ..QuotaQuery::default() };
        let mut quotas = vec![0; config.quotas.len()];
        for row in list.page(&all, Instant::now()).rows {
            if let Some(count) = quotas.get_mut(usize::from(row.facts.rule)) {
                *count += 1;
            }
        }
        let hot = gateway.hot_set.borrow();
        let first_of = |patterns: Vec<Option<&str>>| {
            let mut counts = vec![0; patterns.len()];
            for key in &hot.entries {
                let matches = |pattern: &Option<&str>| {
                    pattern.is_some_and(|pattern| glob::matches(pattern.as_bytes(), key.key.bytes()))
                };
                if let Some(first) = patterns.iter().position(matches) {
                    counts[first] += 1;
                }
            }
            counts
        };
        let patterns = config.rules.iter().map(|rule| Some(rule.pattern.as_str()));
        let mut hot_by_rule = first_of(patterns.collect());
        // Which user's a hot key is, is not known: those of a route of one user's are counted with no route.
        let of_everybody = config.routes.iter().map(|route| route.user.is_none().then(|| route.pattern()));
        hot_by_rule.drain(..config.rules_of_operators(origins));
        Self {
            quotas,
            clusters: keys_of_clusters(gateway),
            hot_by_rule,
            hot_by_route: first_of(of_everybody.collect()),
            hot_by_tenant: first_of(config.tenants.iter().map(|tenant| tenant.pattern.as_deref()).collect()),
        }
    }

    fn by(&self, kind: &str) -> Option<&[u64]> {
        match kind {
            "quota" => Some(&self.quotas),
            "cluster" => Some(&self.clusters),
            _ => None,
        }
    }

    fn hot_by(&self, kind: &str) -> Option<&[u64]> {
        match kind {
            "rule" => Some(&self.hot_by_rule),
            "route" => Some(&self.hot_by_route),
            "tenant" => Some(&self.hot_by_tenant),
            _ => None,
        }
    }
}

/// Keys at the masters of each further cluster, as they said when they were last asked.
fn keys_of_clusters(gateway: &Gateway) -> Vec<u64> {
    let (topology, probes) = (gateway.topology.load(), gateway.probes.all());
    let of = |cluster: usize| {
        let nodes = topology.nodes.iter().filter(|node| node.present && node.cluster.position() == cluster);
        nodes.filter_map(|node| probes.get(&(node.cluster, node.address.clone()))?.keys).sum()
    };
    (1..routes_of(gateway).clusters.len()).map(of).collect()
}
