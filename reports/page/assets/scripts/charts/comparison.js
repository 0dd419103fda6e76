// Two of the page's runs, layer by layer, in the same panels.
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
    "Change of entropy from the first to the second, nats",
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
  ["margins", "by margin, at least", (at) => significant(common().flips.margins.smallest_margin[at]), "Margin from"],
  ["positions", "by position, at least", (at) => count(common().flips.positions.first_position[at]), "Position from"],
];

/** Return what the page knows of the chosen two runs together. */
function common() {
  return data.pairs[state.pair];
}

/** Return the places of the chosen two runs. */
function chosen() {
  return state.pair.split("-").map(Number);
}

const NOTHING = { empty: "This is not compared of these two runs." };

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
  const places = chosen();
  const runs = places.map((place) => data.runs[place]);
  const letters = places.map((place) => data.letters[place]);
  const told = COMPARED.filter(([name]) => runs.some((run) => isTold(run[name])));
  const panels = told.map(([name, title, words, criterion, bounded]) => {
    const axes = {
      spearman: RHO_AXIS,
      low_entropy_share: SHARE_AXIS,
      coverage: SHARE_AXIS,
      max_load_ratio: { min: 0 },
    };
    const saying = (at) =>
      isTold(runs[at][name]) ? spread(runs[at][name], words) : "not told";
    const boundsOf = (run) =>
      data.indices.map((_, at) => [at, run[`${name}_low`][at], run[`${name}_high`][at]]);
    const series = runs.flatMap((run, at) => [
      ...(bounded ? [whiskers(colours, boundsOf(run), tints[at])] : []),
      line(letters[at], run[name], tints[at], {
        symbol: at ? "diamond" : "circle",
        lineStyle: { type: at ? "dashed" : "solid" },
      }),
    ]);
    return panelOf(colours, title, words, series, {
      y: axes[name] ?? WHOLE_AXIS,
      description: `${title} by layer: ${letters[0]} ${saying(0)}, ${letters[1]} ${saying(1)}.`,
      lines: criterion === null ? [] : [{ yAxis: criterion, name: "criterion" }],
    });
  });
  return { panels, note: places.map((place) => data.labels[place]).join(" · ") };
}

function drawOverlap(_, colours) {
  const { overlap } = common();
  if (!overlap) return NOTHING;
  const tints = [colours.blue, colours.green, colours.purple];
  // a run that was imported may have no entropy
  const told = OVERLAPS.filter(([, , names]) => Object.keys(names).some((name) => isTold(overlap[name])));
  const panels = told.map(([title, words, names]) => {
    const { series, description } = linesOf(`${title} by layer`, words, names, overlap, tints);
    return panelOf(colours, title, words, series, { y: words === whole ? WHOLE_AXIS : {}, description });
  });
  return { panels };
}

function drawLoads(_, colours) {
  const { loads } = common();
  if (!loads) return NOTHING;
  const tints = [colours.blue, colours.orange];
  // equal loads of all experts have no correlation
  const told = LOADS.filter(([, , names]) => Object.keys(names).some((name) => isTold(loads[name])));
  const panels = told.map(([title, words, names, y]) => {
    const { series, description } = linesOf(`${title} by layer`, words, names, loads, tints);
    return panelOf(colours, title, words, series, { y, description });
  });
  return { panels };
}

function drawFlips(_, colours) {
  const { flips } = common();
  if (!flips) return NOTHING;
  const tints = [colours.green, colours.purple];
  const told = PLACES.filter(([name]) => isTold(flips[name].tokens));
  const panels = told.map(([name, by, labelled, place]) => {
    const title = `Routed differently ${by}`;
    const { series, description } = linesOf(title, tenths, FLIPS, flips[name], tints);
    const places = flips[name].tokens.map((_, at) => labelled(at));
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
  const { flips } = common();
  const rows = PLACES.flatMap(([name, , labelled, place]) =>
    (flips?.[name].tokens ?? []).map((tokens, at) => [
      place.toLowerCase(),
      labelled(at),
      tokens,
      ...Object.keys(FLIPS).map((share) => flips[name][share][at]),
    ]),
  );
  return { columns: ["by", "value", "tokens", ...Object.keys(FLIPS)], rows };
}

function numberRows() {
  const places = chosen();
  const runs = places.map((place) => data.runs[place]);
  const names = Object.keys(runs[0]).filter((name) => runs.some((run) => isTold(run[name])));
  const letters = places.map((place) => data.letters[place].toLowerCase());
  return {
    columns: ["layer", ...names.flatMap((name) => letters.map((letter) => `${name}_${letter}`))],
    rows: data.indices.map((index, at) => [
      index,
      ...names.flatMap((name) => runs.map((run) => run[name][at])),
    ]),
  };
}

/** Return a row per layer of the columns that have a value. */
function rowsOf(columns) {
  if (!columns) return { columns: [], rows: [] };
  const names = Object.keys(columns).filter((name) => isTold(columns[name]));
  return {
    columns: ["layer", ...names],
    rows: data.indices.map((index, at) => [index, ...names.map((name) => columns[name][at])]),
  };
}

/** Let the reader choose two of the runs, by the lists or by a cell of the matrix. */
function startPairs() {
  const lists = [0, 1].map((place) => document.getElementById(`run-${place}`));
  if (!lists[0]) return;
  const choosePair = (places) => choose({ pair: places.toSorted((one, other) => one - other).join("-") });
  lists.forEach((list, place) =>
    list.addEventListener("change", () => {
      const places = lists.map(({ value }) => Number(value));
      // a run beside itself says nothing: the other list moves on
      if (places[0] === places[1]) places[1 - place] = (places[place] + 1) % data.runs.length;
      choosePair(places);
    }),
  );
  for (const link of document.querySelectorAll("[data-pair]"))
    link.addEventListener("click", () => choose({ pair: link.dataset.pair }));
  onChange((changed) => {
    if (!changed.has("pair")) return;
    chosen().forEach((run, place) => (lists[place].value = run));
    document.getElementById("mismatch").textContent = common().sentence ?? NOTHING.empty;
  });
}

const follows = ["pair"];
document.documentElement.classList.add("scripted");
figure("numbers", { draw: drawNumbers, table: numberRows, follows });
figure("loads", { draw: drawLoads, table: () => rowsOf(common().loads), follows });
figure("overlap", { draw: drawOverlap, table: () => rowsOf(common().overlap), follows });
figure("flips", { draw: drawFlips, table: flipRows, follows });
startPairs();
startFigures();
