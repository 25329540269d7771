// Sales of reservations: how each goes, and what an operator may change of it. A change needs the admin token and a second click.

import { post } from "./ask.js";
import { moment, percent, rate, span, whole } from "./format.js";
import { Table, at, badge, bar, nameLines, set, twoLines } from "./table.js";

const SHOWN = 20;

const STATES = {
  open: ["open", "ok"], notopen: ["not open yet", ""], soldout: ["sold out", "notice"], closed: ["closed", "warning"],
  ended: ["ended", ""], moved: ["moved", ""], none: ["not there", "warning"],
};
const REASONS = {
  sold_out: "sold out", closed: "closed", not_open: "not open", no_sku: "not there", per_user: "beyond PERUSER",
  not_holder: "no booking", ledger_full: "ledger not read", not_held: "nothing held", gone: "moved",
};

// When it opens, if that is ahead; otherwise when it ends.
function times({ state, start_ms, end_ms }) {
  if (state === "notopen") return `opens ${moment(start_ms)}`;
  if (end_ms > 0) return `${state === "ended" ? "ended" : "ends"} ${moment(end_ms)}`;
  return "";
}

function taken(cell, sale) {
  // That a sale sells is no trouble.
  const tone = sale.state === "open" ? "" : "dim";
  bar(cell, sale.taken_share, percent(sale.taken_share), tone, true);
}

function refused(cell, sale) {
  const most = sale.refused.filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]).slice(0, 2);
  twoLines(cell, `${rate(sale.refused_per_s)}/s`, most.map(([why, count]) => `${whole(count)} ${REASONS[why] ?? why}`).join(", "));
}

const COLUMNS = [
  ["Sale", "key", (cell, sale) => nameLines(cell, sale.key, times(sale))],
  ["State", "plain", (cell, sale) => badge(cell, ...(STATES[sale.state] ?? [sale.state, ""]))],
  ["Taken", "whole", taken],
  ["Left", "num", (cell, sale) => twoLines(cell, isOver(sale) ? "–" : whole(Math.max(0, sale.limit - sale.taken)), `of ${whole(sale.limit)}`)],
  ["Held · confirmed", "num", (cell, sale) => twoLines(cell, `${whole(sale.held)} · ${whole(sale.confirmed)}`, sale.cancelled > 0 ? `${whole(sale.cancelled)} given back here` : "")],
  ["Rate", "num", (cell, sale) => set(cell, isOver(sale) ? "–" : `${rate(sale.taken_per_s)}/s`)],
  ["Refused", "num", refused],
  ["Sold out in", "num", (cell, sale) => set(cell, sale.sold_out_in_s === null ? "–" : span(sale.sold_out_in_s))],
  ["Change", "whole plain controls", controls],
];

const isOver = sale => sale.state === "moved" || sale.state === "none";

function controls(cell, sale) {
  cell.sale = sale;
  if (!cell.buttons) {
    const make = (label, action) => {
      const button = cell.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => askChange(cell.sale, action(cell.sale)));
      return button;
    };
    cell.toggle = make("Close …", shown => (shown.state === "closed" ? "reopen" : "close"));
    cell.buttons = [cell.toggle, make("Limit …", () => "limit"), make("End …", () => "extend"), make("Move …", () => "move")];
  }
  set(cell.toggle, sale.state === "closed" ? "Reopen …" : "Close …");
  for (const button of cell.buttons) {
    button.disabled = isOver(sale);
    button.setAttribute("aria-label", `${button.textContent.slice(0, -2)}: ${sale.key}`);
  }
}

// Title, text, the verb on the button, and the fields that it asks for.
const CHANGES = {
  open: ["Open a sale", "It gives places at once, at every gateway. With a name that is there, its terms change.", "Open", ["name", "limit", "hold", "end"]],
  close: ["Close the sale", "No place is given at any gateway, until it is reopened. Who holds one keeps it.", "Close", []],
  reopen: ["Reopen the sale", "It gives places again.", "Reopen", []],
  limit: ["Change the limit", "It holds at every gateway within reserve.recheck. It can't be below the places that are taken.", "Set limit", ["limit"]],
  extend: ["Change the end", "Until then places are given, by Redis's clock.", "Set end", ["end"]],
  move: ["Move all holders", "They go over to another sale, in order. This one gives no more places, and can't be opened again.", "Move", ["to"]],
};

// What the fields say, as the body of the change.
function change(sale, action) {
  const key = action === "open" ? at("sale-name").value : sale.key;
  const endMs = at("sale-end").value ? new Date(at("sale-end").value).getTime() : undefined;
  const limit = at("sale-limit").value === "" ? undefined : Number(at("sale-limit").value);
  switch (action) {
    case "open": return { key, action, limit, end_ms: endMs, hold_ms: at("sale-hold").value === "" ? undefined : Number(at("sale-hold").value) * 1000 };
    case "limit": return { key, action: "open", limit };
    case "extend": return { key, action: "open", end_ms: endMs };
    case "move": return { key, action, to: at("sale-to").value };
    default: return { key, action };
  }
}

// A time as the field of the browser writes it, in the place's own time.
function local(ms) {
  const time = new Date(ms);
  return new Date(ms - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function askChange(sale, action) {
  const [title, text, verb, fields] = CHANGES[action];
  set(at("sale-dialog-title"), title);
  set(at("sale-key"), sale.key);
  at("sale-key").hidden = action === "open";
  set(at("sale-text"), text);
  set(at("sale-do"), verb);
  set(at("sale-fault"), "");
  for (const label of at("sale-form").querySelectorAll("label")) {
    const { field } = label.dataset;
    label.hidden = !fields.includes(field);
    label.querySelector("input").required = fields.includes(field) && (action !== "open" || field === "name" || field === "limit");
  }
  at("sale-name").value = "";
  at("sale-to").value = "";
  at("sale-hold").value = "";
  at("sale-limit").value = sale.limit ?? "";
  at("sale-end").value = sale.end_ms > 0 ? local(sale.end_ms) : "";
  at("sale-dialog").showModal();
  at("sale-cancel").onclick = () => at("sale-dialog").close();
  at("sale-form").onsubmit = event => {
    event.preventDefault();
    carryOut(change(sale, action));
  };
}

// A move of many holders takes several commands; each says how many are left.
async function carryOut(body) {
  at("sale-do").disabled = true;
  for (;;) {
    const { fault, left } = await post("api/sales", body);
    if (!at("sale-dialog").open) break;
    if (fault) {
      set(at("sale-fault"), fault);
      break;
    }
    if (!left) {
      at("sale-dialog").close();
      break;
    }
    set(at("sale-text"), `${whole(left)} holders are left to move …`);
  }
  at("sale-do").disabled = false;
}

export function salesPanel() {
  const table = new Table("sales", sale => sale.key, COLUMNS, sale => ["ended", "moved", "none"].includes(sale.state) && sale.refused_per_s < 1);
  at("sale-open").onclick = () => askChange({ key: "" }, "open");
  at("sale-tools").onsubmit = event => event.preventDefault();
  return {
    show: (sales, total) => {
      table.show(sales.slice(0, SHOWN));
      set(at("sale-count"), total ? whole(total) : "");
      set(at("sale-place"), total > SHOWN ? `the first ${SHOWN} of ${whole(total)}, by places taken` : "");
    },
  };
}
