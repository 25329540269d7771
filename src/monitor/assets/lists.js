// Clients, events and changes by operators: lists that are asked for while their page is shown.

import { get, post } from "./ask.js";
import { confirm } from "./confirm.js";
import { bytes, moment, span, whole } from "./format.js";
import { whileShown } from "./pages.js";
import { Table, agoS, at, badge, nameLines, put, set, shortened, twoLines } from "./table.js";

const PERIOD_MS = 2000;
const CLIENTS_SHOWN = 200;
const EVENTS_SHOWN = 200;
const EVENTS_ASKED = 1000;
const OVERVIEW_SHOWN = 5;

function clientsTable() {
  return new Table("clients", client => client.id, [
    ["Address", "key", (cell, client) => twoLines(cell, client.address, `#${client.id}, worker ${client.worker}, RESP${client.resp}`)],
    ["Name", "", (cell, client) => twoLines(cell, client.name || "–", client.library)],
    ["User", "", (cell, client) => set(cell, client.user || "–")],
    ["Age", "num", (cell, client) => set(cell, span(client.age_s))],
    ["Idle", "num", (cell, client) => set(cell, span(client.idle_s))],
    ["Requests", "num", (cell, client) => twoLines(cell, whole(client.requests), client.last_command ? `last ${client.last_command}` : "")],
    ["Bytes in · out", "num", (cell, client) => set(cell, `${bytes(client.bytes_in)} · ${bytes(client.bytes_out)}`)],
    ["Errors", "num", (cell, client) => set(cell, whole(client.errors))],
    ["Slow replies", "num", (cell, client) => set(cell, whole(client.slow_replies))],
    ["Buffered", "num", (cell, client) => set(cell, bytes(client.buffered_in_bytes + client.buffered_out_bytes))],
    ["Change", "plain controls", closing],
  ]);
}

const EVENT_TONES = { hot: "notice", node_down: "critical", reload_refused: "critical", certificate_refused: "critical", failover: "warning", clients_refused: "warning", node_up: "ok" };

// What an event is called: "node down".
export const eventName = ({ kind, times }) => `${kind.replaceAll("_", " ")}${times > 1 ? ` ×${whole(times)}` : ""}`;

export function eventsTable(id) {
  return new Table(id, event => event.id, [
    ["Event", "plain", (cell, event) => badge(cell, eventName(event), EVENT_TONES[event.kind] ?? "")],
    ["Of", "key", (cell, event) => nameLines(cell, event.subject, "")],
    ["Ago", "num", (cell, event) => {
      set(cell, span(agoS(event.last_ms)));
      cell.title = moment(event.at_ms);
    }],
    ["What", "whole", (cell, event) => set(cell, shortened(event.text) || "–")],
    ["Who", "", (cell, event) => set(cell, event.by || "–")],
  ]);
}

export function changesTable(id) {
  return new Table(id, change => change.id, [
    ["Change", "key", (cell, change) => nameLines(cell, change.object || change.change, change.times > 1 ? `${change.change}, ${whole(change.times)} times` : change.change)],
    ["Who", "", (cell, change) => twoLines(cell, change.user, change.address)],
    ["Ago", "num", (cell, change) => set(cell, span(agoS(change.last_ms)))],
    ["Before", "", (cell, change) => set(cell, shortened(change.before) || "–")],
    ["After", "", (cell, change) => set(cell, change.outcome === "done" ? shortened(change.after) || "–" : `not done: ${change.outcome}`)],
    ["Reason", "", (cell, change) => set(cell, change.reason || "–")],
  ]);
}

// Has a client's connection closed, after a second click.
function closing(cell, client) {
  cell.client = client;
  if (!cell.button) {
    cell.button = cell.appendChild(document.createElement("button"));
    cell.button.type = "button";
    cell.button.textContent = "Close …";
    cell.button.addEventListener("click", () => askToClose(cell.client));
  }
  cell.button.setAttribute("aria-label", `Close the connection of ${client.address}`);
}

function askToClose({ id, address, name }) {
  confirm({
    title: "Close a connection",
    key: name ? `${address} (${name})` : address,
    text: "The client loses its connection, and with it what it has not been answered. Most libraries connect again at once.",
    verb: "Close it",
    send: async ({ reason }) => (await post("api/clients", { action: "kill", id, reason })).fault,
  });
}

// The gateway chooses which clients come first and which are found; here they are in the same order.
const ORDERS = {
  requests: client => client.requests,
  bytes: client => client.bytes_in + client.bytes_out,
  errors: client => client.errors,
  slow: client => client.slow_replies,
  idle: client => client.idle_s,
  id: client => -client.id,
};

// Whether a row holds what is searched for.
const holds = (row, search) => search === "" || Object.values(row).join("\n").toLowerCase().includes(search);
const search = id => at(id).value.trim().toLowerCase();

// Shows a list again as soon as something else of it is wanted.
function tools(id, again) {
  at(id).onsubmit = event => event.preventDefault();
  at(id).oninput = again;
}

function clientsPanel() {
  const table = clientsTable();
  let latest = null;
  const show = () => {
    if (!latest) return;
    const found = latest.clients.filter(client => holds(client, search("client-search")));
    const order = ORDERS[at("client-sort").value];
    found.sort((a, b) => order(b) - order(a));
    table.show(found);
    const isCut = latest.found > latest.clients.length;
    put("client-place", isCut ? `the first ${whole(found.length)} of ${whole(latest.found)}` : `${whole(found.length)} shown`);
    put("clients-note", latest.workers_missing ? `${latest.workers_missing} workers were too busy to answer.` : "");
  };
  const fetchFirst = () => get(`api/clients?${new URLSearchParams({ sort: at("client-sort").value, search: at("client-search").value.trim(), limit: CLIENTS_SHOWN })}`);
  const take = answer => { latest = answer; show(); };
  // What is known is shown at once, and what is asked for when it has come.
  tools("client-tools", () => { show(); fetchFirst().then(take).catch(error => console.warn("no list of clients:", error)); });
  whileShown("clients", PERIOD_MS, fetchFirst, take);
}

function eventsPanel() {
  const table = eventsTable("events");
  let latest = [];
  const show = () => {
    const kind = at("event-kind").value;
    const found = latest.filter(event => (kind === "" || event.kind === kind) && holds(event, search("event-search")));
    table.show(found.slice(0, EVENTS_SHOWN));
    put("event-place", found.length > EVENTS_SHOWN ? `the latest ${EVENTS_SHOWN} of ${whole(found.length)}` : `${whole(found.length)} shown`);
  };
  tools("event-tools", show);
  whileShown("events", PERIOD_MS, () => get(`api/events?count=${EVENTS_ASKED}`), ({ events }) => {
    latest = events;
    offerKinds(events);
    show();
  });
}

// The kinds that there are; the one that is chosen stays.
function offerKinds(events) {
  const select = at("event-kind");
  const known = new Set([...select.options].map(option => option.value));
  for (const kind of [...new Set(events.map(event => event.kind))].sort()) {
    if (!known.has(kind)) select.add(new Option(kind.replaceAll("_", " "), kind));
  }
}

// What happened lately on the overview, and as marks on its charts. That a key is no longer hot needs none.
function overviewEvents(asked, mark) {
  const table = eventsTable("overview-events");
  whileShown("overview", PERIOD_MS, () => get(`api/events?count=${asked()}`), ({ events }) => {
    const told = events.filter(event => event.kind !== "cooled");
    table.show(told.slice(0, OVERVIEW_SHOWN));
    mark(told.map(event => ({ kind: event.kind, at_ms: event.at_ms, label: `${eventName(event)} ${event.subject}` })));
  });
}

// `mark` gets the events that charts are marked with, at most as many as `asked` says.
export function listPanels(asked, mark) {
  clientsPanel();
  eventsPanel();
  overviewEvents(asked, mark);
  const changes = changesTable("changes");
  whileShown("configuration", PERIOD_MS, () => get("api/audit"), answer => changes.show(answer.changes));
}
