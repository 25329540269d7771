// Figures by command: calls, errors, times; over all, or by node, by cluster, by tenant, and the errors that clients got.

import { get } from "./ask.js";
import { micros, percent, rate, whole } from "./format.js";
import { isShown, onPage, rest, whileShown } from "./pages.js";
import { Table, at, bar, nameLines, put, set, twoLines } from "./table.js";

const PERIOD_MS = 2000;
const SHOWN = 100;
const KINDS = { command: "commands", node: "nodes", cluster: "clusters", tenant: "tenants", error: "errors" };

// The address says by what: `#/commands/by-node`.
function by() {
  const word = rest().replace(/^by-/, "");
  return KINDS[word] ? word : "command";
}

// They are the upper bounds of buckets.
const times = ({ p50_us, p99_us }) => (p99_us > 0 ? `≤ ${micros(p50_us)} · ${micros(p99_us)}` : "–");
const p99 = ({ p99_us }) => (p99_us > 0 ? `≤ ${micros(p99_us)}` : "–");

function failed(cell, perS, text) {
  cell.classList.toggle("bad-text", perS > 0);
  twoLines(cell, `${rate(perS)}/s`, text);
}

const OF_COMMANDS = [
  ["Command", "key", (cell, row) => set(cell, row.command.replaceAll("|", " ").toUpperCase())],
  ["Calls", "num strong", (cell, row) => twoLines(cell, `${rate(row.calls_per_s)}/s`, `${whole(row.calls)} in all`)],
  ["Share", "num", (cell, row) => bar(cell, row.share, percent(row.share), "")],
  ["Failed", "num", (cell, row) => failed(cell, row.failed_per_s, `${whole(row.failed)} in all`)],
  ["Rejected", "num", (cell, row) => failed(cell, row.rejected_per_s, `${whole(row.rejected)} in all`)],
  ["p50 · p99", "num", (cell, row) => set(cell, times(row.request_time))],
  ["Redis p99", "num", (cell, row) => set(cell, p99(row.upstream_time))],
  ["hotgate adds p99", "num", (cell, row) => set(cell, p99(row.gateway_time))],
];

const OF_PARTS = [
  ["Of", "key", (cell, row) => nameLines(cell, row.of, "")],
  ["Command", "", (cell, row) => set(cell, row.command.replaceAll("|", " ").toUpperCase())],
  ["Calls", "num strong", (cell, row) => twoLines(cell, `${rate(row.calls_per_s)}/s`, `${whole(row.calls)} in all`)],
  ["Errors", "num", (cell, row) => failed(cell, row.errors_per_s, `${whole(row.errors)} in all`)],
  ["Mean", "num", (cell, row) => set(cell, row.mean_us > 0 ? micros(row.mean_us) : "–")],
];

const OF_ERRORS = [
  ["Error", "key", (cell, row) => set(cell, row.code)],
  ["Now", "num", (cell, row) => failed(cell, row.per_s, "")],
  ["In all", "num", (cell, row) => set(cell, whole(row.count))],
];

const ORDERS = {
  calls: row => row.calls_per_s ?? row.per_s,
  errors: row => (row.failed_per_s ?? row.errors_per_s ?? row.per_s) + (row.rejected_per_s ?? 0),
  slow: row => row.request_time?.p99_us ?? row.mean_us ?? 0,
};

// What is busiest now stands first; of what rests, what was busiest ever.
function sorted(rows) {
  const order = ORDERS[at("command-sort").value];
  return [...rows].sort((a, b) => order(b) - order(a) || (b.calls ?? b.count) - (a.calls ?? a.count));
}

export function commandsPanel() {
  const tables = {
    command: new Table("commands", row => row.command, OF_COMMANDS),
    part: new Table("command-parts", row => `${row.of}\n${row.command}`, OF_PARTS),
    error: new Table("command-errors", row => row.code, OF_ERRORS),
  };
  const table = () => tables[by()] ?? tables.part;
  let latest = [];
  const show = rows => {
    latest = rows;
    const search = at("command-search").value.trim().toLowerCase();
    const found = sorted(rows).filter(row => `${row.of ?? ""} ${row.command ?? row.code}`.toLowerCase().includes(search));
    for (const other of Object.values(tables)) other.table.parentElement.hidden = other !== table();
    table().show(found.slice(0, SHOWN));
    put("command-place", found.length > SHOWN ? `the first ${SHOWN} of ${whole(found.length)}` : `${whole(found.length)} shown`);
  };
  at("command-tools").onsubmit = event => event.preventDefault();
  at("command-by").onchange = () => { location.hash = `#/commands/by-${at("command-by").value}`; };
  at("command-search").oninput = () => show(latest);
  at("command-sort").onchange = () => show(latest);
  onPage(() => {
    if (!isShown("commands")) return;
    if (at("command-by").value !== by()) show([]);
    at("command-by").value = by();
  });
  at("command-by").value = by();
  whileShown("commands", PERIOD_MS, async () => (await get(`api/commands?by=${by()}`))[KINDS[by()]], show);
}
