// Experts on GPUs, and how much text reaches all of them.
const GPU_LOOKS = { EPLB: ["blue", "circle"], contiguous: ["orange", "rect"], random: ["green", "triangle"] };
const BALANCE_PANELS = [
  ["learned", () => data.placement.learned],
  ["held_out", () => "Held-out text"],
  ["windows", () => "All layers, by window of the text"],
];

function drawPlacement(_, colours) {
  const { empty, balance, note } = data.placement;
  if (empty) return { empty };
  const panels = BALANCE_PANELS.filter(([part]) => balance.EPLB[part]?.length).map(([part, title]) => {
    const series = Object.entries(GPU_LOOKS).map(([name, [colour, symbol]]) =>
      line(name, balance[name][part], colours[colour], { symbol }),
    );
    const found = Object.keys(GPU_LOOKS).map((name) => `${name} ${spread(balance[name][part], two)}`);
    const words = `Mean load of a GPU over the highest, ${title()}: ${found.join(", ")}.`;
    const y = { words: two, axis: WHOLE_AXIS };
    const legend = Object.keys(GPU_LOOKS);
    if (part !== "windows") return layerPanel(colours, `${title()}, by layer`, series, { words, y, legend });
    const option = styled(colours, words, {
      grid: { top: 26 },
      legend: { data: legend },
      tooltip: { trigger: "axis", valueFormatter: two },
      xAxis: axis(colours, "category", "", {
        data: balance.EPLB[part].map((_, window) => window),
        nameGap: 0,
        axisPointer: { label: { formatter: ({ value }) => `Window ${value}` } },
      }),
      yAxis: axis(colours, "value", "", { splitNumber: 4, ...WHOLE_AXIS, axisLabel: { formatter: two } }),
      series,
    });
    return { option, title: title() };
  });
  return { panels, note };
}

function placementTable() {
  const { balance } = data.placement;
  const parts = balance ? BALANCE_PANELS.filter(([part]) => balance.EPLB[part]) : [];
  return {
    columns: ["part", "layer_or_window", ...Object.keys(GPU_LOOKS)],
    rows: parts.flatMap(([part, title]) =>
      balance.EPLB[part].map((_, at) => [
        title(),
        part === "windows" ? at : data.indices[at],
        ...Object.keys(GPU_LOOKS).map((name) => balance[name][part][at]),
      ]),
    ),
  };
}

const CALIBRATION_LOOKS = [
  ["blue", "solid"],
  ["orange", "dashed"],
  ["green", "solid"],
  ["purple", "dashed"],
];

function drawCalibration(_, colours) {
  const { curves, samples } = data.calibration;
  if (!curves.length) return { empty: "The run has no tokens." };
  // the line of one sample is a point
  const symbol = samples > 1 ? "none" : "circle";
  const series = curves.map(({ tokens, samples: places, experts, all_experts: all }, at) => {
    const [colour, type] = CALIBRATION_LOOKS[at % 4];
    const first = places[0] === 1 ? experts[0] : 0;
    const points = [[1, first / all], ...places.map((place, of) => [place, experts[of] / all])];
    points.push([samples, (experts.at(-1) ?? 0) / all]);
    // curves that lie on one another stay visible
    const parts = { data: points, step: "end", symbol, lineStyle: { type, width: 5 - at } };
    return line(calibrationName(tokens), [], colours[colour], parts);
  });
  const ends = curves.map(
    ({ tokens, experts, all_experts: all }) =>
      `${calibrationName(tokens)} ${percent((experts.at(-1) ?? 0) / all)}`,
  );
  const option = styled(
    colours,
    `Share of all layers' experts by samples read, after all ${count(samples)} of them: ${ends.join(", ")}.`,
    {
      legend: { data: series.map(({ name }) => name) },
      tooltip: {
        trigger: "axis",
        formatter: (found) => {
          const read = Math.round(found[0].axisValue);
          return [`${count(read)} samples`, ...curves.map((each) => reachedWords(each, read))].join("<br>");
        },
      },
      xAxis: axis(colours, "log", "Samples read", {
        min: 1,
        max: Math.max(samples, 2),
        axisLabel: { formatter: count },
      }),
      yAxis: axis(colours, "value", "", { ...WHOLE_AXIS, axisLabel: { formatter: whole } }),
      series,
    },
  );
  return { panels: [{ option, height: "20rem" }] };
}

function calibrationName(tokens) {
  return tokens === 1 ? "1 token" : `${count(tokens)} tokens`;
}

function reachedWords({ tokens, samples, experts, all_experts: all }, read) {
  const passed = samples.filter((place) => place <= read).length;
  return `${calibrationName(tokens)} or more: ${count(passed ? experts[passed - 1] : 0)} of ${count(all)} experts`;
}

function startPlacementFigures() {
  figure("placement", { draw: drawPlacement, table: placementTable, follows: ["place"] });
  figure("calibration", {
    draw: drawCalibration,
    table: () => ({
      columns: ["tokens", "samples", "experts", "all_experts"],
      rows: data.calibration.curves.flatMap(({ tokens, samples, experts, all_experts: all }) =>
        samples.map((place, at) => [tokens, place, experts[at], all]),
      ),
    }),
  });
}
