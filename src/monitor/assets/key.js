// A key's own page: how it is used, by whom and with what, what is done with it and why, what was refused, who changed what. Its name stands in
// the address. A change needs the right and a second click.

import { get, post } from "./ask.js";
import { Chart } from "./charts.js";
import { confirm } from "./confirm.js";
import { bytes, micros, moment, percent, rate, span, whole } from "./format.js";
import { changesTable, eventsTable } from "./lists.js";
import { isShown, onPage, rest, whileShown } from "./pages.js";
import { quotaRows } from "./quotas.js";
import { requestsTable } from "./slowlog.js";
import { Table, agoS, at, bar, nameLines, put, set, twoLines } from "./table.js";

const PERIOD_MS = 1000;
const RANGE = { slots: 600, since: "10 min ago" };
const CLASS_WORDS = { read: "mostly read", write: "mostly written", counter: "a counter", bytes: "many bytes" };
const MODE_WORDS = { fold: "An operator says that it is always folded.", never: "An operator says that it is never folded." };

// What is done with its operations, and why.
function course(hot, mode) {
  const said = MODE_WORDS[mode] ?? "";
  if (!hot) return `It is not hot, so its requests go to Redis as they came. ${said}`;
  const node = hot.node || "its node";
  const since = hot.course_for_ms > 0 ? ` for ${span(hot.course_for_ms / 1000)}` : "";
  const words = {
    "passing": `Its requests go as they came${since}: no work queues at ${node}.`,
    "folding": `Its requests are folded${since}: they had queued for ${micros(hot.queue_us)} at ${node} when that began.`,
    "probing": `It is being tried whether its requests may go as they came again: they were folded${since}.`,
    "folding always": "Its requests are folded whether its node queues or not: a rule, a quota or an operator says so.",
  };
  const parts = [words[hot.course] ?? "Its requests go as they came: no worker has it combined."];
  if (hot.probe_in_ms !== null) parts.push(`In ${span(hot.probe_in_ms / 1000)} it is tried whether they may pass again.`);
  if (hot.turn_wait_us > 0) parts.push(`Its flushes wait up to ${micros(hot.turn_wait_us)} for their turn at the node.`);
  if (hot.cache_hits_per_s > 0) parts.push(`${rate(hot.cache_hits_per_s)}/s of its reads are answered from copies.`);
  if (hot.unfolded.length > 0) parts.push(`These commands on it do not fold: ${hot.unfolded.join(", ")}.`);
  return [...parts, said].filter(Boolean).join(" ");
}

function facts(hot) {
  if (!hot) return [];
  const place = [hot.cluster && hot.cluster !== "default" ? `cluster ${hot.cluster}` : "", hot.tenant ? `tenant ${hot.tenant}` : ""];
  const saved = hot.offered_per_s > 0 ? Math.max(0, 1 - hot.flushed_per_s / hot.offered_per_s) : null;
  const rows = [
    ["Rate", `${rate(hot.requests_per_s)}/s`, `peak ${rate(hot.peak_per_s)}/s`],
    ["Share", percent(hot.share), "of all key accesses"],
    ["Reads · writes", `${rate(hot.reads_per_s)} · ${rate(hot.writes_per_s)}/s`, CLASS_WORDS[hot.class] ?? hot.class],
    ["Traffic", `${bytes(hot.bytes_per_s)}/s`, "requests and replies"],
    ["Connections", hot.connections > 0 ? `about ${whole(hot.connections)}` : "–", ""],
    ["Node", hot.node || "not known", place.filter(Boolean).join(", ")],
    ["Hot for", span(agoS(hot.since_ms)), `since ${moment(hot.since_ms)}`],
  ];
  if (saved !== null) rows.push(["Folded", `${rate(hot.offered_per_s)} → ${rate(hot.flushed_per_s)}/s`, `${percent(saved)} kept from Redis, +${micros(hot.added_wait_us ?? 0)} wait`]);
  return [Object.fromEntries(rows.map(([name, value, more]) => [name, { value, more }]))];
}

const FACTS = ["Rate", "Share", "Reads · writes", "Traffic", "Connections", "Node", "Hot for", "Folded"];

function factsTable() {
  const column = name => [name, "", (cell, row) => twoLines(cell, row[name]?.value ?? "–", row[name]?.more ?? "")];
  return new Table("key-facts", () => "key", FACTS.map(column));
}

const share = row => row.share;
const shareBar = (cell, row) => bar(cell, share(row), percent(share(row)), "");

// Who a client is, as far as the list of clients has it.
let clients = new Map();

function clientsTable() {
  return new Table("key-clients", row => row.id, [
    ["Client", "key", (cell, row) => {
      const client = clients.get(row.id);
      nameLines(cell, client?.address ?? `#${row.id}`, [client?.name, client?.library].filter(Boolean).join(", "));
    }],
    ["User", "", (cell, row) => set(cell, clients.get(row.id)?.user || "–")],
    ["Share of its requests", "num", shareBar],
  ]);
}

const CHANGES = {
  fold: ["Fold always", "Its requests are folded whether its node queues or not, which adds up to combine.flush_interval to each. It holds at this gateway, until it is left to the gateway again or the gateway restarts.", "Fold always"],
  never: ["Never fold", "Its requests go to Redis as they came, also while they queue at its node. It holds at this gateway, until it is left to the gateway again or the gateway restarts.", "Never fold"],
  auto: ["Leave it to the gateway", "What the configuration says holds again.", "Leave it"],
};

function askChange(action, again) {
  const [title, text, verb] = CHANGES[action];
  const key = rest();
  confirm({
    title, key, text, verb,
    send: async ({ reason }) => {
      const { fault } = await post("api/key", { key, action, reason });
      if (!fault) await again();
      return fault;
    },
  });
}

function charts() {
  const chart = (tile, series, format) => new Chart(document.querySelector(`#${tile} .chart`), series, format);
  const perSecond = value => (value === null ? "–" : `${rate(value)}/s`);
  return [
    chart("key-rate", [{ name: "requests_per_s", label: "", tone: "" }, { name: "flushed_per_s", label: "Redis", tone: "second" }], perSecond),
    chart("key-share", [{ name: "share", label: "", tone: "" }], percent),
    chart("key-refused", [{ name: "refused_per_s", label: "", tone: "bad" }], perSecond),
  ];
}

export function keyPage() {
  const drawn = charts();
  const tables = {
    facts: factsTable(), clients: clientsTable(), quotas: quotaRows("key-quotas"), requests: requestsTable("key-requests"),
    events: eventsTable("key-events"), changes: changesTable("key-changes"),
    commands: new Table("key-commands", row => row.command, [
      ["Command", "key", (cell, row) => set(cell, row.command.toUpperCase())],
      ["Share of its requests", "num", shareBar],
    ]),
  };
  const list = (name, rows) => {
    at(`key-${name}-panel`).hidden = rows.length === 0;
    tables[name].show(rows);
  };
  const show = ([known, listed]) => {
    if (known.key !== rest()) return;
    if (listed) clients = new Map(listed.clients.map(client => [client.id, client]));
    put("key-course", course(known.hot, known.mode));
    tables.facts.show(facts(known.hot));
    tables.commands.show(known.used_by?.commands ?? []);
    tables.clients.show(known.used_by?.clients ?? []);
    at("key-tiles").hidden = !known.history;
    at("key-refused").hidden = known.quotas.length === 0;
    for (const chart of drawn) if (known.history) chart.draw(known.history, RANGE);
    for (const name of ["quotas", "requests", "events", "changes"]) list(name, known[name]);
    for (const chart of drawn) chart.happen(known.events.map(event => ({ at_ms: event.at_ms, label: event.kind.replaceAll("_", " ") })));
    for (const button of at("key-actions").querySelectorAll("button")) button.disabled = button.dataset.action === known.mode;
  };
  // Who the clients are changes seldom, and the list is long.
  let asked = 0;
  const fetchAll = () => {
    const wantsClients = asked % 5 === 0;
    asked += 1;
    return Promise.all([get(`api/key?${new URLSearchParams({ key: rest() })}`), wantsClients ? get("api/clients").catch(() => null) : null]);
  };
  for (const button of at("key-actions").querySelectorAll("button")) {
    button.onclick = () => askChange(button.dataset.action, async () => show(await fetchAll()));
  }
  const follow = () => {
    if (!isShown("key") || at("key-name").textContent === rest()) return;
    put("key-name", rest());
    put("key-course", "");
    for (const name of ["quotas", "requests", "events", "changes"]) list(name, []);
    for (const name of ["facts", "commands", "clients"]) tables[name].show([]);
    asked = 0;
  };
  onPage(follow);
  follow();
  whileShown("key", PERIOD_MS, fetchAll, show);
}
