// In the lineage page, before its own script: where it opens, and the column that its address names.
(() => {
  const PATIENCE = 20_000;
  const SETTLED = 300;
  if (!location.hash) location.replace(opensOn);

  function rowOf(column) {
    const rows = [...document.querySelectorAll("tr.column-row")];
    return rows.find((each) => each.querySelector("span")?.textContent.trim() === column);
  }

  function showColumn() {
    const column = /[?&]section=(\w+)/.exec(location.hash)?.[1];
    if (!column) return;
    const waiting = new MutationObserver(() => {
      if (!rowOf(column)) return;
      waiting.disconnect();
      // once the page has filled its table and scrolled to its own anchor
      setTimeout(() => mark(rowOf(column)), SETTLED);
    });
    waiting.observe(document, { childList: true, subtree: true, characterData: true });
    setTimeout(() => waiting.disconnect(), PATIENCE);
  }

  function mark(row) {
    for (const cell of row?.cells ?? []) cell.style.backgroundColor = "#dbe7ff";
    // opens what the table cuts off of its description
    if (row && !row.classList.contains("column-row-selected")) row.click();
    row?.scrollIntoView({ block: "center" });
  }

  addEventListener("hashchange", showColumn);
  showColumn();
})();
