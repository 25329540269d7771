// The board for the wall: what a room has to see from afar, and nothing to press. The same figures as the dashboard's, from the same stream.

import { Chart } from "./charts.js";
import { bytes, clock, micros, percent, rate, span, whole } from "./format.js";
import { followForEver } from "./stream.js";
import { Table, at, bar, put, set, shortened, twoLines } from "./table.js";

const SHOWN = 5;
const SLOTS = 600;
const SILENCE_MS = 3500;

const chart = new Chart(document.querySelector("#wall-chart"), [{ name: "requests_per_s", label: "", tone: "" }], value => `${rate(value)}/s`);
let history = null;
let lastFrameMs = performance.now();
let lastFigures = null;

// What is done with a hot key, in two words.
function course(key, refused) {
  if (refused >= key.requests_per_s / 2 && refused >= 1) return `${rate(refused)}/s refused here`;
  if (key.cache_hits_per_s > 0) return "served from copies";
  if (key.offered_per_s === null) return "as they came";
  return `folded to ${rate(key.flushed_per_s)}/s`;
}

const keys = new Table("wall-keys", key => key.key, [
  ["Hot key", "key", (cell, key) => set(cell, shortened(key.key))],
  ["Share", "num", (cell, key) => bar(cell, key.share, percent(key.share), "")],
  ["Rate", "num strong", (cell, key) => twoLines(cell, `${rate(key.requests_per_s)}/s`, key.doing)],
]);

const stock = new Table("wall-stock", row => row.name, [
  ["Sale or quota", "key", (cell, row) => set(cell, shortened(row.name))],
  ["Used", "whole", (cell, row) => bar(cell, row.share, row.state || percent(row.share), "", true)],
  ["Left", "num strong", (cell, row) => twoLines(cell, row.left === null ? "–" : whole(row.left), row.ends_s === null ? "" : `for ${span(row.ends_s)}`)],
]);

function stockRows({ sales, quotas }) {
  const ofSale = sale => ({
    name: sale.key, share: sale.taken_share, left: Math.max(0, sale.limit - sale.taken), ends_s: sale.sold_out_in_s,
    state: { soldout: "sold out", closed: "closed", notopen: "not open yet" }[sale.state] ?? "",
  });
  const ofQuota = quota => ({
    name: quota.key, share: quota.used_share ?? 0, left: quota.remaining, ends_s: quota.sold_out_in_s,
    state: quota.paused ? "paused" : quota.exhausted ? "used up" : "",
  });
  const open = sales.filter(sale => ["open", "soldout", "closed", "notopen"].includes(sale.state));
  return [...open.map(ofSale), ...quotas.map(ofQuota)].slice(0, SHOWN);
}

function nodes(all) {
  const masters = all.filter(node => node.role === "master");
  const up = masters.filter(node => node.up && (node.silent_ms ?? 0) < 1000);
  const busiest = masters.reduce((most, node) => (node.share > (most?.share ?? 0) ? node : most), null);
  const skew = masters.length > 1 && busiest && busiest.share > 0 ? ` · busiest ${busiest.node} with ${percent(busiest.share)}` : "";
  return `${up.length} of ${masters.length} ${masters.length === 1 ? "master" : "masters"} up${skew}`;
}

function showFrame(frame) {
  const { stats, hotkeys, quotas } = frame;
  if (stats.at_ms !== lastFigures) lastFrameMs = performance.now();
  lastFigures = stats.at_ms;
  const { status, now, totals } = stats;
  document.body.dataset.level = status.level;
  put("sentence", status.sentence);
  put("others", status.others.slice(0, 2).map(({ sentence }) => sentence).join(" "));
  put("wall-rate", rate(now.requests_per_s));
  put("wall-traffic", `${bytes(now.bytes_in_per_s)}/s in, ${bytes(now.bytes_out_per_s)}/s out`);
  const known = us => (us > 0 ? micros(us) : "–");
  put("wall-p99", known(now.request_time.p99_us));
  put("wall-redis", `Redis ${known(now.upstream_time.p99_us)}`);
  const saved = now.offered_per_s >= 0.5 ? Math.max(0, 1 - now.flushed_per_s / now.offered_per_s) : null;
  put("wall-kept", saved === null ? "–" : `${(saved * 100).toFixed(saved > 0.99 ? 1 : 0)} %`);
  put("wall-combined", saved === null ? "nothing to combine" : `${rate(now.offered_per_s)} → ${rate(now.flushed_per_s)}/s`);
  put("wall-errors", rate(now.errors_per_s));
  put("wall-refused", `${rate(now.refused_per_s)}/s refused`);
  const refused = key => quotas.reduce((sum, quota) => sum + (quota.key === key ? quota.refused_per_s : 0), 0);
  keys.show(hotkeys.slice(0, SHOWN).map(key => ({ ...key, doing: course(key, refused(key.key)) })));
  const rows = stockRows(frame);
  at("wall-stock-panel").hidden = rows.length === 0;
  stock.show(rows);
  put("wall-nodes", nodes(frame.nodes));
  put("wall-clients", `${whole(totals.clients)} clients`);
  put("wall-clock", clock(stats.at_ms));
  document.title = `${status.level === "ok" ? "quiet" : status.level} · ${rate(now.requests_per_s)}/s · hotgate`;
  extend(stats.at_ms, now.requests_per_s);
  showConnection();
}

function extend(atMs, requests) {
  if (!history || atMs - history.end_ms < history.step_ms * 0.7) return;
  history.requests_per_s.push(requests);
  if (history.requests_per_s.length > SLOTS) history.requests_per_s.shift();
  history.end_ms = atMs;
  draw();
}

const draw = () => chart.draw(history, { slots: SLOTS, since: "10 min ago" });

function showConnection() {
  const silence = performance.now() - lastFrameMs;
  at("lost").hidden = silence <= SILENCE_MS;
  if (silence <= SILENCE_MS) return;
  const figures = lastFigures ? ` Figures are of ${clock(lastFigures)}.` : "";
  put("lost", `No word from the gateway for ${span(silence / 1000)}.${figures} Trying again …`);
}

setInterval(showConnection, 500);
followForEver(columns => { history = columns; draw(); }, showFrame);
