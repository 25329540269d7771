// Clusters, routes and tenants: where keys live, how load lies, and who uses how much of what it may. Nothing where there is one cluster
// and no tenant.

import { bytes, micros, percent, rate, whole } from "./format.js";
import { Table, at, badge, bar, nameLines, set, shortened, twoLines } from "./table.js";

// From here on one of several has so much more than the others that it is worth a look.
const SKEW_SHOWN = 1.5;

const times = ({ p50_us, p99_us }) => (p50_us > 0 ? `≤ ${micros(p50_us)} · ${micros(p99_us)}` : "–");
const traffic = (cell, row) => twoLines(cell, `${bytes(row.bytes_in_per_s)}/s in`, `${bytes(row.bytes_out_per_s)}/s out`);
const hot = (cell, { hot_keys, hottest }) => twoLines(cell, hot_keys > 0 ? whole(hot_keys) : "–", shortened(hottest));

function skew(cell, row) {
  const known = row.skew !== null && row.skew !== undefined;
  cell.classList.toggle("bad-text", known && row.skew >= SKEW_SHOWN);
  twoLines(cell, known ? `${row.skew.toFixed(2)} ×` : "–", known ? row.busiest : "");
}

function errors(cell, row) {
  cell.classList.toggle("bad-text", row.errors_per_s > 0);
  set(cell, `${rate(row.errors_per_s)}/s`);
}

const KINDS = { server: "one server", cluster: "Redis Cluster", unknown: "not known yet" };

function clustersTable() {
  return new Table("clusters", cluster => cluster.name, [
    ["Cluster", "key", (cell, cluster) => nameLines(cell, cluster.name, `${KINDS[cluster.kind] ?? cluster.kind}, ${whole(cluster.masters.length)} ${cluster.masters.length === 1 ? "master" : "masters"}`)],
    ["State", "plain", (cell, cluster) => badge(cell, cluster.ready ? "ready" : "away", cluster.ready ? "ok" : "critical")],
    ["Requests", "num strong", (cell, cluster) => set(cell, `${rate(cluster.requests_per_s)}/s`)],
    ["Share", "num", (cell, cluster) => bar(cell, cluster.share, percent(cluster.share), "")],
    ["Errors", "num", errors],
    ["Reply p50 · p99", "num", (cell, cluster) => set(cell, times(cluster))],
    ["Traffic", "num", traffic],
    ["Skew of its masters", "num", skew],
    ["Hot keys", "num", hot],
  ]);
}

// How near a tenant is to its rate, of requests or of bytes.
function used({ requests_per_s, bytes_in_per_s, bytes_out_per_s, rate_max, bytes_rate_max }) {
  const parts = [];
  if (rate_max !== null) parts.push(requests_per_s / rate_max);
  if (bytes_rate_max !== null) parts.push((bytes_in_per_s + bytes_out_per_s) / bytes_rate_max);
  return parts.length ? Math.max(...parts) : null;
}

function limits({ rate_max, bytes_rate_max }) {
  const parts = [];
  if (rate_max !== null) parts.push(`${rate(rate_max)}/s`);
  if (bytes_rate_max !== null) parts.push(`${bytes(bytes_rate_max)}/s`);
  return parts.length ? `of ${parts.join(", ")}` : "no limit";
}

function clients({ clients: now, clients_max }) {
  if (now === null) return "–";
  return clients_max === null ? whole(now) : `${whole(now)} of ${whole(clients_max)}`;
}

function held(cell, tenant) {
  const refused = Object.values(tenant.refused).reduce((sum, count) => sum + count, 0);
  const delayed = tenant.delayed_per_s > 0 ? `${rate(tenant.delayed_per_s)}/s held back, ` : "";
  cell.classList.toggle("bad-text", tenant.refused_per_s > 0);
  twoLines(cell, `${rate(tenant.refused_per_s)}/s`, `${delayed}${whole(refused)} in all`);
}

function tenantsTable() {
  return new Table("tenants", tenant => tenant.tenant, [
    ["Tenant", "key", (cell, tenant) => nameLines(cell, tenant.tenant, tenant.of === tenant.tenant ? tenant.by : `${tenant.by} ${tenant.of}`)],
    ["Requests", "num strong", (cell, tenant) => twoLines(cell, `${rate(tenant.requests_per_s)}/s`, limits(tenant))],
    ["Used", "whole", (cell, tenant) => {
      const share = used(tenant);
      bar(cell, share ?? 0, share === null ? "–" : percent(share), share >= 0.9 ? "warning" : "", true);
    }],
    ["Share", "num", (cell, tenant) => set(cell, percent(tenant.share))],
    ["Refused", "num", held],
    ["Errors", "num", errors],
    ["p50 · p99", "num", (cell, tenant) => set(cell, times(tenant))],
    ["Traffic", "num", traffic],
    ["Clients", "num", (cell, tenant) => set(cell, clients(tenant))],
    ["Hot keys", "num", hot],
  ], tenant => tenant.requests_per_s === 0 && tenant.refused_per_s === 0);
}

function routesTable() {
  return new Table("routes", route => `${route.match} ${route.user ?? ""}`, [
    ["Keys", "key", (cell, route) => nameLines(cell, route.match, route.user ? `of the user ${route.user}` : "")],
    ["Clusters", "", (cell, route) => set(cell, route.clusters.join(", "))],
    ["Picked by", "", (cell, route) => set(cell, route.by || "–")],
    ["Skew of its clusters", "num", skew],
  ]);
}

export function routesPanel() {
  const tables = { clusters: clustersTable(), tenants: tenantsTable(), routes: routesTable() };
  const of = (shown, total) => (total > shown ? `the first ${whole(shown)} of ${whole(total)}` : total ? whole(total) : "");
  return {
    show: ({ clusters, routes, routes_total, tenants, tenants_total }) => {
      at("clusters-panel").hidden = clusters.length < 2 && tenants_total === 0;
      at("routes-panel").hidden = routes_total === 0;
      at("tenants-panel").hidden = tenants_total === 0;
      tables.clusters.show(clusters);
      tables.tenants.show(tenants);
      tables.routes.show(routes);
      at("cluster-count").textContent = clusters.length > 1 ? whole(clusters.length) : "";
      at("route-count").textContent = of(routes.length, routes_total);
      at("tenant-count").textContent = of(tenants.length, tenants_total);
    },
  };
}
