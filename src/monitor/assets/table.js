// A table and what its cells are made of. Rows are kept by identity and updated in place, so that nothing flickers and a selection survives.
// Everything that came from the gateway goes through textContent: a key name is data, never markup.

export const at = id => document.getElementById(id);
export const put = (id, text) => set(at(id), text);

// The gateway's clock, as of the last frame; ages are told by it.
let nowMs = 0;

export function setClock(atMs) {
  nowMs = atMs;
}

export const agoS = ms => Math.max(0, nowMs - ms) / 1000;

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A long name keeps its beginning and its end, where names of keys differ; the whole of it is told at the pointer.
const NAME_MAX = 56;

export function shortened(name) {
  const letters = [...name];
  if (letters.length <= NAME_MAX) return name;
  return `${letters.slice(0, NAME_MAX / 2).join("")}…${letters.slice(1 - NAME_MAX / 2).join("")}`;
}

export function nameLines(cell, name, under) {
  twoLines(cell, shortened(name), under);
  cell.main.title = name;
}

// The same as a link to what has that name.
export function linkedName(cell, address, name, under) {
  if (!cell.main) {
    cell.main = cell.appendChild(document.createElement("a"));
    cell.under = cell.appendChild(document.createElement("span"));
    cell.under.className = "under";
  }
  if (cell.main.getAttribute("href") !== address) cell.main.href = address;
  nameLines(cell, name, under);
}

// Where a key has its own page.
export const keyAddress = name => `#/key/${encodeURIComponent(name)}`;

export function badge(cell, text, tone) {
  cell.chip ??= cell.appendChild(document.createElement("span"));
  cell.chip.className = "badge";
  cell.chip.dataset.tone = tone;
  set(cell.chip, text);
}

// A cell's main text with a smaller line under it.
export function twoLines(cell, text, under) {
  if (!cell.main) {
    cell.main = cell.appendChild(document.createElement("span"));
    cell.under = cell.appendChild(document.createElement("span"));
    cell.under.className = "under";
  }
  set(cell.main, text);
  set(cell.under, under);
}

export function bar(cell, share, text, tone, wide) {
  if (!cell.bar) {
    cell.label = document.createElement("span");
    cell.bar = document.createElement("span");
    cell.bar.append(document.createElement("i"));
    cell.bar.className = wide ? "bar wide" : "bar";
    cell.bar.setAttribute("aria-hidden", "true");
    if (wide) cell.append(cell.bar, cell.label); else cell.append(cell.label, cell.bar);
  }
  cell.bar.dataset.tone = tone;
  cell.bar.firstChild.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  set(cell.label, text);
}

// A table whose rows are identified by `identity(row)`; `columns` are [label, class, fill(cell, row)]. Quiet rows are dimmed, and cut
// short on a phone.
export class Table {
  constructor(id, identity, columns, isQuiet = () => false) {
    this.table = document.getElementById(id);
    this.empty = this.table.parentElement.querySelector(".empty");
    this.identity = identity;
    this.columns = columns;
    this.head();
    this.body = this.table.createTBody();
    this.body.setAttribute("role", "rowgroup");
    this.isQuiet = isQuiet;
    this.rows = new Map();
  }

  show(rows) {
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    const gone = new Map(this.rows);
    rows.forEach((row, place) => {
      const identity = this.identity(row);
      let element = this.rows.get(identity);
      if (!element) {
        element = this.row();
        this.rows.set(identity, element);
      }
      gone.delete(identity);
      element.classList.toggle("quiet", this.isQuiet(row));
      this.columns.forEach(([, , fill], i) => fill(element.cells[i], row));
      if (this.body.rows[place] !== element) this.body.insertBefore(element, this.body.rows[place] ?? null);
    });
    for (const [identity, element] of gone) {
      element.remove();
      this.rows.delete(identity);
    }
  }

  // Roles are said, since a table that is shown as cards loses its own.
  head() {
    this.table.setAttribute("role", "table");
    const head = this.table.createTHead();
    head.setAttribute("role", "rowgroup");
    const row = head.insertRow();
    row.setAttribute("role", "row");
    for (const [label, className] of this.columns) {
      const cell = row.appendChild(document.createElement("th"));
      cell.setAttribute("role", "columnheader");
      cell.scope = "col";
      cell.textContent = label;
      cell.className = className.split(" ").filter(word => word === "num" || word === "controls").join(" ");
    }
  }

  row() {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    this.columns.forEach(([label, className], i) => {
      const cell = row.insertCell();
      cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
      cell.dataset.label = label;
      cell.className = className;
    });
    return row;
  }
}
