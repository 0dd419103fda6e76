// The experts of one layer: the busiest, together, one after the other, and by domain.

const evenShare = (shares) => shares.map((_, at) => (at + 1) / shares.length);

function drawBusiest(place, colours) {
  const shares = data.busiest[place];
  if (shares.some(isMissing)) return { empty: "No expert of this layer was selected." };
  const most = shares.findIndex((share) => share >= 0.5) + 1;
  const series = [
    line("Busiest experts", shares, colours.orange),
    line("Even share", evenShare(shares), colours.grey, { lineStyle: { type: "dashed" }, symbol: "none" }),
  ];
  const option = styled(
    colours,
    `Share of the load of layer ${data.indices[place]} by number of its busiest experts: ${most} of ${shares.length} are enough for half of it.`,
    {
      legend: { data: series.map((each) => each.name) },
      grid: { top: 28 },
      tooltip: { trigger: "axis", valueFormatter: (value) => percent(value, 1) },
      xAxis: axis(colours, "category", "Number of experts, the busiest first", {
        data: shares.map((_, at) => at + 1),
      }),
      yAxis: axis(colours, "value", "", { ...WHOLE_AXIS, axisLabel: { formatter: whole } }),
      series,
    },
  );
  return {
    panels: [{ option }],
    note: `${most} of ${shares.length} experts are enough for half of the load.`,
  };
}

function pairRows(pairs) {
  if (!pairs) return [];
  return cells(numbers(pairs.probability), pairs.columns.length).map(([column, row, share]) => [
    pairs.rows[row],
    pairs.columns[column],
    share,
  ]);
}

function drawPairs(place, colours, { pairs, scale, rowName, columnName, undefinedWords, words }) {
  const shares = cells(numbers(pairs.probability), pairs.columns.length);
  const most = largest(shares.map(([, , share]) => share));
  const points = shares.map(([column, row, share]) => {
    const ratio = share / pairs.even[column];
    return [column, row, scale.placeOf(ratio), share, ratio];
  });
  const option = styled(colours, words(most), {
    legend: null,
    tooltip: {
      formatter: ({ value: [column, row, , share, ratio] }) =>
        `${rowName} ${pairs.rows[row]}<br>${columnName} ${pairs.columns[column]}<br>${percent(share)}, ${decimal(ratio, 2)}× an even share`,
    },
    xAxis: axis(colours, "category", columnName, { data: pairs.columns }),
    yAxis: axis(colours, "category", rowName, {
      data: pairs.rows,
      inverse: true,
      nameGap: 34,
      axisLabel: { interval: everyFew(pairs.rows.length, 16) },
    }),
    grid: scale.grid,
    visualMap: scale.visualMap,
    series: [heatmap(colours, points)],
  });
  const all = data.layers.num_experts[place];
  const shown = pairs.rows.length < all ? ` Shown: the ${pairs.rows.length} busiest of ${all} experts.` : "";
  const note = points.length < pairs.rows.length * pairs.columns.length ? `Grey: ${undefinedWords}.${shown}` : shown;
  return { panels: [{ option, key: scale.key, renderer: "canvas", height: "25rem" }], note };
}

function drawCoactivation(place, colours) {
  const { layers, limit } = data.coactivation;
  const pairs = layers[place];
  const index = data.indices[place];
  if (!pairs) {
    const one = data.layers.top_k[place] === 1;
    return {
      empty: one
        ? "This layer chooses one expert for each token: no two are chosen together."
        : "No two experts were chosen together.",
    };
  }
  return drawPairs(place, colours, {
    pairs,
    scale: ratioScale(colours, limit, "times an even draw of the other experts"),
    rowName: "Given expert",
    columnName: "Also chosen",
    undefinedWords: "the expert itself, or one without pairs",
    words: (most) =>
      `Heatmap of co-activation of ${pairs.rows.length} experts in layer ${index}, up to ${percent(most)}.`,
  });
}

function drawTransition(place, colours) {
  const { layers, limit } = data.transition;
  const pairs = layers[place];
  const index = data.indices[place];
  if (!pairs) {
    const last = place === data.indices.length - 1;
    return {
      empty: last
        ? "This is the last MoE layer: no transition follows."
        : "No transition from this layer was counted.",
    };
  }
  return drawPairs(place, colours, {
    pairs,
    scale: ratioScale(colours, limit, "times the share of all tokens"),
    rowName: `Expert in layer ${index}`,
    columnName: `Expert in layer ${data.indices[place + 1]}`,
    undefinedWords: "an expert that is never a first choice",
    words: (most) =>
      `Heatmap of transitions from ${pairs.rows.length} experts of layer ${index} to the next layer's, up to ${percent(most)}.`,
  });
}

function domainRows(place) {
  const packed = data.domains.layers[place];
  if (!packed) return [];
  return domainCells(place).map(([expert, row, share]) => [
    data.domains.names[row],
    data.domains.tokens[row],
    expert,
    share,
  ]);
}

/** Return [expert, row, share] of the experts that a layer has. */
function domainCells(place) {
  const all = cells(numbers(data.domains.layers[place]), data.load.experts);
  return all.filter(([expert]) => expert < data.layers.num_experts[place]);
}

function drawDomains(place, colours) {
  const { names, layers, limit } = data.domains;
  if (!layers[place] || !names.length) return { empty: "The samples of this run have no domains." };
  const shares = domainCells(place);
  const most = largest(shares.map(([, , share]) => share));
  const fair = data.layers.top_k[place] / data.layers.num_experts[place];
  const scale = ratioScale(colours, limit, "times an even share of the domain's tokens");
  const points = shares.map(([expert, row, share]) => [expert, row, scale.placeOf(share / fair), share]);
  const option = styled(
    colours,
    `Heatmap of ${names.length} domains by expert in layer ${data.indices[place]}, up to ${percent(most)} where an even share is ${percent(fair)}.`,
    {
      legend: null,
      tooltip: {
        formatter: ({ value: [expert, row, , share] }) =>
          `${escaped(names[row])}, expert ${expert}<br>${percent(share)} of its tokens, ${decimal(share / fair, 2)}× an even share`,
      },
      xAxis: axis(colours, "category", "Expert", {
        data: Array.from({ length: data.layers.num_experts[place] }, (_, expert) => expert),
      }),
      yAxis: axis(colours, "category", "", {
        data: names,
        inverse: true,
        axisLabel: { width: 110, overflow: "truncate" },
      }),
      grid: scale.grid,
      visualMap: scale.visualMap,
      series: [heatmap(colours, points)],
    },
  );
  return {
    panels: [
      { option, key: scale.key, renderer: "canvas", height: `${Math.min(88 + 26 * names.length, 640)}px` },
    ],
    note: `An even share would be ${percent(fair)}.`,
  };
}

function startExpertFigures() {
  figure("busiest", {
    follows: ["place"],
    draw: drawBusiest,
    table: (place) => ({
      columns: ["top_experts", "activation_share", "even_share"],
      rows: data.busiest[place].map((share, at) => [at + 1, share, (at + 1) / data.busiest[place].length]),
    }),
  });
  figure("coactivation", {
    follows: ["place"],
    draw: drawCoactivation,
    table: (place) => ({
      columns: ["expert", "other_expert", "probability"],
      rows: pairRows(data.coactivation.layers[place]),
    }),
  });
  figure("transition", {
    follows: ["place"],
    draw: drawTransition,
    table: (place) => ({
      columns: ["expert", "next_expert", "probability"],
      rows: pairRows(data.transition.layers[place]),
    }),
  });
  figure("domains", {
    follows: ["place"],
    draw: drawDomains,
    table: (place) => ({ columns: ["domain", "domain_tokens", "expert", "share"], rows: domainRows(place) }),
  });
}
