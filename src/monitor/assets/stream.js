// The event stream, for as long as the page is open: the last ten minutes first, then each frame. EventSource can't send a token, so the
// stream is read with fetch.

import { ask, get, pause } from "./ask.js";

const POLL_PERIOD_MS = 2000;
const POLLS_BEFORE_STREAM = 15;

async function follow(signal, begin, showFrame) {
  const first = await ask("api/stats?history=1", { signal });
  if (!first.ok) throw new Error(`history: ${first.status}`);
  begin((await first.json()).history);
  const stream = await ask("api/stream", { signal });
  if (stream.status === 503) return poll(signal, showFrame);
  if (!stream.ok) throw new Error(`stream: ${stream.status}`);
  const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find(line => line.startsWith("data:"));
      if (data) showFrame(JSON.parse(data.slice(5)));
    }
  }
}

// As many streams are open as may be: the figures are asked for instead, and after a while a stream again.
async function poll(signal, showFrame) {
  for (let count = 0; count < POLLS_BEFORE_STREAM; count += 1) {
    const part = path => get(`api/${path}`, { signal });
    const [stats, hot, nodes, quotas, { sales }, { ledger }, { clusters, routes }, { tenants }] = await Promise.all(["stats", "hotkeys", "nodes", "quotas", "sales", "ledger", "routes", "tenants"].map(part));
    const shown = { clusters, routes, routes_total: routes.length, tenants, tenants_total: tenants.length };
    showFrame({ stats, hotkeys: hot.keys, nodes: nodes.nodes, quotas: quotas.quotas, quotas_total: quotas.total, sales, sales_total: sales.length, ledger, routes: shown });
    await pause(POLL_PERIOD_MS);
  }
}

// `begin` gets the last ten minutes, whenever the stream begins; `showFrame` each frame.
export async function followForEver(begin, showFrame) {
  for (;;) {
    // Whatever ended it, the old stream is closed before the next is opened.
    const stream = new AbortController();
    try { await follow(stream.signal, begin, showFrame); } catch (error) { console.warn("the stream broke off:", error); }
    stream.abort();
    await pause(1000);
  }
}
