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

// Slices and classes that are chosen by their name and number of examples.
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
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${count.dataset.what === "class" ? "classes" : "slices"}`;
  };
  name.addEventListener("input", choose);
  least.addEventListener("input", choose);
  controls.hidden = false;
  choose();
}

// What is right and wrong at the threshold that is chosen. The counts are those of the run, nothing is between them.
for (const block of document.querySelectorAll(".thresholds")) {
  const points = JSON.parse(block.querySelector("script").textContent);
  const role = (name) => block.querySelector(`[data-role=${name}]`);
  const place = role("place"), costs = {fp: role("cost-fp"), fn: role("cost-fn")};
  const share = (above, below) => below ? above / below : null;
  const text = (value) => value === null ? "null" : Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toPrecision(6));
  const show = () => {
    const at = Number(place.value), tp = points.tp[at], fp = points.fp[at];
    const fn = points.positive - tp, tn = points.negative - fp, precision = share(tp, tp + fp);
    const rate = share(points.positive, points.positive + points.negative);
    const cells = {
      threshold: points.threshold[at], tp, fp, fn, tn, precision, recall: share(tp, points.positive),
      specificity: share(tn, points.negative), f1: share(2 * tp, 2 * tp + fp + fn),
      lift: precision === null || !rate ? null : precision / rate,
      cost: fp * (Number(costs.fp.value) || 0) + fn * (Number(costs.fn.value) || 0),
    };
    for (const [name, value] of Object.entries(cells)) block.querySelector(`[data-cell=${name}]`).textContent = text(value);
    place.setAttribute("aria-valuetext", text(cells.threshold));
  };
  for (const input of [place, costs.fp, costs.fn]) input.addEventListener("input", show);
  for (const hidden of block.querySelectorAll("[hidden]")) hidden.hidden = false;
  show();
}

// On paper groups of examples and further plots are open. The style sheet has it too, for browsers that know how.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll(".kept details:not([open]), details.more:not([open])")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
