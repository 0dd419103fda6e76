// Two runs, layer by layer, in the same panels.
const COMPARED = [
  ["spearman", `Spearman ${RHO} of frequency and entropy`, two, data.limits.spearman, true],
  ["low_entropy_share", "Low-entropy share of tokens", whole, data.limits.low_entropy_share, true],
  ["coverage", "Coverage of occurrences", whole, data.limits.coverage, true],
  ["normalised_entropy", "Mean entropy / ln experts", two, null, false],
  ["held_out_consistency", "Held-out consistency", two, null, false],
  ["max_load_ratio", "Busiest expert / fair share", two, null, false],
];
const OVERLAPS = [
  [
    "Same experts",
    whole,
    { expert_overlap: "Experts in common", set_agreement: "Same set", top_agreement: "Same first choice" },
  ],
  [
    "Change of entropy from A to B, nats",
    significant,
    { mean_entropy_change: "Mean change", mean_absolute_entropy_change: "Mean absolute change" },
  ],
];

const LOADS = [
  ["Load in common", whole, { shared_load: "Shared load" }, WHOLE_AXIS],
  ["Correlation of the loads", two, { load_correlation: "Pearson's r" }, RHO_AXIS],
  ["Dead experts", count, { dead_in_both: "Dead in both", dead_in_one: "Dead in one of them" }, { min: 0, minInterval: 1 }],
];

const FLIPS = { set_flip_share: "Another set", top_flip_share: "Another first choice" };
const PLACES = [
  ["layers", "by layer", (at) => data.indices[at], "Layer"],
  ["margins", "by margin, at least", (at) => significant(data.flips.margins.smallest_margin[at]), "Margin from"],
  ["positions", "by position, at least", (at) => count(data.flips.positions.first_position[at]), "Position from"],
];

const tenths = (value) => percent(value, 1);
// a trace may not tell a measure: then no panel and no line is drawn for it
const isTold = (values) => values.some((value) => !isMissing(value));

function panelOf(colours, title, words, series, parts) {
  const { y, description, lines = [], places = data.indices, place = "Layer" } = parts;
  const option = styled(colours, description, {
    grid: { top: 28 },
    legend: { data: series.map(({ name }) => name).filter(Boolean) },
    tooltip: { trigger: "axis", valueFormatter: words },
    xAxis: axis(colours, "category", "", {
      data: places,
      nameGap: 0,
      axisPointer: { label: { formatter: ({ value }) => `${place} ${value}` } },
    }),
    yAxis: axis(colours, "value", "", { splitNumber: 4, ...y, axisLabel: { formatter: words } }),
    series: [
      ...series,
      {
        type: "line",
        data: [],
        silent: true,
        markLine: lines.length ? markLines(colours, lines) : undefined,
      },
    ],
  });
  return { option, title };
}

function drawNumbers(_, colours) {
  const tints = [colours.blue, colours.orange];
  const told = COMPARED.filter(([name]) => data.runs.some((run) => isTold(run[name])));
  const panels = told.map(([name, title, words, criterion, bounded]) => {
    const axes = {
      spearman: RHO_AXIS,
      low_entropy_share: SHARE_AXIS,
      coverage: SHARE_AXIS,
      max_load_ratio: { min: 0 },
    };
    const saying = (at) =>
      isTold(data.runs[at][name]) ? spread(data.runs[at][name], words) : "not told";
    const boundsOf = (run) =>
      data.indices.map((_, at) => [at, run[`${name}_low`][at], run[`${name}_high`][at]]);
    const series = data.runs.flatMap((run, at) => [
      ...(bounded ? [whiskers(colours, boundsOf(run), tints[at])] : []),
      line("AB"[at], run[name], tints[at], {
        symbol: at ? "diamond" : "circle",
        lineStyle: { type: at ? "dashed" : "solid" },
      }),
    ]);
    return panelOf(colours, title, words, series, {
      y: axes[name] ?? WHOLE_AXIS,
      description: `${title} by layer: A ${saying(0)}, B ${saying(1)}.`,
      lines: criterion === null ? [] : [{ yAxis: criterion, name: "criterion" }],
    });
  });
  return { panels, note: data.labels.join(" · ") };
}

function drawOverlap(_, colours) {
  const tints = [colours.blue, colours.green, colours.purple];
  // a run that was imported may have no entropy
  const told = OVERLAPS.filter(([, , names]) => Object.keys(names).some((name) => isTold(data.overlap[name])));
  const panels = told.map(([title, words, names]) => {
    const { series, description } = linesOf(`${title} by layer`, words, names, data.overlap, tints);
    return panelOf(colours, title, words, series, { y: words === whole ? WHOLE_AXIS : {}, description });
  });
  return { panels };
}

function drawLoads(_, colours) {
  const tints = [colours.blue, colours.orange];
  // equal loads of all experts have no correlation
  const told = LOADS.filter(([, , names]) => Object.keys(names).some((name) => isTold(data.loads[name])));
  const panels = told.map(([title, words, names, y]) => {
    const { series, description } = linesOf(`${title} by layer`, words, names, data.loads, tints);
    return panelOf(colours, title, words, series, { y, description });
  });
  return { panels };
}

function drawFlips(_, colours) {
  const tints = [colours.green, colours.purple];
  const told = PLACES.filter(([name]) => isTold(data.flips[name].tokens));
  const panels = told.map(([name, by, labelled, place]) => {
    const title = `Routed differently ${by}`;
    const { series, description } = linesOf(title, tenths, FLIPS, data.flips[name], tints);
    const places = data.flips[name].tokens.map((_, at) => labelled(at));
    return panelOf(colours, title, tenths, series, { y: { min: 0 }, description, places, place });
  });
  return { panels };
}

/** Return a line of each column that has a value, and what they show as text. */
function linesOf(title, words, names, columns, tints) {
  const drawn = Object.entries(names).filter(([name]) => isTold(columns[name]));
  return {
    series: drawn.map(([name, label], at) => line(label, columns[name], tints[at])),
    description: `${title}: ${drawn.map(([name, label]) => `${label} ${spread(columns[name], words)}`).join(", ")}.`,
  };
}

function flipRows() {
  const rows = PLACES.flatMap(([name, , labelled, place]) =>
    data.flips[name].tokens.map((tokens, at) => [
      place.toLowerCase(),
      labelled(at),
      tokens,
      ...Object.keys(FLIPS).map((share) => data.flips[name][share][at]),
    ]),
  );
  return { columns: ["by", "value", "tokens", ...Object.keys(FLIPS)], rows };
}

function numberRows() {
  const names = Object.keys(data.runs[0]).filter((name) => data.runs.some((run) => isTold(run[name])));
  return {
    columns: ["layer", ...names.flatMap((name) => [`${name}_a`, `${name}_b`])],
    rows: data.indices.map((index, at) => [
      index,
      ...names.flatMap((name) => data.runs.map((run) => run[name][at])),
    ]),
  };
}

/** Return a row per layer of the columns that have a value. */
function rowsOf(columns) {
  const names = Object.keys(columns).filter((name) => isTold(columns[name]));
  return {
    columns: ["layer", ...names],
    rows: data.indices.map((index, at) => [index, ...names.map((name) => columns[name][at])]),
  };
}

document.documentElement.classList.add("scripted");
figure("numbers", { draw: drawNumbers, table: numberRows });
if (data.loads) figure("loads", { draw: drawLoads, table: () => rowsOf(data.loads) });
if (data.overlap) figure("overlap", { draw: drawOverlap, table: () => rowsOf(data.overlap) });
if (data.flips) figure("flips", { draw: drawFlips, table: flipRows });
startFigures();
