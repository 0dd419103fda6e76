// Loads and repetition, all layers at once.
const REFERENCE_PAIRS = [
  ["first_choice", "Same first choice", "First choice"],
  ["first_or_second", "A choice in common", "First or second choice"],
  ["any_choice", "Any choice in common", "Any choice"],
];

function drawLoad(place, colours) {
  const { experts, ratio, limit } = data.load;
  const scale = ratioScale(colours, limit, "times a fair share");
  const loads = cells(numbers(ratio), experts);
  const most = largest(loads.map(([, , load]) => load));
  const points = loads.map(([expert, row, load]) => [expert, row, scale.placeOf(load), load]);
  const height = Math.min(
    Math.max(data.indices.length * (data.indices.length > 24 ? 11 : 20) + 88, 150),
    740,
  );
  const option = styled(
    colours,
    `Heatmap of the load of ${experts} experts in ${data.indices.length} layers as multiples of a fair share, up to ${decimal(most, 2)}.`,
    {
      legend: null,
      tooltip: {
        formatter: ({ value: [expert, row, , load] }) =>
          `Layer ${data.indices[row]}, expert ${expert}<br>${decimal(load, 2)} × a fair share`,
      },
      xAxis: axis(colours, "category", "Expert", {
        data: Array.from({ length: experts }, (_, expert) => expert),
      }),
      yAxis: axis(colours, "category", "MoE layer", {
        data: data.indices,
        inverse: true,
        nameGap: 30,
        axisLabel: { interval: everyFew(data.indices.length, 24) },
      }),
      grid: scale.grid,
      visualMap: scale.visualMap,
      series: [heatmap(colours, points), chosenRow(colours, place)],
    },
  );
  return {
    panels: [
      {
        option,
        key: scale.key,
        renderer: "canvas",
        height: `${height}px`,
        onClick: (_, row) => choose({ place: row }),
      },
    ],
  };
}

function chosenRow(colours, place) {
  return {
    type: "custom",
    silent: true,
    z: 5,
    data: [[0, place]],
    tooltip: { show: false },
    renderItem({ coordSys: { x, width } }, api) {
      const height = api.size([0, 1])[1];
      const shape = { x, y: api.coord([0, api.value(1)])[1] - height / 2, width, height };
      return { type: "rect", shape, style: { fill: "none", stroke: colours.ink, lineWidth: 2.5 } };
    },
  };
}

function drawRepetition(place, colours) {
  const panels = REFERENCE_PAIRS.filter(([name]) =>
    data.repetition[`${name}_repetition`]?.some((value) => !isMissing(value)),
  ).map(([name, title, short]) => {
    const [found, chance] = [data.repetition[`${name}_repetition`], data.repetition[`${name}_chance`]];
    const symbol = data.indices.length > 1 ? "none" : "circle";
    const series = [
      line(short, found, colours.blue),
      line("Chance", chance, colours.grey, { lineStyle: { type: "dashed" }, symbol }),
    ];
    const byLoad = data.repetition[`${name}_chance_by_load`];
    if (byLoad)
      series.push(
        line("Chance at these loads", byLoad, colours.purple, { lineStyle: { type: "dotted" }, symbol }),
      );
    const published = publishedPoints(name);
    if (published.length)
      series.push({
        type: "scatter",
        name: "Published",
        data: published,
        // a diamond that the legend does not stretch
        symbol: "path://M4 0L8 4L4 8L0 4Z",
        symbolKeepAspect: true,
        symbolSize: 8,
        color: colours.orange,
        tooltip: { valueFormatter: undefined },
      });
    return layerPanel(colours, title, series, {
      words: `${title} of the next token by layer, ${spread(found, shareWords)}, chance ${spread(chance, shareWords)}.`,
      y: { words: (value) => percent(value, 1), axis: { min: 0, axisLabel: {} } },
      legend: series.map((each) => each.name),
    });
  });
  const note = publishedPoints("first_choice").length
    ? "Published: Jiang et al. (2024), Mixtral of Experts, Table 5, eight texts of The Pile at layers 0, 15 and 31."
    : "";
  return { panels, note };
}

function startLayerFigures() {
  const of = (names, source) => (place) => ({
    columns: ["layer", ...names],
    rows: data.indices.map((index, at) => [index, ...names.map((name) => source[name][at])]),
  });
  for (const [stem, tested] of [
    ["overview", false],
    ["criteria-by-layer", true],
  ])
    figure(stem, {
      follows: ["place"],
      draw: (_, colours) => drawOverview(colours, tested),
      table: of(Object.keys(data.layers), data.layers),
    });
  figure("load", {
    follows: ["place"],
    draw: drawLoad,
    table: () => ({
      columns: ["layer", "expert", "load_ratio"],
      rows: cells(numbers(data.load.ratio), data.load.experts).map(([expert, row, load]) => [
        data.indices[row],
        expert,
        load,
      ]),
    }),
  });
  figure("repetition", {
    follows: ["place"],
    draw: drawRepetition,
    table: of(Object.keys(data.repetition ?? {}), data.repetition),
  });
}
