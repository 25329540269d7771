// The ledger: how far the SQL database is behind what Redis has of sales, and what keeps it from going on. Nothing where none is configured.

import { rate, span, whole } from "./format.js";
import { Table, badge, nameLines, set, twoLines } from "./table.js";

const STATES = {
  following: ["following", "ok"], waiting: ["database away", "warning"], silent: ["not heard of", "critical"], unknown: ["not known yet", ""],
};

function behind(cell, ledger) {
  const late = ledger.late > 0 ? `${whole(ledger.late)} beyond lag_max: ${ledger.latest}` : "";
  twoLines(cell, `${whole(ledger.lag_entries)} entries`, late);
}

function gaps(cell, ledger) {
  twoLines(cell, ledger.halted > 0 ? whole(ledger.halted) : "none", ledger.halted_named.map(({ key, why }) => `${key}: ${why}`).join("; "));
}

const COLUMNS = [
  ["Database", "key", (cell, ledger) => nameLines(cell, ledger.database || "–", ledger.fault)],
  ["State", "plain", (cell, ledger) => badge(cell, ...(STATES[ledger.state] ?? [ledger.state, ""]))],
  ["Behind", "num", behind],
  ["Oldest waits", "num", (cell, ledger) => set(cell, ledger.lag_entries > 0 ? span(ledger.lag_s) : "–")],
  ["Rows", "num", (cell, ledger) => twoLines(cell, `${rate(ledger.rows_per_s)}/s`, `${whole(ledger.rows)} written`)],
  ["Sales", "num", (cell, ledger) => set(cell, whole(ledger.sales))],
  ["Gaps", "whole", gaps],
  ["Errors", "whole", (cell, ledger) => set(cell, ledger.errors.map(([cause, count]) => `${whole(count)} ${cause}`).join(", ") || "none")],
];

export function ledgerPanel() {
  const table = new Table("ledger", ledger => ledger.database, COLUMNS);
  const panel = document.getElementById("ledger-panel");
  return {
    show: ledger => {
      panel.hidden = !ledger;
      table.show(ledger ? [ledger] : []);
    },
  };
}
