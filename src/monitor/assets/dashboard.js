// The page's course: fetch the last ten minutes, follow the event stream, show each frame, say so when the stream breaks. EventSource
// can't send a token, so the stream is read with fetch.

import { ask, get, pause } from "./ask.js";
import { Chart } from "./charts.js";
import { factsPanel } from "./facts.js";
import { bytes, clock, micros, moment, percent, rate, span, whole } from "./format.js";
import { ledgerPanel } from "./ledger.js";
import { listPanels } from "./lists.js";
import { isShown, onPage, pageTitle, startPages } from "./pages.js";
import { quotasPanel } from "./quotas.js";
import { routesPanel } from "./routes.js";
import { salesPanel } from "./sales.js";
import { slowlogPanel } from "./slowlog.js";
import { at, put, setClock } from "./table.js";
import { hotKeysPanel, nodesPanel } from "./tables.js";

const HISTORY_SLOTS = 600;
const POLL_PERIOD_MS = 2000;
const POLLS_BEFORE_STREAM = 15;
const SILENCE_MS = 3500;

// Lines break between the parts and not within one.
const putParts = (id, parts) => put(id, parts.map(part => part.replaceAll(" ", "\u00a0")).join(" · "));

startPages();
const panels = { hot: hotKeysPanel(), nodes: nodesPanel(), quotas: quotasPanel(), sales: salesPanel(), ledger: ledgerPanel(), routes: routesPanel(), facts: factsPanel() };
const chart = (tile, series, format) => new Chart(document.querySelector(`#${tile} .chart`), series, format, HISTORY_SLOTS);
const charts = [
  chart("tile-rate", [{ name: "requests_per_s", label: "", tone: "" }], value => `${rate(value)}/s`),
  chart("tile-latency", [{ name: "p99_us", label: "p99", tone: "" }, { name: "p50_us", label: "p50", tone: "second" }], micros),
  chart("tile-combine", [{ name: "offered_per_s", label: "offered", tone: "" }, { name: "flushed_per_s", label: "Redis", tone: "second" }], value => `${rate(value)}/s`),
  chart("tile-errors", [{ name: "errors_per_s", label: "errors", tone: "bad" }, { name: "refused_per_s", label: "refused", tone: "second" }], value => `${rate(value)}/s`),
];

let history = null;
let lastFrameMs = performance.now();
let lastFigures = null;
let lastFrame = null;

function showFrame(frame) {
  const { stats } = frame;
  // The same figures again mean that the gateway's control thread stands still.
  if (stats.at_ms !== lastFigures) lastFrameMs = performance.now();
  lastFigures = stats.at_ms;
  lastFrame = frame;
  setClock(stats.at_ms);
  extend(stats);
  showPage();
  showConnection();
}

// The headline, and of the rest what the page has.
function showPage() {
  if (!lastFrame) return;
  const { stats, hotkeys, nodes, sales, sales_total, ledger, routes, quotas } = lastFrame;
  showStatus(stats);
  panels.hot.show(hotkeys, quotas);
  panels.nodes.show(nodes);
  panels.quotas.show(lastFrame);
  put("client-count", `${whole(stats.totals.clients)} connected`);
  if (isShown("overview")) showTiles(stats);
  if (isShown("nodes")) panels.routes.show(routes);
  if (isShown("configuration")) panels.facts.show(stats);
  if (!isShown("sales")) return;
  panels.sales.show(sales, sales_total);
  panels.ledger.show(ledger);
}

// The stream brings the latest second; older ones are known from the first answer.
function extend(stats) {
  if (!history || stats.at_ms - history.end_ms < history.step_ms * 0.7) return;
  const { now } = stats;
  const point = {
    requests_per_s: now.requests_per_s, errors_per_s: now.errors_per_s, refused_per_s: now.refused_per_s,
    p50_us: now.request_time.p50_us, p99_us: now.request_time.p99_us,
    offered_per_s: now.offered_per_s, flushed_per_s: now.flushed_per_s,
  };
  for (const [name, value] of Object.entries(point)) {
    history[name].push(value);
    if (history[name].length > HISTORY_SLOTS) history[name].shift();
  }
  history.end_ms = stats.at_ms;
  drawCharts();
}

function drawCharts() {
  if (history && isShown("overview")) for (const drawn of charts) drawn.draw(history);
}

const ICON_TONES = { ok: "#1a7f4e", notice: "#1668b8", warning: "#e09a1a", critical: "#d92d33" };

function showStatus({ status, losses, now, gateway, upstream_version, upstream_kind, uptime_s }) {
  if (at("status").dataset.level !== status.level || !at("favicon").dataset.level) {
    at("status").dataset.level = status.level;
    at("favicon").dataset.level = status.level;
    const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${ICON_TONES[status.level]}"/></svg>`;
    at("favicon").href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
  }
  put("sentence", status.sentence);
  announce(status);
  const others = status.others.map(({ level, sentence }) => {
    const item = document.createElement("li");
    item.dataset.level = level;
    item.textContent = sentence;
    return item;
  });
  at("others").replaceChildren(...others);
  // While all of it is recent, the status line says it.
  const lost = losses.filter(({ count, recent }) => count > recent).map(({ sentence, first_at_ms, last_at_ms }) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    item.title = `first ${moment(first_at_ms)}, last ${moment(last_at_ms)}`;
    return item;
  });
  at("losses").replaceChildren(...lost);
  at("losses").hidden = lost.length === 0;
  const page = isShown("overview") ? "" : `${pageTitle()} · `;
  document.title = `${page}${rate(now.requests_per_s)}/s · ${status.level === "ok" ? "quiet" : status.level} · hotgate`;
  const upstream = upstream_version ? `Redis ${upstream_version}` : "Redis";
  put("gateway", `${gateway.listen.join(", ")}  →  ${upstream}, ${upstream_kind === "cluster" ? "cluster" : "one server"}`);
  put("footer", `hotgate ${gateway.version} · gateway ${gateway.id.slice(0, 8)} · ${gateway.workers} workers · up ${span(uptime_s)} · figures of ${clock(lastFigures)}`);
}

let announced = "";

// Read aloud when the cause changes, and not with every figure in it.
function announce({ level, sentence }) {
  const cause = `${level} ${sentence.replace(/[0-9.,]+/g, "")}`;
  if (cause === announced) return;
  announced = cause;
  put("announce", level === "ok" ? sentence : `${level}: ${sentence}`);
}

function showTiles({ now, totals }) {
  put("rate", rate(now.requests_per_s));
  putParts("rate-sub", [`${bytes(now.bytes_in_per_s)}/s in`, `${bytes(now.bytes_out_per_s)}/s out`, `${now.cpu_cores.toFixed(2)} cores`]);
  // Without requests there are no times.
  const known = us => (us > 0 ? micros(us) : "–");
  put("p99", known(now.request_time.p99_us));
  const [redis, own] = [now.upstream_time, now.gateway_time].map(time => known(time.p99_us));
  putParts("latency-sub", [`p50 ${known(now.request_time.p50_us)}`, `Redis p99 ${redis}`, `hotgate adds p99 ${own}`]);
  const idle = now.offered_per_s < 0.5;
  put("combine", idle ? "–" : `${rate(now.offered_per_s)} → ${rate(now.flushed_per_s)}/s`);
  const saved = Math.max(0, 1 - now.flushed_per_s / now.offered_per_s);
  const kept = `${(saved * 100).toFixed(saved > 0.99 ? 1 : 0)} % kept from Redis`;
  const batch = `batches of ${rate(now.combine_batch_mean)}`;
  const combined = idle ? ["nothing to combine"] : [kept, batch, `+${micros(now.combine_added_wait_mean_us)} on average`];
  const age = micros(totals.write_behind_oldest_ms * 1000);
  const behind = totals.write_behind_pending_max ? [`${whole(totals.write_behind_pending)} write-behind pending`, `oldest ${age}`] : [];
  putParts("combine-sub", [...combined, ...behind]);
  put("errors", rate(now.errors_per_s));
  const kinds = Object.entries(now.errors_by_kind_per_s).sort((a, b) => b[1] - a[1]).slice(0, 2);
  const most = kinds.map(([kind, value]) => `${kind.replaceAll("_", " ")} ${rate(value)}/s`);
  const refused = now.refused_per_s > 0 ? [`refused ${rate(now.refused_per_s)}/s`] : [];
  const since = `${whole(totals.errors)} since the start`;
  putParts("errors-sub", most.length + refused.length > 0 ? [...most, ...refused] : [since, percent(totals.errors / Math.max(1, totals.requests))]);
}

function showConnection() {
  const silence = performance.now() - lastFrameMs;
  const lost = silence > SILENCE_MS;
  at("lost").hidden = !lost;
  at("main").classList.toggle("stale", lost);
  if (!lost) return;
  const figures = lastFigures ? ` Figures are of ${clock(lastFigures)}.` : "";
  at("lost").textContent = `No word from the gateway for ${span(silence / 1000)}.${figures} Trying again …`;
}

async function follow(signal) {
  const first = await ask("api/stats?history=1", { signal });
  if (!first.ok) throw new Error(`history: ${first.status}`);
  history = (await first.json()).history;
  drawCharts();
  const stream = await ask("api/stream", { signal });
  if (stream.status === 503) return poll(signal);
  if (!stream.ok) throw new Error(`stream: ${stream.status}`);
  const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find(line => line.startsWith("data:"));
      if (data) showFrame(JSON.parse(data.slice(5)));
    }
  }
}

// As many streams are open as may be: the figures are asked for instead, and after a while a stream again.
async function poll(signal) {
  for (let count = 0; count < POLLS_BEFORE_STREAM; count += 1) {
    const part = path => get(`api/${path}`, { signal });
    const [stats, hot, nodes, quotas, { sales }, { ledger }, { clusters, routes }, { tenants }] = await Promise.all(["stats", "hotkeys", "nodes", "quotas", "sales", "ledger", "routes", "tenants"].map(part));
    const shown = { clusters, routes, routes_total: routes.length, tenants, tenants_total: tenants.length };
    showFrame({ stats, hotkeys: hot.keys, nodes: nodes.nodes, quotas: quotas.quotas, quotas_total: quotas.total, sales, sales_total: sales.length, ledger, routes: shown });
    await pause(POLL_PERIOD_MS);
  }
}

async function followForEver() {
  for (;;) {
    // Whatever ended it, the old stream is closed before the next is opened.
    const stream = new AbortController();
    try { await follow(stream.signal); } catch (error) { console.warn("the stream broke off:", error); }
    stream.abort();
    await pause(1000);
  }
}

listPanels(events => { for (const drawn of charts) drawn.happen(events); });
slowlogPanel();
onPage(() => { showPage(); drawCharts(); });
setInterval(showConnection, 500);
followForEver();
