"use strict";

// A number where the cell has one; cells without a score come last in either order.
const valueOf = (cell) => (cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value));

function compare(one, two, sign) {
  if (typeof one === "number" && typeof two === "number") {
    if (Number.isNaN(one) || Number.isNaN(two)) return Number.isNaN(one) - Number.isNaN(two);
    return sign * (one - two);
  }
  return sign * String(one).localeCompare(String(two), undefined, { numeric: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric; // the first press shows the largest numbers
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
      rows.sort((one, two) => compare(one[0], two[0], descending ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

for (const controls of document.querySelectorAll(".filters")) {
  const rows = [...document.getElementById(controls.dataset.table).tBodies[0].rows];
  const search = controls.querySelector("input");
  const selects = [...controls.querySelectorAll("select")];
  const update = () => {
    const words = search.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const found = row.textContent.toLowerCase().includes(words);
      const chosen = selects.every((s) => !s.value || row.cells[s.dataset.column].textContent === s.value);
      row.hidden = !(found && chosen);
      shown += !row.hidden;
    }
    controls.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  };
  search.addEventListener("input", update);
  selects.forEach((select) => select.addEventListener("change", update));
  update();
}
