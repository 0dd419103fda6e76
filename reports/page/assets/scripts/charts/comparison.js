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

// a trace may not tell a measure: then no panel and no line is drawn for it
const isTold = (values) => values.some((value) => !isMissing(value));

function panelOf(colours, title, words, series, { y, description, lines = [] }) {
  const option = styled(colours, description, {
    grid: { top: 28 },
    legend: { data: series.map(({ name }) => name).filter(Boolean) },
    tooltip: { trigger: "axis", valueFormatter: words },
    xAxis: axis(colours, "category", "", {
      data: data.indices,
      nameGap: 0,
      axisPointer: { label: { formatter: ({ value }) => `Layer ${value}` } },
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
  const told = ([, , names]) => Object.keys(names).filter((name) => isTold(data.overlap[name]));
  const panels = OVERLAPS.filter((each) => told(each).length).map((each, panel) => {
    const [title, words, labels] = each;
    const names = told(each).map((name) => [name, labels[name]]);
    const series = names.map(([name, label], at) => line(label, data.overlap[name], tints[at]));
    const description = `${title} by layer: ${names
      .map(([name, label]) => `${label} ${spread(data.overlap[name], words)}`)
      .join(", ")}.`;
    return panelOf(colours, title, words, series, { y: panel ? {} : WHOLE_AXIS, description });
  });
  return { panels };
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

document.documentElement.classList.add("scripted");
figure("numbers", { draw: drawNumbers, table: numberRows });
if (data.overlap) {
  const names = Object.keys(data.overlap).filter((name) => isTold(data.overlap[name]));
  const rows = () => data.indices.map((index, at) => [index, ...names.map((name) => data.overlap[name][at])]);
  figure("overlap", { draw: drawOverlap, table: () => ({ columns: ["layer", ...names], rows: rows() }) });
}
startFigures();
