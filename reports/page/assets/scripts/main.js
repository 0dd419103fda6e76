// Start the page: everything reads the state, which the address may have set.

/** Let links within the page move the reader without taking the layer out of the address. */
function keepLayerInAddress() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link || link.hash.startsWith("#layer=")) return;
    const target = document.getElementById(link.hash.slice(1));
    if (!target) return;
    event.preventDefault();
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });
}

/** Go where the address says once the figures have taken their room: the browser went there before. */
function goToAddress() {
  addEventListener("load", () =>
    document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" }),
  );
}

function startCitation() {
  document.getElementById("copy-citation").addEventListener("click", async () => {
    const entry = document.querySelector("pre code");
    let words = "Copied.";
    try {
      await navigator.clipboard.writeText(entry.textContent);
    } catch {
      getSelection().selectAllChildren(entry);
      words = "Selected: copy it with your keyboard.";
    }
    document.getElementById("copied").textContent = words;
  });
}

document.documentElement.classList.add("scripted");
startLayerBar();
if (data.steps) startSliders();
if (data.tokens) {
  startTokenTable();
  startTokenDetail();
}
startPassages();
startRoutingFigures();
startFastPathFigures();
startReplayFigures();
startLayerFigures();
startExpertFigures();
startCards();
startCacheFigures();
startPlacementFigures();
startNeededExpertFigures();
startTextFigures();
startFigures();
startCitation();
keepLayerInAddress();
goToAddress();
