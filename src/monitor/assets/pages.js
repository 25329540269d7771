// Which page is shown. The part of the address behind # says so (`#/keys`, `#/commands/large-reply`), so that each can be linked, and the
// browser's way back works. A page that is not shown asks for nothing and draws nothing.

import { at } from "./table.js";

const FIRST = "overview";
// A page that has no entry in the navigation belongs to one that has.
const UNDER = { key: "keys" };

const shown = { name: "", rest: "" };
const listeners = [];
// Who waits for time to pass goes on at once when another page is shown.
let waiting = [];

// What the address says: a page and what stands behind its name.
function asked() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  if (!at(`page-${name}`)) return { name: FIRST, rest: "" };
  try {
    return { name, rest: decodeURIComponent(rest.join("/")) };
  } catch {
    return { name, rest: "" };
  }
}

export const isShown = name => shown.name === name;
export const rest = () => shown.rest;

// Calls `listener` whenever another page is shown, or the same one about something else.
export function onPage(listener) {
  listeners.push(listener);
}

function show(byHand) {
  const former = shown.name;
  Object.assign(shown, asked());
  for (const page of document.querySelectorAll(".page")) page.hidden = page.id !== `page-${shown.name}`;
  for (const link of at("nav").querySelectorAll("a")) {
    const isHere = link.hash === `#/${UNDER[shown.name] ?? shown.name}`;
    if (isHere) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (byHand && former !== shown.name) {
    window.scrollTo(0, 0);
    // A screen reader says which page it is, and the next Tab goes on in it.
    title().focus({ preventScroll: true });
  }
  for (const listener of listeners) listener();
  for (const go of waiting.splice(0)) go();
}

const title = () => at(`page-${shown.name}`).querySelector("h2");
export const pageTitle = () => title().textContent;

function pageOrTime(ms) {
  return new Promise(resolve => {
    const timer = setTimeout(() => { waiting = waiting.filter(other => other !== go); resolve(); }, ms);
    const go = () => { clearTimeout(timer); resolve(); };
    waiting.push(go);
  });
}

// Asks again and again for what a page shows, while it is shown and somebody can see it. The answer to what was asked for a page that is
// not shown any more is dropped.
export async function whileShown(name, periodMs, fetchPart, showPart) {
  for (;;) {
    if (isShown(name) && !document.hidden) {
      try {
        const about = shown.rest;
        const part = await fetchPart();
        if (isShown(name) && shown.rest === about) showPart(part);
      } catch (error) { console.warn(`nothing for ${name}:`, error); }
    }
    await pageOrTime(periodMs);
  }
}

export function startPages() {
  window.addEventListener("hashchange", () => show(true));
  show(false);
}
