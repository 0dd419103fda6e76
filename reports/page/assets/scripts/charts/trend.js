// The runs of one series: each number over time, of the layers and on average.
const MEASURES = {
  max_load_ratio: ["Busiest expert / fair share", two, {}],
  dead_experts: ["Dead experts", significant, { min: 0 }],
  mean_entropy: ["Mean entropy, nats", two, {}],
  held_out_consistency: ["Held-out consistency", whole, {}],
};
const DRIFTS = [
  ["Load on the same experts", "shared_load"],
  ["Keep set in common", "keep_set_overlap"],
];
const COMPARED_WITH = { with_previous: "As in the run before", with_first: "As in the first run" };

const isKnown = (values) => values.some((value) => !isMissing(value));

function overTime(colours, title, words, series, parts) {
  const { y = {}, description } = parts;
  const option = styled(colours, description, {
    grid: { top: 28 },
    legend: { data: series.map(({ name }) => name).filter(Boolean) },
    tooltip: { trigger: "axis", valueFormatter: words },
    xAxis: axis(colours, "category", "", { data: data.times, nameGap: 0 }),
    // what hardly moves must not look as if it did
    yAxis: axis(colours, "value", "", { splitNumber: 4, scale: true, ...y, axisLabel: { formatter: words } }),
    series,
  });
  return { option, title };
}

/** Return the lines of a measure: the mean in colour, over the layers in grey. */
function measured(colours, name) {
  const [title, words, y] = MEASURES[name];
  const layers = data.layers[name].filter(isKnown).map((values, at) => ({
    ...line("", values, colours.grey, { lineStyle: { width: 1, opacity: 0.45 }, symbol: values.length > 1 ? "none" : "circle" }),
    id: `layer-${at}`,
    silent: true,
    tooltip: { show: false },
  }));
  const mean = line("Mean of the layers", data.means[name], colours.blue, { z: 3 });
  const description = `${title} over ${data.runs.length} runs, averaged over the layers: ${spread(data.means[name], words)}.`;
  return overTime(colours, title, words, [...layers, mean], { y, description });
}

function drawMeasures(names) {
  return (_, colours) => ({
    panels: names.filter((name) => isKnown(data.means[name])).map((name) => measured(colours, name)),
    note: data.indices.length > 1 ? "Grey: each layer." : "",
  });
}

function drawDrift(_, colours) {
  const panels = DRIFTS.filter(([, name]) => isKnown(data.means[`${name}_with_first`])).map(([title, name]) => {
    const series = Object.entries(COMPARED_WITH).map(([reference, label], at) =>
      line(label, data.means[`${name}_${reference}`], [colours.blue, colours.orange][at], {
        symbol: at ? "diamond" : "circle",
        lineStyle: { type: at ? "dashed" : "solid" },
      }),
    );
    const saying = Object.entries(COMPARED_WITH).map(
      ([reference, label]) => `${label.toLowerCase()} ${spread(data.means[`${name}_${reference}`], tenth)}`,
    );
    const description = `${title} over ${data.runs.length} runs, averaged over the layers: ${saying.join(", ")}.`;
    return overTime(colours, title, tenth, series, { y: { max: 1 }, description });
  });
  return { panels };
}

const tenth = (value) => percent(value, 1);

/** Return a row per run and layer of the measures, or per run of what is known on average alone. */
function rowsOfLayers(names) {
  const rows = data.runs.flatMap((run, at) =>
    data.indices.map((index, place) => [
      run,
      data.times[at],
      index,
      ...names.map((name) => data.layers[name][place][at]),
    ]),
  );
  return { columns: ["run", "began", "layer", ...names], rows };
}

function driftRows() {
  const names = Object.keys(data.means).filter((name) => /_with_/.test(name));
  const rows = data.runs.map((run, at) => [run, data.times[at], ...names.map((name) => data.means[name][at])]);
  return { columns: ["run", "began", ...names], rows };
}

document.documentElement.classList.add("scripted");
for (const [stem, names] of [
  ["balance", ["max_load_ratio", "dead_experts"]],
  ["entropy", ["mean_entropy"]],
  ["consistency", ["held_out_consistency"]],
])
  figure(stem, { draw: drawMeasures(names), table: () => rowsOfLayers(names) });
figure("drift", { draw: drawDrift, table: driftRows });
startFigures();
