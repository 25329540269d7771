// The tables; that of sales is in sales.js. Rows are kept by identity and updated in place, so that nothing flickers and a selection survives.
// Everything that came from the gateway goes through textContent: a key name is data, never markup.

import { drawSparkline, sparkline } from "./charts.js";
import { bytes, micros, moment, percent, rate, span, whole } from "./format.js";

const SPARK_SLOTS = 60;

// The gateway's clock, as of the last frame; ages are told by it.
let nowMs = 0;

export function setClock(atMs) {
  nowMs = atMs;
}

// How much of each key quotas refuse a second, as of the last frame: what is refused here goes to no Redis and is not combined.
let refusals = new Map();

export function setRefusals(quotas) {
  refusals = new Map();
  for (const { key, refused_per_s } of quotas) refusals.set(key, (refusals.get(key) ?? 0) + refused_per_s);
}

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A long name keeps its beginning and its end, where names of keys differ; the whole of it is told at the pointer.
const NAME_MAX = 56;

export function shortened(name) {
  const letters = [...name];
  if (letters.length <= NAME_MAX) return name;
  return `${letters.slice(0, NAME_MAX / 2).join("")}…${letters.slice(1 - NAME_MAX / 2).join("")}`;
}

export function nameLines(cell, name, under) {
  twoLines(cell, shortened(name), under);
  cell.main.title = name;
}

export function badge(cell, text, tone) {
  cell.chip ??= cell.appendChild(document.createElement("span"));
  cell.chip.className = "badge";
  cell.chip.dataset.tone = tone;
  set(cell.chip, text);
}

// A cell's main text with a smaller line under it.
export function twoLines(cell, text, under) {
  if (!cell.main) {
    cell.main = cell.appendChild(document.createElement("span"));
    cell.under = cell.appendChild(document.createElement("span"));
    cell.under.className = "under";
  }
  set(cell.main, text);
  set(cell.under, under);
}

export function bar(cell, share, text, tone, wide) {
  if (!cell.bar) {
    cell.label = document.createElement("span");
    cell.bar = document.createElement("span");
    cell.bar.append(document.createElement("i"));
    cell.bar.className = wide ? "bar wide" : "bar";
    cell.bar.setAttribute("aria-hidden", "true");
    if (wide) cell.append(cell.bar, cell.label); else cell.append(cell.label, cell.bar);
  }
  cell.bar.dataset.tone = tone;
  cell.bar.firstChild.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  set(cell.label, text);
}

// A table whose rows are identified by `identity(row)`; `columns` are [class, fill(cell, row)] in the order of the head. Quiet
// rows are dimmed, and cut short on a phone.
export class Table {
  constructor(id, identity, columns, isQuiet = () => false) {
    this.table = document.getElementById(id);
    this.body = this.table.tBodies[0];
    this.empty = this.table.parentElement.querySelector(".empty");
    this.labels = [...this.table.tHead.rows[0].cells].map(cell => cell.textContent);
    this.identity = identity;
    this.columns = columns;
    this.isQuiet = isQuiet;
    this.rows = new Map();
  }

  show(rows) {
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    const gone = new Map(this.rows);
    rows.forEach((row, place) => {
      const identity = this.identity(row);
      let element = this.rows.get(identity);
      if (!element) {
        element = this.row();
        this.rows.set(identity, element);
      }
      gone.delete(identity);
      element.classList.toggle("quiet", this.isQuiet(row));
      this.columns.forEach(([, fill], i) => fill(element.cells[i], row));
      if (this.body.rows[place] !== element) this.body.insertBefore(element, this.body.rows[place] ?? null);
    });
    for (const [identity, element] of gone) {
      element.remove();
      this.rows.delete(identity);
    }
  }

  row() {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    this.columns.forEach(([className], i) => {
      const cell = row.insertCell();
      cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
      cell.dataset.label = this.labels[i];
      cell.className = className;
    });
    return row;
  }
}

const CLASS_WORDS = { read: "read-hot", write: "write-hot", counter: "counter", bytes: "byte-hot" };

export function hotKeysTable() {
  return new Table("hot", key => key.key, [
    ["key", (cell, key) => nameLines(cell, key.key, `hot for ${span((nowMs - key.since_ms) / 1000)}, peak ${rate(key.peak_per_s)}/s`)],
    ["plain", (cell, key) => badge(cell, CLASS_WORDS[key.class] ?? key.class, "")],
    ["num strong", (cell, key) => set(cell, `${rate(key.requests_per_s)}/s`)],
    ["spark-cell", (cell, key) => {
      cell.spark ??= cell.appendChild(sparkline(SPARK_SLOTS, value => `${rate(value)}/s`));
      drawSparkline(cell.spark, key.history, SPARK_SLOTS, `Accesses of ${shortened(key.key)} in each of the last ${key.history.length} seconds`);
    }],
    ["num", (cell, key) => bar(cell, key.share, percent(key.share), key.share >= 0.1 ? "" : "dim")],
    ["num", (cell, key) => set(cell, `${rate(key.reads_per_s)} · ${rate(key.writes_per_s)}`)],
    ["num", (cell, key) => offered(cell, key)],
    ["num", (cell, key) => set(cell, key.connections > 0 ? `about ${whole(key.connections)}` : "–")],
    ["", (cell, key) => set(cell, key.node || "–")],
  ]);
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

export function nodesTable() {
  const table = new Table("nodes", node => node.node, [
    ["key", (cell, node) => twoLines(cell, node.node, nodeRole(node))],
    ["plain", (cell, node) => badge(cell, ...nodeState(node))],
    ["num strong", (cell, node) => set(cell, `${rate(node.requests_per_s)}/s`)],
    ["num", (cell, node) => bar(cell, node.share, percent(node.share), node.share > 0.6 && servingNodes > 1 ? "warning" : "")],
    ["num", (cell, node) => {
      cell.classList.toggle("bad-text", node.errors_per_s > 0);
      twoLines(cell, `${rate(node.errors_per_s)}/s`, `${whole(node.errors)} in all`);
    }],
    ["num", (cell, node) => {
      const full = node.inflight_max > 0 ? node.inflight / node.inflight_max : 0;
      cell.classList.toggle("bad-text", full >= 0.8);
      set(cell, full >= 0.01 ? `${whole(node.inflight)} (${percent(full)})` : whole(node.inflight));
    }],
    ["num", (cell, node) => set(cell, node.p50_us > 0 ? `≤ ${micros(node.p50_us)} · ${micros(node.p99_us)}` : "–")],
    ["num", (cell, node) => twoLines(cell, `${bytes(node.bytes_per_s)}/s`, node.keys === null ? "" : node.keys === 1 ? "1 key" : `${whole(node.keys)} keys`)],
    ["num", (cell, node) => set(cell, whole(node.reconnects))],
  ], node => nodeState(node)[1] !== "critical" && nodeState(node)[1] !== "warning" && node.requests_per_s === 0 && node.inflight === 0);
  return {
    show: nodes => {
      servingNodes = nodes.filter(node => node.slots > 0 || node.role === "master").length;
      table.show(nodes);
    },
  };
}

function quotaState(quota) {
  if (quota.refused_unavailable_per_s > 0) return ["Redis away", "critical"];
  if (quota.fault) return ["can't apply", "critical"];
  if (quota.paused) return ["paused", "warning"];
  if (!quota.enforce) return ["shadow", ""];
  if (quota.exhausted) return [quota.window_ms === null ? "sold out" : "at its rate", "notice"];
  return ["open", "ok"];
}

export function quotasTable(change) {
  return new Table("quotas", quota => `${quota.key}\n${quota.quota}`, [
    ["key", (cell, quota) => nameLines(cell, quota.key, quota.quota)],
    ["plain", (cell, quota) => badge(cell, ...quotaState(quota))],
    ["whole", (cell, quota) => {
      const share = quota.used_share ?? 0;
      const tone = quota.paused ? "dim" : share >= 1 ? "" : share >= 0.9 ? "warning" : "";
      bar(cell, share, quota.used_share === null ? "not known" : percent(share), tone, true);
    }],
    ["num", (cell, quota) => {
      const of = quota.limit === null ? "limit not known" : quota.counts_down ? `above ${whole(quota.limit)}` : `of ${whole(quota.limit)}`;
      const by = quota.limit_overridden ? `, set by ${quota.limit_by || "an operator"}` : "";
      twoLines(cell, quota.remaining === null ? "–" : whole(quota.remaining), `${of}${by}`);
      cell.classList.toggle("set", quota.limit_overridden);
    }],
    ["num", (cell, quota) => twoLines(cell, `${rate(quota.admitted_per_s)}/s`, `${whole(quota.admitted)} in all`)],
    ["num", (cell, quota) => {
      const refused = Object.values(quota.refused).reduce((sum, count) => sum + count, 0);
      const shadow = quota.enforce ? "" : `${whole(quota.would_refuse)} would be`;
      twoLines(cell, `${rate(quota.refused_per_s)}/s`, shadow || `${whole(refused)} in all`);
    }],
    ["num", (cell, quota) => set(cell, quota.sold_out_in_s === null ? "–" : span(quota.sold_out_in_s))],
    ["whole plain controls", (cell, quota) => controls(cell, quota, change)],
  ]);
}

function controls(cell, quota, change) {
  cell.quota = quota;
  if (!cell.toggle) {
    cell.toggle = cell.appendChild(document.createElement("button"));
    cell.limit = cell.appendChild(document.createElement("button"));
    cell.reset = cell.appendChild(document.createElement("button"));
    for (const button of [cell.toggle, cell.limit, cell.reset]) button.type = "button";
    cell.limit.textContent = "Limit …";
    cell.reset.textContent = "Reset …";
    cell.reset.addEventListener("click", () => change(cell.quota, "reset"));
    cell.toggle.addEventListener("click", () => change(cell.quota, cell.quota.paused ? "resume" : "pause"));
    cell.limit.addEventListener("click", () => change(cell.quota, "limit"));
  }
  set(cell.toggle, quota.paused ? "Resume …" : "Pause …");
  cell.reset.disabled = !quota.paused && !quota.limit_overridden;
  for (const button of [cell.toggle, cell.limit, cell.reset]) button.setAttribute("aria-label", `${button.textContent.slice(0, -2)} ${quota.key}`);
}

export function clientsTable() {
  return new Table("clients", client => client.id, [
    ["key", (cell, client) => twoLines(cell, client.address, `#${client.id}, worker ${client.worker}, RESP${client.resp}`)],
    ["", (cell, client) => twoLines(cell, client.name || "–", client.library)],
    ["", (cell, client) => set(cell, client.user || "–")],
    ["num", (cell, client) => set(cell, span(client.age_s))],
    ["num", (cell, client) => set(cell, span(client.idle_s))],
    ["num", (cell, client) => set(cell, whole(client.requests))],
    ["", (cell, client) => set(cell, client.last_command || "–")],
    ["num", (cell, client) => set(cell, bytes(client.buffered_in_bytes + client.buffered_out_bytes))],
  ]);
}

const EVENT_TONES = { hot: "notice", node_down: "critical", reload_refused: "critical", certificate_refused: "critical", failover: "warning", clients_refused: "warning", node_up: "ok" };

// What an event is called: "node down".
export const eventName = ({ kind, times }) => `${kind.replaceAll("_", " ")}${times > 1 ? ` ×${whole(times)}` : ""}`;

export function eventsTable() {
  return new Table("events", event => event.id, [
    ["plain", (cell, event) => badge(cell, eventName(event), EVENT_TONES[event.kind] ?? "")],
    ["key", (cell, event) => nameLines(cell, event.subject, "")],
    ["num", (cell, event) => {
      set(cell, span(Math.max(0, nowMs - event.last_ms) / 1000));
      cell.title = moment(event.at_ms);
    }],
    ["whole", (cell, event) => set(cell, shortened(event.text) || "–")],
    ["", (cell, event) => set(cell, event.by || "–")],
  ]);
}

export function changesTable() {
  return new Table("changes", change => change.id, [
    ["key", (cell, change) => nameLines(cell, change.object || change.change, change.times > 1 ? `${change.change}, ${whole(change.times)} times` : change.change)],
    ["", (cell, change) => twoLines(cell, change.user, change.address)],
    ["num", (cell, change) => set(cell, span((nowMs - change.last_ms) / 1000))],
    ["", (cell, change) => set(cell, shortened(change.before) || "–")],
    ["", (cell, change) => set(cell, change.outcome === "done" ? shortened(change.after) || "–" : `not done: ${change.outcome}`)],
    ["", (cell, change) => set(cell, change.reason || "–")],
  ]);
}
