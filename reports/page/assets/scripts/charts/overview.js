// The numbers of every layer beside each other; a click chooses the layer that the page shows.
const CRITERION = "criterion";
const OVERVIEW = [
  {
    title: `Spearman ${RHO} of frequency and entropy`,
    lines: [["spearman", RHO, "blue"]],
    bounded: true,
    y: { words: two, axis: RHO_AXIS },
    marks: [{ yAxis: data.limits.spearman, name: CRITERION }],
  },
  {
    title: "Low-entropy share of tokens",
    lines: [["low_entropy_share", "Low-entropy share", "orange"]],
    bounded: true,
    y: { words: whole, axis: SHARE_AXIS },
    marks: [{ yAxis: data.limits.low_entropy_share, name: CRITERION }],
  },
  {
    title: "Coverage of occurrences",
    lines: [["coverage", "Coverage", "green"]],
    bounded: true,
    y: { words: whole, axis: SHARE_AXIS },
    marks: [{ yAxis: data.limits.coverage, name: CRITERION }],
  },
  {
    title: "Mean entropy / ln experts",
    lines: [["normalised_entropy", "Normalised entropy", "purple"]],
    y: { words: two, axis: WHOLE_AXIS },
  },
  {
    title: "Consistency, mean over tokens",
    lines: [
      ["consistency", "As counted", "blue"],
      ["held_out_consistency", "Held out", "green"],
      ["random_consistency", "Random router", "grey"],
    ],
    y: { words: two, axis: WHOLE_AXIS },
  },
  {
    title: "Load of the busiest expert, fair share = 1",
    lines: [["max_load_ratio", "Busiest expert", "orange"]],
    y: { words: (value) => decimal(value, 1), axis: { min: 0 } },
    marks: [{ yAxis: 1, name: "fair share" }],
  },
];

/** Return the panels of what was tested, or of all else; of a measure that a trace does not tell there is none. */
function drawOverview(colours, tested) {
  const told = OVERVIEW.filter(({ lines: [[name]], bounded = false }) => data.layers[name] && bounded === tested);
  return {
    panels: told.map((measure) => overviewPanel(colours, measure)),
    note: "Shaded: the layer that is shown. Horizontal: the index among the MoE layers.",
  };
}

function overviewPanel(colours, { title, lines, bounded, y, marks }) {
  const { layers } = data;
  const series = lines.map(([name, label, colour]) =>
    line(label, layers[name], colours[colour], {
      lineStyle: { type: colour === "grey" ? "dashed" : "solid" },
    }),
  );
  if (bounded) series.unshift(whiskers(colours, bounds(lines[0][0]), colours[lines[0][2]]));
  if (lines[0][0] === "spearman") series.unshift(bands(colours, bounds("null")));
  const found = lines.map(([name, label]) => `${label} ${spread(layers[name], y.words)}`);
  return layerPanel(colours, title, series, {
    words: `${title} by layer: ${found.join(", ")}.`,
    y,
    lines: marks,
    legend: lines.length > 1 ? lines.map(([, label]) => label) : undefined,
  });
}

/** Return [place, low, high] of every layer. */
function bounds(name) {
  const { [`${name}_low`]: low, [`${name}_high`]: high } = data.layers;
  return data.indices.map((_, place) => [place, low[place], high[place]]);
}
