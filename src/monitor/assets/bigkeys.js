// Keys that requests and replies have shown to be big. One that nobody reads or writes as a whole is not among them.

import { get } from "./ask.js";
import { bytes, moment, span, whole } from "./format.js";
import { whileShown } from "./pages.js";
import { Table, agoS, keyAddress, linkedName, put, set, twoLines } from "./table.js";

const PERIOD_MS = 3000;
const SHOWN = 100;

const size = count => (count > 0 ? bytes(count) : "–");

function last(cell, key) {
  twoLines(cell, `${span(agoS(key.last_ms))} ago`, `first ${moment(key.first_ms)}`);
}

export function bigKeysPanel() {
  const table = new Table("bigkeys", key => `${key.cluster}\n${key.key}`, [
    ["Key", "key", (cell, key) => linkedName(cell, keyAddress(key.key), key.key, key.cluster === "default" ? "" : `cluster ${key.cluster}`)],
    ["Command", "", (cell, key) => set(cell, key.command.replaceAll("|", " ").toUpperCase())],
    ["Largest request", "num", (cell, key) => set(cell, size(key.request_bytes))],
    ["Largest reply", "num", (cell, key) => set(cell, size(key.reply_bytes))],
    ["Elements", "num", (cell, key) => set(cell, key.elements > 0 ? whole(key.elements) : "–")],
    ["Seen", "num", (cell, key) => set(cell, whole(key.seen))],
    ["Last", "num", last],
  ]);
  whileShown("keys", PERIOD_MS, () => get(`api/bigkeys?count=${SHOWN}`), ({ keys, total }) => {
    table.show(keys);
    put("bigkey-count", total > keys.length ? `the largest ${whole(keys.length)} of ${whole(total)}` : total ? whole(total) : "");
  });
}
