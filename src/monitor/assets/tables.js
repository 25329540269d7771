// The tables of hot keys and of nodes.

import { drawSparkline, sparkline } from "./charts.js";
import { bytes, micros, percent, rate, span, whole } from "./format.js";
import { isShown } from "./pages.js";
import { Table, agoS, badge, bar, keyAddress, linkedName, put, set, shortened, twoLines } from "./table.js";

const SPARK_SLOTS = 60;
const OVERVIEW_KEYS = 5;
const OVERVIEW_NODES = 6;

// How much of each key quotas refuse a second, as of the last frame: what is refused here goes to no Redis and is not combined.
let refusals = new Map();

function setRefusals(quotas) {
  refusals = new Map();
  for (const { key, refused_per_s } of quotas) refusals.set(key, (refusals.get(key) ?? 0) + refused_per_s);
}

const CLASS_WORDS = { read: "read-hot", write: "write-hot", counter: "counter", bytes: "byte-hot" };

function hotKeysTable(id) {
  return new Table(id, key => key.key, [
    ["Key", "key", (cell, key) => linkedName(cell, keyAddress(key.key), key.key, `hot for ${span(agoS(key.since_ms))}, peak ${rate(key.peak_per_s)}/s`)],
    ["Class", "plain", (cell, key) => badge(cell, CLASS_WORDS[key.class] ?? key.class, "")],
    ["Rate", "num strong", (cell, key) => set(cell, `${rate(key.requests_per_s)}/s`)],
    ["Last minute", "spark-cell", (cell, key) => {
      cell.spark ??= cell.appendChild(sparkline(SPARK_SLOTS, value => `${rate(value)}/s`));
      drawSparkline(cell.spark, key.history, SPARK_SLOTS, `Accesses of ${shortened(key.key)} in each of the last ${key.history.length} seconds`);
    }],
    ["Share", "num", (cell, key) => bar(cell, key.share, percent(key.share), key.share >= 0.1 ? "" : "dim")],
    ["Reads · writes", "num", (cell, key) => set(cell, `${rate(key.reads_per_s)} · ${rate(key.writes_per_s)}`)],
    ["Offered → Redis", "num", (cell, key) => offered(cell, key)],
    ["Clients", "num", (cell, key) => set(cell, key.connections > 0 ? `about ${whole(key.connections)}` : "–")],
    ["Node", "", (cell, key) => set(cell, key.node || "–")],
  ]);
}

export function hotKeysPanel() {
  const [all, overview] = [hotKeysTable("hot"), hotKeysTable("overview-hot")];
  return {
    show: (keys, quotas) => {
      setRefusals(quotas);
      if (isShown("keys")) all.show(keys);
      if (isShown("overview")) overview.show(keys.slice(0, OVERVIEW_KEYS));
      put("hot-count", keys.length ? whole(keys.length) : "");
    },
  };
}

function offered(cell, key) {
  const refused = refusals.get(key.key) ?? 0;
  if (refused >= key.requests_per_s / 2 && refused >= 1) {
    cell.classList.remove("faint");
    return twoLines(cell, `${rate(key.flushed_per_s ?? 0)}/s`, `${rate(refused)}/s refused here`);
  }
  if (key.offered_per_s === null) {
    const cached = key.cache_hits_per_s > 0;
    cell.classList.toggle("faint", !cached);
    const passing = key.course === "passing" ? "as they came" : "not combined";
    return twoLines(cell, cached ? `${rate(key.cache_hits_per_s)}/s cached` : passing, "");
  }
  cell.classList.remove("faint");
  const saved = key.offered_per_s > 0 ? Math.max(0, 1 - key.flushed_per_s / key.offered_per_s) : 0;
  const waited = key.added_wait_us === null ? "" : `, +${micros(key.added_wait_us).replace(" ", "\u00a0")}`;
  const turns = key.turn_wait_us > 0 ? `, ${micros(key.turn_wait_us).replace(" ", "\u00a0")} for its turn` : "";
  const pending = key.pending > 0 ? `, ${whole(key.pending)} pending` : "";
  twoLines(cell, `${rate(key.offered_per_s)} → ${rate(key.flushed_per_s)}/s`, `${(saved * 100).toFixed(saved > 0.99 ? 1 : 0)} % saved${waited}${turns}${pending}`);
}

// A node that takes most of the load while others could is worth a look; a lone one takes all of it.
let servingNodes = 0;

const NODE_TONES = { up: "ok", connecting: "warning", down: "critical", idle: "" };
const SILENT_MS = 1000;

// What is wrong with a node in a word; otherwise how the workers are connected to it.
function nodeState({ up, state, silent_ms, role, probe }) {
  if (silent_ms >= SILENT_MS) return [probe.paused ? "paused" : `silent for ${span(silent_ms / 1000)}`, role === "master" ? "critical" : "warning"];
  if (!up) return [probe.unlinked && !probe.unreachable ? "no link" : "down", role === "master" ? "critical" : "warning"];
  if (probe.refuses) return [probe.refuses, role === "master" ? "critical" : "warning"];
  if (probe.turns_away) return ["turns away", "warning"];
  if (probe.stranger) return ["another server", "warning"];
  return [state, NODE_TONES[state]];
}

function nodeRole({ role, slots, master, lost_replicas }) {
  const parts = [master ? `replica of ${master}` : role];
  if (slots > 0) parts.push(`${whole(slots)} slots`);
  if (lost_replicas) parts.push("no replica");
  return parts.join(", ");
}

const NODE_COLUMNS = [
  ["Node", "key", (cell, node) => twoLines(cell, node.node, nodeRole(node))],
  ["State", "plain", (cell, node) => badge(cell, ...nodeState(node))],
  ["Requests", "num strong", (cell, node) => set(cell, `${rate(node.requests_per_s)}/s`)],
  ["Share", "num", (cell, node) => bar(cell, node.share, percent(node.share), node.share > 0.6 && servingNodes > 1 ? "warning" : "")],
  ["Errors", "num", (cell, node) => {
    cell.classList.toggle("bad-text", node.errors_per_s > 0);
    twoLines(cell, `${rate(node.errors_per_s)}/s`, `${whole(node.errors)} in all`);
  }],
  ["Inflight", "num", (cell, node) => {
    const full = node.inflight_max > 0 ? node.inflight / node.inflight_max : 0;
    cell.classList.toggle("bad-text", full >= 0.8);
    set(cell, full >= 0.01 ? `${whole(node.inflight)} (${percent(full)})` : whole(node.inflight));
  }],
  ["Reply p50 · p99", "num", (cell, node) => set(cell, node.p50_us > 0 ? `≤ ${micros(node.p50_us)} · ${micros(node.p99_us)}` : "–")],
  ["Traffic · keys", "num", (cell, node) => twoLines(cell, `${bytes(node.bytes_per_s)}/s`, node.keys === null ? "" : node.keys === 1 ? "1 key" : `${whole(node.keys)} keys`)],
  ["Reconnects", "num", (cell, node) => set(cell, whole(node.reconnects))],
];

const isInTrouble = node => ["critical", "warning"].includes(nodeState(node)[1]);

// The overview has those in trouble, and of the others the busiest masters.
function foremost(nodes) {
  const rest = nodes.filter(node => !isInTrouble(node) && node.role === "master").sort((a, b) => b.requests_per_s - a.requests_per_s);
  return [...nodes.filter(isInTrouble), ...rest].slice(0, OVERVIEW_NODES);
}

export function nodesPanel() {
  const isQuiet = node => !isInTrouble(node) && node.requests_per_s === 0 && node.inflight === 0;
  const make = id => new Table(id, node => node.node, NODE_COLUMNS, isQuiet);
  const [all, overview] = [make("nodes"), make("overview-nodes")];
  return {
    show: nodes => {
      servingNodes = nodes.filter(node => node.slots > 0 || node.role === "master").length;
      if (isShown("nodes")) all.show(nodes);
      if (isShown("overview")) overview.show(foremost(nodes));
      put("node-count", nodes.length ? whole(nodes.length) : "");
    },
  };
}
