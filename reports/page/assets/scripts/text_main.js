// Start the page of a text alone.

document.documentElement.classList.add("scripted");
startLayerBar();
startTokenDetail();
startPassages();
startFigures();
