// The layer that the page shows: chosen in the bar, in a chart or by the address, kept in the address.

function startLayerBar() {
  const select = document.getElementById("layer");
  const [previous, next] = ["previous-layer", "next-layer"].map((id) => document.getElementById(id));
  select.addEventListener("change", () => choose({ place: select.selectedIndex }));
  previous.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  for (const button of [previous, next]) {
    button.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") step(-1);
      if (key === "ArrowRight") step(1);
    });
  }
  onChange((changed) => {
    if (!changed.has("place")) return;
    history.replaceState(null, "", `#layer=${data.indices[state.place]}`);
    showLayer();
  });
  addEventListener("hashchange", readAddress);
  readAddress();
  showLayer();
}

function step(by) {
  choose({ place: Math.min(Math.max(state.place + by, 0), data.indices.length - 1) });
}

function readAddress() {
  const wanted = /^#layer=(\d+)$/.exec(location.hash);
  const place = wanted ? data.indices.indexOf(Number(wanted[1])) : -1;
  if (place >= 0) choose({ place });
}

function showLayer() {
  const { place } = state;
  const index = data.indices[place];
  document.getElementById("layer").selectedIndex = place;
  // a disabled button would lose the focus of a reader who is stepping through
  document.getElementById("previous-layer").setAttribute("aria-disabled", String(place === 0));
  document
    .getElementById("next-layer")
    .setAttribute("aria-disabled", String(place === data.indices.length - 1));
  for (const section of document.querySelectorAll(".of-one-layer"))
    section.hidden = Number(section.dataset.place) !== place;
  for (const row of document.querySelectorAll("#layers-by-number tbody tr")) {
    const current = Number(row.dataset.place) === place;
    row.classList.toggle("current", current);
    if (current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  for (const words of document.querySelectorAll(".of-layer")) words.textContent = `, layer ${index}`;
  document.title = `${data.run.id}: layer ${index}`;
  if (data.layers.verdict) showVerdict(data.layers.verdict[place]);
}

function showVerdict(verdict) {
  const supported = verdict === "SUPPORTED";
  const words = document.getElementById("layer-verdict");
  words.className = supported ? "yes" : "no";
  words.textContent = `${supported ? "✓" : "✗"} ${verdict}`;
  document.title += `, ${verdict}`;
}
