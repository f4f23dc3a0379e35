"use strict";
// What moves on the page. Without it everything is there to be read, in the order in which it was written.

// Tables that are sorted by a press on a column's name.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button"), numeric = head.dataset.kind === "number";
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => numeric ? parseFloat(row.cells[column].dataset.v) : row.cells[column].textContent;
      const order = (a, b) => numeric ? a - b : a.localeCompare(b, undefined, {numeric: true});
      const rows = [...body.rows].map((row) => [key(row), row]);
      // What has no value comes last, whichever way.
      rows.sort(([a], [b]) => (numeric && (Number.isNaN(a) || Number.isNaN(b)))
        ? Number.isNaN(a) - Number.isNaN(b) : (descending ? order(b, a) : order(a, b)));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// Slices that are chosen by their name and number of examples.
for (const block of document.querySelectorAll(".filterable")) {
  const controls = block.querySelector(".controls"), rows = [...block.querySelector("tbody").rows];
  const name = block.querySelector("[data-filter=name]"), least = block.querySelector("[data-filter=least]");
  const count = controls.querySelector("output");
  const names = rows.map((row) => row.cells[0].textContent.toLowerCase());
  const choose = () => {
    const wanted = name.value.trim().toLowerCase(), few = Number(least.value) || 0;
    let shown = 0;
    rows.forEach((row, number) => {
      row.hidden = !(names[number].includes(wanted) && Number(row.cells[1].dataset.v) >= few);
      shown += !row.hidden;
    });
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} slices`;
  };
  name.addEventListener("input", choose);
  least.addEventListener("input", choose);
  controls.hidden = false;
  choose();
}
