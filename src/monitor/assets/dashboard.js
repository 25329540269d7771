// The page's course: show each frame of the event stream, say so when the stream breaks.

import { get } from "./ask.js";
import { bigKeysPanel } from "./bigkeys.js";
import { commandsPanel } from "./commands.js";
import { configurationPanel } from "./configuration.js";
import { factsPanel } from "./facts.js";
import { bytes, clock, micros, moment, percent, rate, span, whole } from "./format.js";
import { begin, eventsAsked, extend, happen, historyCharts } from "./history.js";
import { keyPage } from "./key.js";
import { ledgerPanel } from "./ledger.js";
import { listPanels } from "./lists.js";
import { isShown, onPage, pageTitle, startPages } from "./pages.js";
import { quotasPanel } from "./quotas.js";
import { routesPanel } from "./routes.js";
import { salesPanel } from "./sales.js";
import { slowlogPanel } from "./slowlog.js";
import { followForEver } from "./stream.js";
import { at, put, setClock } from "./table.js";
import { hotKeysPanel, nodesPanel } from "./tables.js";

const SILENCE_MS = 3500;

// Lines break between the parts and not within one.
const putParts = (id, parts) => put(id, parts.map(part => part.replaceAll(" ", "\u00a0")).join(" · "));

startPages();
const panels = { hot: hotKeysPanel(), nodes: nodesPanel(), quotas: quotasPanel(), sales: salesPanel(), ledger: ledgerPanel(), routes: routesPanel(), facts: factsPanel() };

let lastFrameMs = performance.now();
let lastFigures = null;
let lastFrame = null;
let rights = "";

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

// Who may only look is offered no change. Whoever changes something is asked by the gateway in any case.
async function learnRights() {
  const { name, may_change, why } = await get("api/caller");
  document.body.classList.toggle("looker", !may_change);
  rights = may_change ? `changes as ${name}` : why;
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
  put("footer", `hotgate ${gateway.version} · gateway ${gateway.id.slice(0, 8)} · ${gateway.workers} workers · up ${span(uptime_s)} · figures of ${clock(lastFigures)}${rights && ` · ${rights}`}`);
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

historyCharts();
listPanels(eventsAsked, happen);
commandsPanel();
bigKeysPanel();
configurationPanel();
slowlogPanel();
keyPage();
onPage(showPage);
setInterval(showConnection, 500);
learnRights().catch(error => console.warn("rights are not known:", error));
followForEver(begin, showFrame);
