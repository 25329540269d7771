// Charts as SVG: a tile's ten minutes with one or two lines, and a key's sparkline. Nothing here knows what the figures mean.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 74;

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
  values.forEach((value, i) => { d += `${i ? "L" : "M"}${(left + i * step).toFixed(1)} ${y(value)}`; });
  if (area) d += `L${width} ${height}L${left.toFixed(1)} ${height}Z`;
  return d;
}

// The next rounder number, so that the scale does not move with every point.
function ceiling(value) {
  if (value <= 0) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(m => m * magnitude).find(m => m >= value * 1.02) ?? value;
}

// One chart in a <figure>. `series` names the columns and their classes; the first one gets an area.
export class Chart {
  constructor(figure, series, format) {
    this.series = series;
    this.format = format;
    this.columns = null;
    this.root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": figure.dataset.title });
    for (const y of [0, HEIGHT / 2, HEIGHT]) {
      this.root.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.area = svg("path", { class: "area" });
    this.lines = series.map(({ tone }) => svg("path", { class: `line ${tone}` }));
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.root.append(this.area, ...[...this.lines].reverse(), this.cursor);
    const caption = document.createElement("figcaption");
    this.left = document.createElement("span");
    this.right = document.createElement("span");
    caption.append(this.left, this.right);
    this.scale = document.createElement("span");
    this.scale.className = "scale";
    figure.append(this.scale, this.root, caption);
    this.root.addEventListener("pointermove", event => this.point(event));
    this.root.addEventListener("pointerleave", () => this.unpoint());
  }

  draw(columns, slots) {
    this.columns = columns;
    this.slots = slots;
    this.max = ceiling(Math.max(0, ...this.series.map(({ name }) => Math.max(0, ...columns[name]))));
    this.series.forEach(({ name }, i) => {
      this.lines[i].setAttribute("d", path(columns[name], slots, this.max, WIDTH, HEIGHT, false));
    });
    this.area.setAttribute("d", path(columns[this.series[0].name], slots, this.max, WIDTH, HEIGHT, true));
    this.scale.textContent = this.format(this.max);
    if (this.cursor.getAttribute("visibility") === "hidden") this.unpoint();
  }

  point(event) {
    const box = this.root.getBoundingClientRect();
    const back = Math.round((1 - (event.clientX - box.left) / box.width) * (this.slots - 1));
    const place = this.columns[this.series[0].name].length - 1 - back;
    if (place < 0) return this.unpoint();
    const x = WIDTH - (back / (this.slots - 1)) * WIDTH;
    for (const [name, value] of [["x1", x], ["x2", x], ["visibility", "visible"]]) this.cursor.setAttribute(name, value);
    this.left.textContent = this.series.map(({ name, label }) => `${label} ${this.format(this.columns[name][place])}`).join("  ·  ");
    const at = new Date(this.columns.end_ms - back * this.columns.step_ms);
    this.right.textContent = at.toLocaleTimeString([], { hour12: false });
  }

  unpoint() {
    this.cursor.setAttribute("visibility", "hidden");
    this.left.textContent = "10 min ago";
    this.right.textContent = "now";
  }
}

// A sparkline that is updated in place.
export function sparkline() {
  const root = svg("svg", { class: "spark", viewBox: "0 0 120 26", preserveAspectRatio: "none", role: "img" });
  root.append(svg("path", { class: "area" }), svg("path", { class: "line" }));
  return root;
}

export function drawSparkline(root, values, slots, label) {
  const max = Math.max(1, ...values);
  root.children[0].setAttribute("d", path(values, slots, max, 120, 26, true));
  root.children[1].setAttribute("d", path(values, slots, max, 120, 26, false));
  root.setAttribute("aria-label", label);
}
