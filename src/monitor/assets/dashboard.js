// The page's course: fetch the last ten minutes, follow the event stream, show each frame, say so when the stream breaks.
// The token, where one is asked for, lives in this tab's sessionStorage and is sent as a bearer token; EventSource can't send
// one, so the stream is read with fetch.

import { Chart } from "./charts.js";
import { bytes, clock, micros, moment, percent, rate, span, whole } from "./format.js";
import { changesTable, clientsTable, eventName, eventsTable, hotKeysTable, nodesTable, quotasTable, setClock, setRefusals } from "./tables.js";
import { ledgerPanel } from "./ledger.js";
import { routesPanel } from "./routes.js";
import { salesPanel } from "./sales.js";

const TOKEN = "hotgate-token";
const HISTORY_SLOTS = 600;
const QUOTAS_PERIOD_MS = 1000;
const QUOTAS_SHOWN = 20;
const POLL_PERIOD_MS = 2000;
const POLLS_BEFORE_STREAM = 15;
const SILENCE_MS = 3500;
const CLIENTS_PERIOD_MS = 2000;
const EVENTS_SHOWN = 200;

const at = id => document.getElementById(id);
const put = (id, text) => { const element = at(id); if (element.textContent !== text) element.textContent = text; };
// Lines break between the parts and not within one.
const putParts = (id, parts) => put(id, parts.map(part => part.replaceAll(" ", "\u00a0")).join(" · "));
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

const tables = { hot: hotKeysTable(), nodes: nodesTable(), quotas: quotasTable(askChange), clients: clientsTable(), changes: changesTable(), events: eventsTable(), sales: salesPanel(post), ledger: ledgerPanel(), routes: routesPanel() };
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

async function ask(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.status !== 401) return response;
    await askToken(token !== null && token === sessionStorage.getItem(TOKEN));
  }
}

let asking = null;

// Asks once, however many requests were refused meanwhile.
function askToken(wrong) {
  asking ??= new Promise(resolve => {
    put("token-fault", wrong ? "That token is not the right one." : "");
    at("token").value = "";
    at("token-dialog").showModal();
    at("token-form").onsubmit = event => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, at("token").value);
      at("token-dialog").close();
      asking = null;
      resolve();
    };
    at("token-dialog").oncancel = event => event.preventDefault();
  });
  return asking;
}

function showFrame(frame) {
  const { stats } = frame;
  // The same figures again mean that the gateway's control thread stands still.
  if (stats.at_ms !== lastFigures) lastFrameMs = performance.now();
  lastFigures = stats.at_ms;
  setClock(stats.at_ms);
  setRefusals(frame.quotas);
  extend(stats);
  showStatus(stats);
  showTiles(stats);
  tables.hot.show(frame.hotkeys);
  tables.nodes.show(frame.nodes);
  showQuotas(frame);
  tables.sales.show(frame.sales, frame.sales_total);
  tables.ledger.show(frame.ledger);
  tables.routes.show(frame.routes);
  const counted = (count, all) => (count ? `${count}${all ? ` ${all}` : ""}` : "");
  put("hot-count", counted(frame.hotkeys.length));
  put("node-count", counted(frame.nodes.length));
  put("client-count", `${whole(stats.totals.clients)} connected`);
  showConnection();
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
  for (const drawn of charts) drawn.draw(history);
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
  document.title = `${rate(now.requests_per_s)}/s · ${status.level === "ok" ? "quiet" : status.level} · hotgate`;
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
  for (const drawn of charts) drawn.draw(history);
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
    const part = async path => {
      const answer = await ask(`api/${path}`, { signal });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      return answer.json();
    };
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

async function watchClients() {
  for (;;) {
    if (at("clients-panel").open) {
      try {
        const answer = await (await ask("api/clients")).json();
        tables.clients.show(answer.clients);
        const left = answer.connected > answer.clients.length ? `The first ${whole(answer.clients.length)} of ${whole(answer.connected)} are shown. ` : "";
        put("clients-note", left + (answer.workers_missing ? `${answer.workers_missing} workers were too busy to answer.` : ""));
      } catch (error) { console.warn("no list of clients:", error); }
    }
    await pause(CLIENTS_PERIOD_MS);
  }
}

async function watchChanges() {
  for (;;) {
    if (at("changes-panel").open) {
      try {
        tables.changes.show((await (await ask("api/audit")).json()).changes);
      } catch (error) { console.warn("no list of changes:", error); }
    }
    await pause(CLIENTS_PERIOD_MS);
  }
}

// The list while it is open, and always the marks of the charts. That a key is no longer hot needs none.
async function watchEvents() {
  for (;;) {
    try {
      const { events } = await (await ask(`api/events?count=${EVENTS_SHOWN}`)).json();
      if (at("events-panel").open) tables.events.show(events);
      const marked = events.filter(event => event.kind !== "cooled").map(event => ({ at_ms: event.at_ms, label: `${eventName(event)} ${event.subject}` }));
      for (const drawn of charts) drawn.happen(marked);
    } catch (error) { console.warn("no list of events:", error); }
    await pause(CLIENTS_PERIOD_MS);
  }
}

// The quotas: the first ones come with every frame; what is searched for, sorted or further on is asked for.
const wanted = { search: "", sort: "foremost", offset: 0 };
const isFirst = () => wanted.search === "" && wanted.sort === "foremost" && wanted.offset === 0;

function showQuotas({ quotas, quotas_total }) {
  if (isFirst()) showQuotaPage({ quotas: quotas.slice(0, QUOTAS_SHOWN), matched: quotas_total, total: quotas_total });
}

function showQuotaPage({ quotas, matched, total }) {
  tables.quotas.show(quotas);
  const { search, offset } = wanted;
  put("quota-count", total ? whole(total) : "");
  const of = search === "" ? `of ${whole(total)}` : `of ${whole(matched)} found, ${whole(total)} in all`;
  put("quota-place", quotas.length ? `${whole(offset + 1)} to ${whole(offset + quotas.length)} ${of}` : search && `none of ${whole(total)} found`);
  at("quota-back").disabled = offset === 0;
  at("quota-on").disabled = offset + quotas.length >= matched;
  at("quota-back").hidden = at("quota-on").hidden = offset === 0 && matched <= QUOTAS_SHOWN;
}

async function askQuotas() {
  const asked = { ...wanted };
  const query = new URLSearchParams({ ...asked, count: QUOTAS_SHOWN });
  const answer = await ask(`api/quotas?${query}`);
  if (!answer.ok) return;
  const page = await answer.json();
  if (JSON.stringify(asked) === JSON.stringify(wanted)) showQuotaPage(page);
}

function wantQuotas(change) {
  Object.assign(wanted, change);
  askQuotas().catch(error => console.warn("no list of quotas:", error));
}

async function watchQuotas() {
  at("quota-search").oninput = () => wantQuotas({ search: at("quota-search").value.trim(), offset: 0 });
  at("quota-sort").onchange = () => wantQuotas({ sort: at("quota-sort").value, offset: 0 });
  at("quota-back").onclick = () => wantQuotas({ offset: Math.max(0, wanted.offset - QUOTAS_SHOWN) });
  at("quota-on").onclick = () => wantQuotas({ offset: wanted.offset + QUOTAS_SHOWN });
  at("quota-other").onclick = () => askChange({ key: "", limit: null }, "limit");
  at("quota-tools").onsubmit = event => event.preventDefault();
  for (;;) {
    await pause(QUOTAS_PERIOD_MS);
    if (!isFirst()) await askQuotas().catch(error => console.warn("no list of quotas:", error));
  }
}

const CHANGES = {
  pause: ["Pause sales", "Every increment and decrement of this key is refused, at every gateway, until it is resumed.", "Pause"],
  reset: ["Reset", "What is configured holds again at every gateway: a limit that was set and a pause are forgotten.", "Reset"],
  resume: ["Resume sales", "The quota grants again as far as its limit allows.", "Resume"],
  limit: ["Change the limit", "It holds at every gateway within a second, until it is reset. The highest is 4,503,599,627,370,496 (2^52).", "Set limit"],
};

function askChange(quota, action) {
  const [title, text, verb] = CHANGES[action];
  put("change-title", title);
  put("change-key", quota.key);
  const isOther = quota.key === "";
  at("change-key").hidden = isOther;
  at("change-name-label").hidden = !isOther;
  at("change-name").required = isOther;
  at("change-name").value = isOther ? wanted.search : "";
  put("change-text", text);
  put("change-do", verb);
  put("change-fault", "");
  at("change-limit-label").hidden = action !== "limit";
  at("change-limit").required = action === "limit";
  at("change-limit").value = quota.limit ?? "";
  at("change-dialog").showModal();
  at("change-cancel").onclick = () => at("change-dialog").close();
  at("change-form").onsubmit = async event => {
    event.preventDefault();
    const key = isOther ? at("change-name").value : quota.key;
    const change = { key, action, ...(action === "limit" ? { limit: Number(at("change-limit").value) } : {}) };
    const { fault } = await post("api/quotas", change);
    if (fault) return put("change-fault", fault);
    at("change-dialog").close();
    await askQuotas().catch(() => {});
  };
}

// What the gateway answered to a change, or as `fault` why it was not done.
async function post(path, change) {
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change) };
    const response = await ask(path, options);
    const answer = await response.json();
    return response.ok ? answer : { fault: answer.error };
  } catch {
    return { fault: "The gateway did not answer; look at how it stands before trying again." };
  }
}

setInterval(showConnection, 500);
followForEver();
watchClients();
watchChanges();
watchEvents();
watchQuotas();
