// The configuration in force: each value and where it comes from, which rules, quotas and the like there are and how many keys each holds, what
// waits for a restart and what was refused.

import { get } from "./ask.js";
import { whole } from "./format.js";
import { whileShown } from "./pages.js";
import { Table, at, badge, nameLines, put, set, shortened, twoLines } from "./table.js";

const PERIOD_MS = 5000;

function origin(cell, row) {
  const line = row.line === null ? "" : `line ${row.line}`;
  twoLines(cell, row.from, line);
}

function reload(cell, row) {
  if (row.waits_for_restart) return badge(cell, "waits for a restart", "warning");
  badge(cell, row.reload ? "reload" : "restart", "");
}

const WHICH = {
  other: row => !row.is_default || row.waits_for_restart,
  waits: row => row.waits_for_restart,
  all: () => true,
};

function faults({ refused, secrets_refused, restart_needed }) {
  const waiting = restart_needed.length ? [`Changed in the file, and only a restart takes it: ${restart_needed.join(", ")}`] : [];
  return [...refused.map(why => `The last reload was refused: ${why}`), ...secrets_refused.map(why => `A secret is not taken: ${why}`), ...waiting];
}

export function configurationPanel() {
  const directives = new Table("directives", row => row.path, [
    ["Directive", "key", (cell, row) => nameLines(cell, row.path, row.meaning)],
    ["Value", "whole key", (cell, row) => twoLines(cell, shortened(row.value) || "unset", row.is_default ? "" : `default ${row.default || "unset"}`)],
    ["From", "", origin],
    ["Taken by", "plain", reload],
  ]);
  const tables = new Table("config-tables", row => `${row.kind} ${row.index}`, [
    ["Table", "plain", (cell, row) => twoLines(cell, row.kind.replaceAll("_", " "), row.line === null ? "" : `line ${row.line}`)],
    ["What it says", "whole key", (cell, row) => set(cell, row.text)],
    ["Keys", "num", (cell, row) => set(cell, row.keys === null ? "–" : whole(row.keys))],
    ["Hot keys", "num", (cell, row) => set(cell, row.hot_keys === null ? "–" : whole(row.hot_keys))],
  ]);
  let latest = null;
  const show = () => {
    if (!latest) return;
    const search = at("directive-search").value.trim().toLowerCase();
    const isShown = WHICH[at("directive-which").value];
    const found = latest.directives.filter(row => isShown(row) && `${row.path} ${row.value} ${row.meaning}`.toLowerCase().includes(search));
    directives.show(found);
    put("directive-place", `${whole(found.length)} of ${whole(latest.directives.length)} shown`);
    at("config-tables-panel").hidden = latest.tables.length === 0;
    tables.show(latest.tables);
    const lines = faults(latest).map(text => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    });
    at("config-faults").replaceChildren(...lines);
    at("config-faults").hidden = lines.length === 0;
  };
  at("directive-tools").onsubmit = event => event.preventDefault();
  at("directive-tools").oninput = show;
  whileShown("configuration", PERIOD_MS, () => get("api/config"), answer => { latest = answer; show(); });
}
