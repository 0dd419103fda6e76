// Jiang et al. (2024), Mixtral of Experts, arXiv:2401.04088, Table 5: percent of repetitions.
const PUBLISHED = {
  model: /mixtral-8x7b/i,
  layers: [0, 15, 31],
  texts: [
    "ArXiv",
    "DM Mathematics",
    "Github",
    "Gutenberg",
    "PhilPapers",
    "PubMed",
    "StackExchange",
    "Wikipedia",
  ],
  first_choice: [
    [14.0, 27.9, 22.7],
    [14.1, 28.4, 19.7],
    [14.9, 28.1, 19.7],
    [13.9, 26.1, 26.3],
    [13.6, 25.3, 22.1],
    [14.2, 24.6, 22.0],
    [13.6, 27.2, 23.6],
    [14.4, 23.6, 25.3],
  ],
  first_or_second: [
    [46.5, 62.3, 52.9],
    [44.9, 67.0, 44.5],
    [49.9, 66.9, 49.2],
    [49.5, 63.1, 52.2],
    [46.9, 61.9, 51.3],
    [48.6, 61.6, 51.8],
    [48.2, 64.6, 53.6],
    [49.8, 62.1, 51.8],
  ],
};

/** Return [place, share] of every published value, none where the run's model is another. */
function publishedPoints(name) {
  if (!PUBLISHED.model.test(data.run.model)) return [];
  return PUBLISHED[name].flatMap((text) =>
    text
      .map((value, at) => [data.indices.indexOf(PUBLISHED.layers[at]), value / 100])
      .filter(([place]) => place >= 0),
  );
}
