// The requests that stood out: how long each took and where its time went, or how large it was. The kind stands in the address.

import { get, post } from "./ask.js";
import { confirm } from "./confirm.js";
import { bytes, micros, moment, span, whole } from "./format.js";
import { isShown, onPage, rest, whileShown } from "./pages.js";
import { Table, agoS, at, nameLines, put, set, twoLines } from "./table.js";

const PERIOD_MS = 2000;
const ASKED = 200;
const KINDS = ["slow", "large-request", "large-reply"];

const kind = () => (KINDS.includes(rest()) ? rest() : KINDS[0]);

// What is neither waiting nor Redis: the reply was handed on among those of its client, in their order.
const handedOnUs = ({ whole_us, waiting_us, upstream_us }) => Math.max(0, whole_us - waiting_us - upstream_us);

// The parts of a request's time beside each other; their figures stand under them.
function split(cell, request) {
  if (!cell.parts) {
    const bar = cell.appendChild(document.createElement("span"));
    bar.className = "split";
    bar.setAttribute("aria-hidden", "true");
    cell.parts = ["here", "redis", "after"].map(part => {
      const element = bar.appendChild(document.createElement("i"));
      element.dataset.part = part;
      return element;
    });
    cell.words = cell.appendChild(document.createElement("span"));
    cell.words.className = "under";
  }
  const times = [request.waiting_us, request.upstream_us, handedOnUs(request)];
  const all = Math.max(1, times.reduce((a, b) => a + b, 0));
  cell.parts.forEach((part, i) => { part.style.width = `${(times[i] / all) * 100}%`; });
  const words = [`${micros(times[0])} waiting here`, `${micros(times[1])} at Redis`];
  if (times[2] >= 1) words.push(`${micros(times[2])} delivery`);
  set(cell.words, words.map(part => part.replaceAll(" ", "\u00a0")).join(" · "));
}

// As one would type it (bytes that are no text are escaped already); what was cut off at the end is no argument.
const word = argument => (/[\s"]|^$/.test(argument) && !argument.startsWith("... (") ? `"${argument.replaceAll('"', '\\"')}"` : argument);
const words = request => request.arguments.map(word).join(" ");

function ago(cell, request) {
  set(cell, `${span(agoS(request.at_ms))} ago`);
  cell.title = moment(request.at_ms);
}

const COLUMNS = [
  ["Request", "key", (cell, request) => nameLines(cell, words(request), request.folded ? "folded: it shared a command with others" : "")],
  ["When", "num", ago],
  ["Took", "num strong", (cell, request) => twoLines(cell, micros(request.whole_us), request.client_stalled_us > 0 ? `its client had read nothing for ${micros(request.client_stalled_us)}` : "")],
  ["Where its time went", "split-cell whole", split],
  ["Request · reply", "num", (cell, request) => set(cell, `${request.request_bytes ? bytes(request.request_bytes) : "–"} · ${bytes(request.reply_bytes)}`)],
  ["Node", "", (cell, request) => twoLines(cell, request.node || "–", request.cluster === "default" ? "" : request.cluster)],
  ["Client", "", (cell, request) => twoLines(cell, request.address, [request.name, request.user === "default" ? "" : request.user].filter(Boolean).join(", "))],
];

const EMPTY = {
  "slow": "No request has taken as long as slowlog.slower_than (10 ms unless configured) since the start or the last reset.",
  "large-request": "No request has been as large as slowlog.request_larger_than since the start or the last reset.",
  "large-reply": "No reply has been as large as slowlog.reply_larger_than since the start or the last reset.",
};

export const requestsTable = id => new Table(id, request => `${request.kind ?? ""} ${request.id}`, COLUMNS);

export function slowlogPanel() {
  const table = requestsTable("slowlog");
  const fetchList = () => get(`api/slowlog?kind=${kind()}&count=${ASKED}`);
  const show = ({ requests }) => {
    table.show(requests);
    put("slowlog-count", requests.length ? `the latest ${whole(requests.length)}` : "");
    at("slowlog-reset").disabled = requests.length === 0;
  };
  const follow = () => {
    if (!isShown("commands")) return;
    at("slowlog-kind").value = kind();
    table.empty.textContent = EMPTY[kind()];
  };
  at("slowlog-tools").onsubmit = event => event.preventDefault();
  at("slowlog-kind").onchange = () => { location.hash = `#/commands/${at("slowlog-kind").value}`; };
  at("slowlog-reset").onclick = () => confirm({
    title: "Reset the list",
    text: `All requests that ${at("slowlog-kind").selectedOptions[0].textContent} are forgotten, here and in SLOWLOG and COMMANDLOG. The other lists stay.`,
    verb: "Reset",
    send: async ({ reason }) => {
      const { fault } = await post("api/slowlog", { kind: kind(), action: "reset", reason });
      if (!fault) show(await fetchList());
      return fault;
    },
  });
  onPage(follow);
  follow();
  whileShown("commands", PERIOD_MS, fetchList, show);
}
