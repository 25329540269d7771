// The charts of the overview: the last ten minutes in seconds, which the stream keeps going, or the last day in minutes, which is asked for.

import { ask, get } from "./ask.js";
import { Chart } from "./charts.js";
import { micros, rate } from "./format.js";
import { isShown, onPage, rest, whileShown } from "./pages.js";
import { at } from "./table.js";

const RANGES = {
  second: { slots: 600, since: "10 min ago", events: 200 },
  minute: { slots: 1440, since: "24 h ago", events: 1000 },
};
const MINUTES_PERIOD_MS = 20_000;

const perSecond = value => `${rate(value)}/s`;
const chart = (tile, series, format) => new Chart(document.querySelector(`#${tile} .chart`), series, format);
const charts = [
  chart("tile-rate", [{ name: "requests_per_s", label: "", tone: "" }], perSecond),
  chart("tile-latency", [{ name: "p99_us", label: "p99", tone: "" }, { name: "p50_us", label: "p50", tone: "second" }], micros),
  chart("tile-combine", [{ name: "offered_per_s", label: "offered", tone: "" }, { name: "flushed_per_s", label: "Redis", tone: "second" }], perSecond),
  chart("tile-errors", [{ name: "errors_per_s", label: "errors", tone: "bad" }, { name: "refused_per_s", label: "refused", tone: "second" }], perSecond),
];

const histories = { second: null, minute: null };
let events = [];

const step = () => (rest() === "day" ? "minute" : "second");
export const eventsAsked = () => RANGES[step()].events;

function draw() {
  const columns = histories[step()];
  if (!columns || !isShown("overview")) return;
  for (const drawn of charts) drawn.draw(columns, RANGES[step()]);
}

// `columns` are those of the last ten minutes.
export function begin(columns) {
  histories.second = columns;
  draw();
}

// The stream brings the latest second; older ones are known from the first answer.
export function extend({ at_ms, now }) {
  const history = histories.second;
  if (!history || at_ms - history.end_ms < history.step_ms * 0.7) return;
  const point = {
    requests_per_s: now.requests_per_s, errors_per_s: now.errors_per_s, refused_per_s: now.refused_per_s,
    p50_us: now.request_time.p50_us, p99_us: now.request_time.p99_us,
    offered_per_s: now.offered_per_s, flushed_per_s: now.flushed_per_s,
  };
  for (const [name, value] of Object.entries(point)) {
    history[name].push(value);
    if (history[name].length > RANGES.second.slots) history[name].shift();
  }
  history.end_ms = at_ms;
  if (step() === "second") draw();
}

// Keys that become hot are too many to be marked over a day.
export function happen(told) {
  events = told;
  const marked = step() === "minute" ? events.filter(event => event.kind !== "hot") : events;
  for (const drawn of charts) drawn.happen(marked);
}

// The browser is given what is shown as a file. A link could not carry the token.
async function download() {
  const answer = await ask(`api/history?step=${step()}&format=csv`);
  if (!answer.ok) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `hotgate-${step()}s.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function historyCharts() {
  const follow = () => {
    if (!isShown("overview")) return;
    for (const link of at("range").querySelectorAll("a")) {
      if (link.hash === (step() === "minute" ? "#/overview/day" : "#/overview")) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    happen(events);
    draw();
  };
  onPage(follow);
  follow();
  at("history-csv").onclick = () => download().catch(error => console.warn("no history:", error));
  const fetchMinutes = async () => (step() === "minute" ? get("api/history?step=minute") : null);
  whileShown("overview", MINUTES_PERIOD_MS, fetchMinutes, columns => {
    if (!columns) return;
    histories.minute = columns;
    draw();
  });
}
