// Quotas: the foremost ones come with every frame; what is searched for, sorted or further on is asked for. A change needs the right and a
// second click.

import { get, post } from "./ask.js";
import { confirm } from "./confirm.js";
import { percent, rate, span, whole } from "./format.js";
import { isShown, whileShown } from "./pages.js";
import { Table, agoS, at, badge, bar, keyAddress, linkedName, put, set, twoLines } from "./table.js";

const PERIOD_MS = 1000;
const SHOWN = 20;
const OVERVIEW_SHOWN = 5;

function quotaState(quota) {
  if (quota.refused_unavailable_per_s > 0) return ["Redis away", "critical"];
  if (quota.fault) return ["can't apply", "critical"];
  if (quota.paused) return ["paused", "warning"];
  if (!quota.enforce) return ["shadow", ""];
  if (quota.exhausted) return [quota.window_ms === null ? "sold out" : "at its rate", "notice"];
  return ["open", "ok"];
}

const REFUSALS = { exhausted: "used up", paused: "paused", unavailable: "Redis away", unconfirmed: "too few replicas", fault: "can't apply" };

const identity = quota => `${quota.key}\n${quota.quota}`;

const COLUMNS = [
  ["Key", "key", (cell, quota) => linkedName(cell, keyAddress(quota.key), quota.key, quota.quota)],
  ["State", "plain", (cell, quota) => badge(cell, ...quotaState(quota))],
  ["Used", "whole", (cell, quota) => {
    const share = quota.used_share ?? 0;
    // That it is used is no trouble.
    bar(cell, share, quota.used_share === null ? "not known" : percent(share), quota.paused ? "dim" : "", true);
  }],
  ["Remaining", "num", (cell, quota) => {
    const of = quota.limit === null ? "limit not known" : quota.counts_down ? `above ${whole(quota.limit)}` : `of ${whole(quota.limit)}`;
    const by = quota.limit_overridden ? `, set by ${quota.limit_by || "an operator"}` : "";
    twoLines(cell, quota.remaining === null ? "–" : whole(quota.remaining), `${of}${by}`);
    cell.classList.toggle("set", quota.limit_overridden);
  }],
  ["Granted", "num", (cell, quota) => twoLines(cell, `${rate(quota.admitted_per_s)}/s`, `${whole(quota.admitted)} in all`)],
  ["Refused", "num", (cell, quota) => {
    const refused = Object.values(quota.refused).reduce((sum, count) => sum + count, 0);
    const shadow = quota.enforce ? "" : `${whole(quota.would_refuse)} would be`;
    const last = quota.last_refused_ms ? `, last ${span(agoS(quota.last_refused_ms))} ago: ${REFUSALS[quota.last_refused] ?? quota.last_refused}` : "";
    twoLines(cell, `${rate(quota.refused_per_s)}/s`, shadow || `${whole(refused)} in all${last}`);
  }],
  ["Sold out in", "num", (cell, quota) => set(cell, quota.sold_out_in_s === null ? "–" : span(quota.sold_out_in_s))],
  ["Change", "whole plain controls", controls],
];

function controls(cell, quota) {
  cell.quota = quota;
  if (!cell.toggle) {
    cell.toggle = cell.appendChild(document.createElement("button"));
    cell.limit = cell.appendChild(document.createElement("button"));
    cell.reset = cell.appendChild(document.createElement("button"));
    for (const button of [cell.toggle, cell.limit, cell.reset]) button.type = "button";
    cell.limit.textContent = "Limit …";
    cell.reset.textContent = "Reset …";
    cell.reset.addEventListener("click", () => askChange(cell.quota, "reset"));
    cell.toggle.addEventListener("click", () => askChange(cell.quota, cell.quota.paused ? "resume" : "pause"));
    cell.limit.addEventListener("click", () => askChange(cell.quota, "limit"));
  }
  set(cell.toggle, quota.paused ? "Resume …" : "Pause …");
  cell.reset.disabled = !quota.paused && !quota.limit_overridden;
  for (const button of [cell.toggle, cell.limit, cell.reset]) button.setAttribute("aria-label", `${button.textContent.slice(0, -2)} ${quota.key}`);
}


// The same columns in another place.
export const quotaRows = id => new Table(id, identity, COLUMNS);

// Those that an operator should see: the first of them, if there are any.
const matters = quota => quota.paused || quota.fault || quota.exhausted || quota.refused_per_s > 0 || (quota.used_share ?? 0) >= 0.9;

const wanted = { search: "", sort: "foremost", offset: 0 };
const isFirst = () => wanted.search === "" && wanted.sort === "foremost" && wanted.offset === 0;
const tables = {};

function showPage({ quotas, matched, total }) {
  tables.all.show(quotas);
  const { search, offset } = wanted;
  put("quota-count", total ? whole(total) : "");
  const of = search === "" ? `of ${whole(total)}` : `of ${whole(matched)} found, ${whole(total)} in all`;
  put("quota-place", quotas.length ? `${whole(offset + 1)} to ${whole(offset + quotas.length)} ${of}` : search && `none of ${whole(total)} found`);
  at("quota-back").disabled = offset === 0;
  at("quota-on").disabled = offset + quotas.length >= matched;
  at("quota-back").hidden = at("quota-on").hidden = offset === 0 && matched <= SHOWN;
}

async function askQuotas() {
  const asked = { ...wanted };
  const page = await get(`api/quotas?${new URLSearchParams({ ...asked, count: SHOWN })}`);
  if (JSON.stringify(asked) === JSON.stringify(wanted)) showPage(page);
}

function want(change) {
  Object.assign(wanted, change);
  askQuotas().catch(error => console.warn("no list of quotas:", error));
}

const CHANGES = {
  pause: ["Pause sales", "Every increment and decrement of this key is refused, at every gateway, until it is resumed.", "Pause"],
  reset: ["Reset", "What is configured holds again at every gateway: a limit that was set and a pause are forgotten.", "Reset"],
  resume: ["Resume sales", "The quota grants again as far as its limit allows.", "Resume"],
  limit: ["Change the limit", "It holds at every gateway within a second, until it is reset. The highest is 4,503,599,627,370,496 (2^52).", "Set limit"],
};

// A quota without a name is one that the list does not have: its name is asked for.
export function askChange(quota, action) {
  const [title, text, verb] = CHANGES[action];
  const isOther = quota.key === "";
  const send = async ({ name, limit, reason }) => {
    const change = { key: isOther ? name : quota.key, action, reason, ...(action === "limit" ? { limit } : {}) };
    const { fault } = await post("api/quotas", change);
    if (!fault) await askQuotas().catch(() => {});
    return fault;
  };
  confirm({ title, key: quota.key, text, verb, send, name: isOther ? wanted.search : undefined, limit: action === "limit" ? quota.limit ?? "" : undefined });
}

export function quotasPanel() {
  tables.all = new Table("quotas", identity, COLUMNS);
  // Nothing is changed from the overview.
  tables.overview = new Table("overview-quotas", identity, COLUMNS.slice(0, -1));
  at("quota-search").oninput = () => want({ search: at("quota-search").value.trim(), offset: 0 });
  at("quota-sort").onchange = () => want({ sort: at("quota-sort").value, offset: 0 });
  at("quota-back").onclick = () => want({ offset: Math.max(0, wanted.offset - SHOWN) });
  at("quota-on").onclick = () => want({ offset: wanted.offset + SHOWN });
  at("quota-other").onclick = () => askChange({ key: "", limit: null }, "limit");
  at("quota-tools").onsubmit = event => event.preventDefault();
  whileShown("sales", PERIOD_MS, async () => { if (!isFirst()) await askQuotas(); }, () => {});
  return {
    show: ({ quotas, quotas_total }) => {
      if (isShown("sales") && isFirst()) showPage({ quotas: quotas.slice(0, SHOWN), matched: quotas_total, total: quotas_total });
      if (!isShown("overview")) return;
      const foremost = quotas.filter(matters).slice(0, OVERVIEW_SHOWN);
      at("overview-quotas-panel").hidden = foremost.length === 0;
      tables.overview.show(foremost);
    },
  };
}
