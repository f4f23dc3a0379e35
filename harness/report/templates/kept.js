
// Examples that are chosen by their list and the name of their group.
for (const block of document.querySelectorAll(".kept")) {
  const list = block.querySelector("[data-filter=list]"), name = block.querySelector("[data-filter=group]");
  const groups = [...block.querySelectorAll(".group")], count = block.querySelector("output");
  const names = groups.map((group) => group.querySelector(".what").textContent.toLowerCase());
  const choose = () => {
    const wanted = name.value.trim().toLowerCase();
    groups.forEach((group, number) => {
      group.hidden = !((!list.value || group.dataset.list === list.value) && names[number].includes(wanted));
    });
    for (const around of block.querySelectorAll(".groups, .list")) {
      around.hidden = !around.querySelector(".group:not([hidden])");
      if (wanted && around.matches(".groups")) around.open = true;
    }
    const shown = groups.filter((group) => !group.hidden).length;
    count.textContent = `${shown.toLocaleString("en")} of ${groups.length.toLocaleString("en")} groups`;
  };
  list.addEventListener("input", choose);
  name.addEventListener("input", choose);
  block.addEventListener("reveal", () => { list.value = name.value = ""; choose(); });
  block.querySelector(".controls").hidden = false;
  choose();
}

// A link to a group shows it, whatever is chosen and closed.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1)), block = target && target.closest(".kept");
  if (!block) return;
  if (target.closest("[hidden]")) block.dispatchEvent(new Event("reveal"));
  for (let around = target.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link && location.hash && link.getAttribute("href") === location.hash) reveal();
});
reveal();
