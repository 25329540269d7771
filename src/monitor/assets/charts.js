// Charts as SVG: a tile's ten minutes with one or two lines, and a key's sparkline. Nothing here knows what the figures mean.
//
// Events are lines from top to bottom, told together with the values beside them. Where nothing is known the line is interrupted.
//
// What a value is, is told at the pointer and, with the arrow keys, at a cursor. One spike does not flatten what is beside it: a
// few values far above all others are drawn at the top, marked there, and the scale says how high they are.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 74;
// An event is told at the places so near to it, or within one step.
const NEAR_MS = 3000;

export function svg(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// A path through the values, from left to right over `width`; `slots` is the number of places on the time axis, so that a
// short history sits at the right, where now is.
function path(values, slots, max, width, height, area) {
  if (values.length === 0) return "";
  const step = width / Math.max(slots - 1, 1);
  const left = width - step * (values.length - 1);
  const top = 2;
  const y = value => (height - (Math.min(value, max) / max) * (height - top)).toFixed(1);
  let d = "";
  const x = i => (left + i * step).toFixed(1);
  let from = null;
  values.forEach((value, i) => {
    if (value === null) return;
    if (from === null) from = i;
    // A point alone has a length of its own, so that it can be seen.
    d += i > from ? `L${x(i)} ${y(value)}` : `M${x(i)} ${y(value)}h0.3`;
    if (values[i + 1] !== undefined && values[i + 1] !== null) return;
    if (area) d += `L${x(i)} ${height}L${x(from)} ${height}Z`;
    from = null;
  });
  return d;
}

// The next rounder number, so that the scale does not move with every point.
function ceiling(value) {
  if (value <= 0) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(m => m * magnitude).find(m => m >= value * 1.02) ?? value;
}

// How far the scale goes: to the highest value, unless a few are far above the others and the latest are not among them.
function top(values) {
  const highest = Math.max(0, ...values);
  const known = values.filter(value => value !== null).sort((a, b) => a - b);
  const usual = known[Math.floor(known.length * 0.95)] ?? 0;
  const roof = ceiling(usual * 1.5);
  const isSpike = known.length >= 20 && usual > 0 && highest > usual * 3;
  const lasts = values.slice(-20).filter(value => value > roof).length >= 5;
  return isSpike && !lasts ? { max: roof, beyond: highest } : { max: ceiling(highest), beyond: null };
}

// Short marks at the top edge where values are beyond the scale.
function marks(values, slots, max, width) {
  const step = width / Math.max(slots - 1, 1);
  const left = width - step * (values.length - 1);
  const at = (value, i) => (value > max ? `M${(left + i * step - 1).toFixed(1)} 2h2` : "");
  return values.map(at).join("");
}

const tip = document.getElementById("tip");

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x - box.width / 2, window.innerWidth - box.width - 8))}px`;
  tip.style.top = `${Math.max(8, y - box.height - 10)}px`;
}

const hideTip = () => { tip.hidden = true; };

// Has a chart be read with pointer and keyboard: so many places from left to right, `read(back)` the text of the one so many places
// before the latest, or null. `mark(back)` shows where that is, `mark(null)` no more.
function readable(root, places, read, mark) {
  const show = back => {
    const text = read(back);
    const box = root.getBoundingClientRect();
    mark(text === null ? null : back);
    root.back = back;
    root.setAttribute("aria-valuenow", -back);
    root.setAttribute("aria-valuetext", text ?? "nothing known");
    if (text === null) hideTip(); else showTip(text, box.left + (1 - back / (places() - 1)) * box.width, box.top);
  };
  const leave = () => { root.back = null; mark(null); hideTip(); };
  for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-valuemin": Math.min(0, 1 - places()), "aria-valuemax": 0, "aria-valuenow": 0 })) root.setAttribute(name, value);
  root.addEventListener("pointermove", event => {
    const box = root.getBoundingClientRect();
    const last = places() - 1;
    show(Math.max(0, Math.min(last, Math.round((1 - (event.clientX - box.left) / box.width) * last))));
  });
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("focus", () => { if (root.matches(":focus-visible")) show(0); });
  root.addEventListener("keydown", event => {
    const back = root.back ?? 0;
    const to = { ArrowLeft: back + 1, ArrowRight: back - 1, PageUp: back - 10, PageDown: back + 10, Home: places() - 1, End: 0 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(Math.max(0, Math.min(places() - 1, to)));
  });
}

// One chart in a <figure>. `series` names the columns and their classes; the first one gets an area.
export class Chart {
  constructor(figure, series, format) {
    this.series = series;
    this.format = format;
    this.slots = 0;
    this.title = figure.dataset.title;
    this.columns = null;
    this.root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-label": this.title });
    for (const y of [0, HEIGHT / 2, HEIGHT]) {
      this.root.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.area = svg("path", { class: "area" });
    this.lines = series.map(({ tone }) => svg("path", { class: `line ${tone}` }));
    this.marks = svg("path", { class: "beyond" });
    this.happened = svg("path", { class: "happened" });
    this.events = [];
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.root.append(this.happened, this.area, ...[...this.lines].reverse(), this.marks, this.cursor);
    const caption = document.createElement("figcaption");
    this.since = caption.appendChild(document.createElement("span"));
    caption.appendChild(document.createElement("span")).textContent = "now";
    this.scale = document.createElement("span");
    this.scale.className = "scale";
    figure.append(this.scale, this.root, caption);
    readable(this.root, () => this.slots, back => this.read(back), back => this.mark(back));
  }

  // `columns` go back from `end_ms` in steps of `step_ms`; of `slots` places the last are theirs. `since` says where the first lies.
  draw(columns, { slots, since }) {
    if (this.slots !== slots) {
      this.slots = slots;
      this.root.setAttribute("aria-valuemin", 1 - slots);
      this.root.setAttribute("aria-label", `${this.title}, ${since} until now`);
      this.since.textContent = since;
    }
    this.columns = columns;
    const { max, beyond } = top(this.series.map(({ name }) => columns[name]).reduce((a, b) => (Math.max(0, ...a) >= Math.max(0, ...b) ? a : b)));
    this.series.forEach(({ name }, i) => {
      this.lines[i].setAttribute("d", path(columns[name], this.slots, max, WIDTH, HEIGHT, false));
    });
    this.area.setAttribute("d", path(columns[this.series[0].name], this.slots, max, WIDTH, HEIGHT, true));
    this.marks.setAttribute("d", this.series.map(({ name }) => marks(columns[name], this.slots, max, WIDTH)).join(""));
    this.drawEvents();
    this.scale.textContent = beyond === null ? this.format(max) : `${this.format(max)} · peak ${this.format(beyond)}`;
    if (this.root.back === undefined || this.root.back === null) this.root.setAttribute("aria-valuetext", this.read(0) ?? "nothing known");
  }

  read(back) {
    const place = (this.columns?.[this.series[0].name].length ?? 0) - 1 - back;
    if (place < 0 || this.columns[this.series[0].name][place] === null) return null;
    const ms = this.columns.end_ms - back * this.columns.step_ms;
    const at = new Date(ms).toLocaleTimeString([], { hour12: false });
    const near_ms = Math.max(NEAR_MS, this.columns.step_ms);
    const near = this.events.filter(event => Math.abs(event.at_ms - ms) <= near_ms).slice(0, 2).map(event => event.label);
    const known = this.series.filter(({ name }) => this.columns[name][place] !== null);
    const values = known.map(({ name, label }) => `${label} ${this.format(this.columns[name][place])}`.trim());
    return `${at}  ${[...values, ...near].join(" · ")}`;
  }

  // Marks what happened; `events` have `at_ms` and `label`, the latest first.
  happen(events) {
    this.events = events;
    this.drawEvents();
  }

  drawEvents() {
    if (!this.columns) return;
    const backs = this.events.map(event => (this.columns.end_ms - event.at_ms) / this.columns.step_ms);
    const shown = backs.filter(back => back >= 0 && back < this.slots);
    this.happened.setAttribute("d", shown.map(back => `M${(WIDTH - (back / (this.slots - 1)) * WIDTH).toFixed(1)} 0V${HEIGHT}`).join(""));
  }

  mark(back) {
    if (back === null) return this.cursor.setAttribute("visibility", "hidden");
    const x = WIDTH - (back / (this.slots - 1)) * WIDTH;
    for (const [name, value] of [["x1", x], ["x2", x], ["visibility", "visible"]]) this.cursor.setAttribute(name, value);
  }
}

// A sparkline that is updated in place, with a value for each of `slots` seconds.
export function sparkline(slots, format) {
  const root = svg("svg", { class: "spark", viewBox: "0 0 120 26", preserveAspectRatio: "none" });
  root.append(svg("path", { class: "area" }), svg("path", { class: "line" }), svg("path", { class: "beyond" }));
  const read = back => {
    const value = root.values?.[root.values.length - 1 - back];
    if (value === undefined) return null;
    return `${back === 0 ? "now" : `${back} s ago`}  ${format(value)}${root.beyond && value > root.max ? ", beyond the scale" : ""}`;
  };
  readable(root, () => slots, read, () => {});
  root.read = read;
  return root;
}

export function drawSparkline(root, values, slots, label) {
  const { max, beyond } = top(values);
  Object.assign(root, { values, max, beyond });
  root.children[0].setAttribute("d", path(values, slots, max, 120, 26, true));
  root.children[1].setAttribute("d", path(values, slots, max, 120, 26, false));
  root.children[2].setAttribute("d", marks(values, slots, max, 120));
  root.setAttribute("aria-label", label);
  if (root.back === undefined || root.back === null) root.setAttribute("aria-valuetext", root.read(0) ?? "nothing known");
}
