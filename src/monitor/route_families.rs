//! The metrics of clusters, routes and tenants.

use super::buckets::octaves;
use super::exposition::Exposition;
use super::metrics as m;
use super::view::View;
use crate::shared::histogram::Octaves;
use crate::shared::tallies::NodeTally;
use crate::shared::tenant_tallies::{TenantLimit, TenantTally};

/// Its part of `/metrics`.
pub fn render(out: &mut Exposition, view: &View) {
    clusters(out, view);
    tenants(out, view);
    let near = view.merged.all.near;
    out.family(&m::READS_BY_ZONE).sample(&["own"], near.near as f64).sample(&["other"], near.far as f64);
}

fn clusters(out: &mut Exposition, view: &View) {
    let figures = &view.routes;
    let mut family = out.family(&m::CLUSTER_READY);
    for cluster in &figures.clusters {
        family.sample(&[&cluster.cluster.name], f64::from(u8::from(cluster.cluster.ready)));
    }
    let mut each = |metric, of: fn(&NodeTally) -> u64| {
        let mut family = out.family(metric);
        for cluster in &figures.clusters {
            family.sample(&[&cluster.cluster.name], of(&cluster.tally) as f64);
        }
    };
    each(&m::CLUSTER_REQUESTS, |tally| tally.requests);
    each(&m::CLUSTER_ERRORS, |tally| tally.errors);
    let mut family = out.family(&m::CLUSTER_BYTES);
    for cluster in &figures.clusters {
        let (name, tally) = (&cluster.cluster.name, &cluster.tally);
        family.sample(&[name, "in"], tally.bytes_in as f64).sample(&[name, "out"], tally.bytes_out as f64);
    }
    let mut family = out.family(&m::CLUSTER_SECONDS);
    for cluster in &figures.clusters {
        let replies = &cluster.tally.reply_us;
        let sum_s = replies.sum() as f64 / 1e6;
        family.histogram(&[&cluster.cluster.name], octaves(replies, 1e6), replies.count(), sum_s);
    }
    let mut family = out.family(&m::CLUSTER_HOT_KEYS);
    for cluster in &figures.clusters {
        family.sample(&[&cluster.cluster.name], cluster.hot_keys as f64);
    }
    let mut family = out.family(&m::CLUSTER_SKEW);
    for cluster in &figures.clusters {
        if let Some(skew) = cluster.skew {
            family.sample(&[&cluster.cluster.name], skew);
        }
    }
    let mut family = out.family(&m::ROUTE_SKEW);
    for route in &figures.routes {
        if let Some(skew) = route.skew {
            family.sample(&[&route.route.label()], skew);
        }
    }
}

fn tenants(out: &mut Exposition, view: &View) {
    let tenants = &view.routes.tenants;
    let mut each = |metric, of: fn(&TenantTally) -> u64| {
        let mut family = out.family(metric);
        for tenant in tenants {
            family.sample(&[&tenant.tenant], of(&tenant.tally) as f64);
        }
    };
    each(&m::TENANT_REQUESTS, |tally| tally.requests);
    each(&m::TENANT_ERRORS, |tally| tally.errors);
    each(&m::TENANT_DELAYED, |tally| tally.delayed);
    let mut family = out.family(&m::TENANT_REFUSED);
    for tenant in tenants {
        for limit in TenantLimit::ALL {
            family.sample(&[&tenant.tenant, limit.label()], tenant.tally.refused[limit.index()] as f64);
        }
    }
    let mut family = out.family(&m::TENANT_BYTES);
    for tenant in tenants {
        let (name, tally) = (&tenant.tenant, &tenant.tally);
        family.sample(&[name, "in"], tally.bytes_in as f64).sample(&[name, "out"], tally.bytes_out as f64);
    }
    let mut family = out.family(&m::TENANT_SECONDS);
    for tenant in tenants {
        let replies: &Octaves = &tenant.tally.reply_us;
        let sum_s = replies.sum() as f64 / 1e6;
        family.histogram(&[&tenant.tenant], octaves(replies, 1e6), replies.count(), sum_s);
    }
    let mut family = out.family(&m::TENANT_CLIENTS);
    for tenant in tenants {
        if let Some(clients) = tenant.clients {
            family.sample(&[&tenant.tenant], clients as f64);
        }
    }
    let mut family = out.family(&m::TENANT_HOT_KEYS);
    for tenant in tenants {
        family.sample(&[&tenant.tenant], tenant.hot_keys as f64);
    }
}
