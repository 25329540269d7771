// What this gateway is: version, addresses, file, certificates. From the frame, so it needs no question of its own.

import { moment, span, whole } from "./format.js";
import { Table, at, badge, nameLines, set, twoLines } from "./table.js";

function facts({ gateway, upstream_version, upstream_kind, uptime_s }) {
  const rows = [
    ["Version", gateway.version, `gateway ${gateway.id}`],
    ["Up", span(uptime_s), `since ${moment(gateway.started_unix_ms)}`],
    ["Clients connect to", gateway.listen.join(", "), `${whole(gateway.workers)} workers`],
    ["Configuration file", gateway.config_file || "none", gateway.config_file ? "kill -HUP reads it again" : "command line and defaults only"],
    ["Upstream", upstream_version ? `Redis ${upstream_version}` : "not known yet", upstream_kind === "cluster" ? "cluster" : "one server"],
  ];
  return rows.map(([name, value, more]) => ({ name, value, more }));
}

const SOON_S = 14 * 86_400;

function certificateState({ refused, expires_in_s }) {
  if (refused) return ["not taken", "critical"];
  if (expires_in_s === null) return ["shows none", ""];
  if (expires_in_s <= 0) return ["expired", "critical"];
  return expires_in_s < SOON_S ? ["ends soon", "warning"] : ["in force", "ok"];
}

export function factsPanel() {
  const table = new Table("facts", row => row.name, [
    ["What", "plain", (cell, row) => set(cell, row.name)],
    ["Value", "whole", (cell, row) => twoLines(cell, row.value, row.more)],
  ]);
  const certificates = new Table("certificates", row => row.table, [
    ["Table", "key", (cell, row) => nameLines(cell, row.table, row.file ?? "")],
    ["State", "plain", (cell, row) => badge(cell, ...certificateState(row))],
    ["Holds for", "num", (cell, row) => set(cell, row.expires_in_s > 0 ? span(row.expires_in_s) : "–")],
    ["Why not", "whole", (cell, row) => set(cell, row.refused ?? "–")],
  ]);
  return {
    show: stats => {
      table.show(facts(stats));
      at("certificates-panel").hidden = stats.totals.certificates.length === 0;
      certificates.show(stats.totals.certificates);
    },
  };
}
