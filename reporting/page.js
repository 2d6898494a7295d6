"use strict";
// A click on a header sorts by its column: numbers from the highest, words from A; a second click turns the
// order around, a third puts it back as it was. What is empty stays at the end.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
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
