"use strict";
// On a phone the rows of a table of many columns stand as blocks, in which each cell says its column.
function label(table, names) {
  table.classList.toggle("wide", names.length > 3);
  for (const row of table.tBodies[0].rows) names.forEach((name, column) => { row.cells[column].dataset.name = name; });
}

// A click on a header sorts by its column: numbers from the highest, words from A; a second click turns the
// order around, a third puts it back as it was. What is empty stays at the end.
for (const table of document.querySelectorAll(".scroll:not(.clips) > table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  label(table, headers.map((header) => header.textContent));
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.title = "sort";
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(header, column));
  });

  function sort(header, column) {
    const numeric = rows.some((row) => "value" in row.cells[column].dataset);
    const [first, second] = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
    const was = header.getAttribute("aria-sort");
    const now = was === null ? first : was === first ? second : null;
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    if (now !== null) header.setAttribute("aria-sort", now);
    body.replaceChildren(...(now === null ? rows : ordered(column, numeric, now === "ascending" ? 1 : -1)));
  }

  function ordered(column, numeric, sign) {
    const key = (row) => {
      const cell = row.cells[column];
      return numeric ? Number(cell.dataset.value ?? NaN) : cell.textContent;
    };
    const compare = (a, b) => {
      if (!numeric) return sign * a.localeCompare(b);
      return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0;
    };
    return [...rows].sort((a, b) => compare(key(a), key(b)));
  }
}

// The contents mark the section that is being read.
const places = [...document.querySelectorAll("nav a")].map((link) => [link, document.querySelector(link.hash)]);
let marked = null;
function mark() {
  const [link] = places.findLast(([, place]) => place.getBoundingClientRect().top < 120) ?? [null];
  if (link === marked) return;
  marked?.removeAttribute("aria-current");
  link?.setAttribute("aria-current", "location");
  link?.scrollIntoView({ block: "nearest" });
  marked = link;
}
if (places.length) {
  document.addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
  mark();
}

// Two rows side by side: their confusions, the difference, and the clips of a cell or on which they disagree.
for (const box of document.querySelectorAll(".compare")) compare(box, JSON.parse(box.querySelector("script").textContent));

function compare(box, { classes, clips, labels, rows, plays }) {
  const at = Object.fromEntries([...box.querySelectorAll("[data-is]")].map((one) => [one.dataset.is, one]));
  const size = classes.length, CELL = 20, named = size <= 30, NAMES = named ? 130 : 0;
  const SVG = box.querySelector("svg").namespaceURI;
  const total = Array(size).fill(0);
  for (const label of labels) total[label] += 1;
  let chosen = null; // the cell whose clips are listed: {row: 0, 1 or 2, the difference; line; column}

  const choices = {
    differ: ["on which they disagree", (a, b) => a !== b],
    first: ["right in the first alone", (a, b, is) => a === is && b !== is],
    second: ["right in the second alone", (a, b, is) => b === is && a !== is],
    neither: ["wrong in both", (a, b, is) => a !== is && b !== is],
    all: ["all", () => true],
  };
  const fill = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  for (const which of ["first", "second"]) fill(at[which], rows.map((row, number) => [number, row.name]));
  fill(at.which, Object.entries(choices).map(([key, [text]]) => [key, text]));
  at.first.value = Math.max(rows.length - 2, 0);
  at.second.value = rows.length - 1;

  const picked = () => [rows[at.first.value], rows[at.second.value]];
  const make = (tag, attributes, ...content) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...content);
    return element;
  };
  const element = (tag, text, kind) => Object.assign(document.createElement(tag), { textContent: text, className: kind ?? "" });

  function counts(row) { // of clips, by true and predicted class
    const found = Array.from({ length: size }, () => Array(size).fill(0));
    labels.forEach((label, clip) => { found[label][row.predicted[clip]] += 1; });
    return found;
  }

  function draw() {
    const [first, second] = picked(), both = [counts(first), counts(second)];
    const less = both[1].map((line, i) => line.map((count, j) => count - both[0][i][j]));
    const titles = [first.name, second.name, "Difference: second less first"];
    box.querySelector(".matrices").replaceChildren(
      ...[...both, less].map((values, which) => matrix(values, which, titles[which])));
    at["first-name"].textContent = first.name;
    at["second-name"].textContent = second.name;
    list();
  }

  function matrix(values, which, title) {
    const begins = which === 0 || box.clientWidth < 700; // of a line of matrices; on a phone each is one
    const left = begins ? NAMES : 0, top = named ? NAMES : 0, side = CELL * size;
    const svg = make("svg", { viewBox: `${-left} ${-top} ${left + side} ${top + side}`, tabindex: 0, role: "application",
                              "aria-label": `${title}: confusions, true classes down, predicted across` });
    svg.append(make("rect", { class: "paper", width: side, height: side }));
    if (named) classes.forEach((name, place) => {
      const short = name.length > 18 ? name.slice(0, 17) + "…" : name, middle = CELL * place + 14;
      if (begins) svg.append(make("text", { class: "name", x: -6, y: middle, "text-anchor": "end" }, short));
      svg.append(make("text", { class: "name", transform: `translate(${middle} -6) rotate(-90)` }, short));
    });
    const most = Math.max(1, ...values.flat().map(Math.abs));
    values.forEach((line, i) => line.forEach((count, j) => {
      if (count === 0) return;
      const kind = which === 2 ? (count > 0 ? "more" : "less") : i === j ? "hit" : "miss";
      const share = which === 2 ? Math.abs(count) / most : count / total[i];
      svg.append(make("rect", { class: kind, x: CELL * j + 0.5, y: CELL * i + 0.5, width: CELL - 1, height: CELL - 1,
                                style: `fill-opacity:${0.15 + 0.65 * share}` }));
      if (named) svg.append(make("text", { class: "count", x: CELL * (j + 0.5), y: CELL * i + 14.5 },
                                 which === 2 && count > 0 ? `+${count}` : `${count}`.replace("-", "−")));
    }));
    const frame = make("rect", { class: "now", width: CELL, height: CELL, visibility: "hidden" });
    svg.append(frame);
    let cell = null;
    const move = (line, column) => {
      cell = [line, column].map((place) => Math.min(Math.max(place, 0), size - 1));
      frame.setAttribute("x", CELL * cell[1]);
      frame.setAttribute("y", CELL * cell[0]);
      frame.setAttribute("visibility", "visible");
      at.told.textContent = `${title}: true ${classes[cell[0]]}, predicted ${classes[cell[1]]}: ` +
        `${which === 2 && values[cell[0]][cell[1]] > 0 ? "+" : ""}${values[cell[0]][cell[1]]} of ${total[cell[0]]} clips`;
    };
    const choose = () => { chosen = { which, line: cell[0], column: cell[1] }; list(); };
    const under = (event) => {
      const area = svg.getBoundingClientRect(), zoom = (left + side) / area.width;
      return [(event.clientY - area.top) * zoom - top, (event.clientX - area.left) * zoom - left].map((d) => Math.floor(d / CELL));
    };
    svg.addEventListener("pointermove", (event) => {
      const [line, column] = under(event);
      if (line >= 0 && column >= 0) move(line, column);
    });
    svg.addEventListener("click", (event) => {
      const [line, column] = under(event);
      if (line >= 0 && column >= 0) { move(line, column); choose(); }
    });
    svg.addEventListener("focus", () => { if (!cell) move(0, 0); });
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key in steps) move(cell[0] + steps[event.key][0], cell[1] + steps[event.key][1]);
      else if (event.key === "Enter" || event.key === " ") choose();
      else return;
      event.preventDefault();
    });
    const figure = document.createElement("figure");
    figure.style.flex = `${left + side} 1 0`; // cells of one size, whoever has the names of the lines
    if (box.clientWidth >= 700) Object.assign(figure.style, { minWidth: 0, maxWidth: `${1.5 * (left + side)}px` });
    figure.append(element("figcaption", title), svg);
    return figure;
  }

  function listed() { // numbers of the clips
    const [first, second] = picked();
    return [...clips.keys()].filter((clip) => {
      const a = first.predicted[clip], b = second.predicted[clip];
      if (!chosen) return choices[at.which.value][1](a, b, labels[clip]);
      const said = [a === chosen.column, b === chosen.column];
      return labels[clip] === chosen.line && (chosen.which === 2 ? said[0] !== said[1] : said[chosen.which]);
    }).sort((a, b) => (clips[b] in plays) - (clips[a] in plays)); // what can be looked at comes first
  }

  function list() {
    const found = listed(), pair = picked();
    const which = chosen && ["first row", "second row", "one row alone"][chosen.which];
    at.count.textContent = chosen
      ? `${found.length} of true ${classes[chosen.line]}, predicted ${classes[chosen.column]} by the ${which}` : `${found.length}`;
    at.whole.hidden = !chosen;
    at.which.disabled = Boolean(chosen);
    box.querySelector("tbody").replaceChildren(...found.map((clip) => {
      const line = document.createElement("tr"), name = element("td", "");
      if (clips[clip] in plays) {
        const button = Object.assign(element("button", "▶"), { type: "button", title: "play" });
        button.setAttribute("aria-label", `play ${clips[clip]}`);
        button.addEventListener("click", () => play(clips[clip]));
        name.append(button);
      }
      name.append(clips[clip]);
      line.append(name, element("td", classes[labels[clip]], "words"));
      for (const row of pair) {
        const right = row.predicted[clip] === labels[clip];
        line.append(element("td", `${right ? "✓" : "✗"} ${classes[row.predicted[clip]]}`, `words ${right ? "right" : "wrong"}`));
      }
      return line;
    }));
    label(box.querySelector("table"), ["clip", "true", ...pair.map((row) => row.name)]);
  }

  function play(clip) {
    at.player.hidden = false;
    at.player.src = `${plays[clip]}#${new URLSearchParams({ clip })}`;
    at.player.scrollIntoView({ block: "nearest" });
  }

  for (const which of ["first", "second"]) at[which].addEventListener("change", () => { chosen = null; draw(); });
  at.which.addEventListener("change", list);
  at.whole.addEventListener("click", () => { chosen = null; list(); });
  draw();
}
