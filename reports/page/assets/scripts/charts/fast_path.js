// What a lookup table would answer, and whether its answer is the router's.

function coverageRows(place) {
  return data.steps.frequency.flatMap((over, frequency) =>
    data.steps.entropy.map((under, entropy) => {
      const { eligible, eligibleShare, coverage } = fastPath(place, { frequency, entropy });
      return [over, under, eligible, eligibleShare, coverage];
    }),
  );
}

function drawCoverage(place, colours) {
  const { frequency, entropy } = data.steps;
  const width = entropy.length;
  const scale = shareScale(colours, "coverage of occurrences");
  const points = coverageRows(place).map((row, at) => [at % width, Math.floor(at / width), row[4]]);
  const option = styled(
    colours,
    `Heatmap of coverage over ${frequency.length} frequency and ${width} entropy thresholds; ${percent(fastPath(place).coverage)} at the current ones.`,
    {
      legend: null,
      tooltip: {
        formatter: ({ value: [column, row, share] }) =>
          `Frequency over ${count(frequency[row])}<br>Entropy under ${entropy[column]} nats<br>Coverage ${percent(share)}`,
      },
      xAxis: axis(colours, "category", "Mean entropy under, nats", { data: entropy }),
      yAxis: axis(colours, "category", "Frequency over", { data: frequency.map(count), nameGap: 48 }),
      grid: { top: 12 },
      visualMap: scale.visualMap,
      series: [heatmap(colours, points, { itemStyle: { borderWidth: 0 } }), currentSetting(colours)],
    },
  );
  return {
    panels: [
      {
        option,
        key: scale.key,
        renderer: "canvas",
        height: "23rem",
        onClick: (column, row) => choose({ entropy: column, frequency: row }),
      },
    ],
  };
}

function currentSetting(colours) {
  return {
    type: "scatter",
    data: [[state.entropy, state.frequency]],
    symbol: "circle",
    symbolSize: 15,
    silent: true,
    z: 5,
    itemStyle: { color: "transparent", borderColor: colours.orange, borderWidth: 3.5 },
  };
}

const AGREEMENT_COLUMNS = ["table_tokens", "coverage", "set_agreement", "retained_gate_mass"];

function agreementRows(place) {
  const { sizes, thresholds } = data.agreement[place];
  const rows = (chosen, first) =>
    chosen.coverage.map((_, at) => [...first(at), ...AGREEMENT_COLUMNS.map((name) => chosen[name][at])]);
  return [
    ...rows(sizes, (at) => ["most frequent tokens", sizes.table_size[at], null, null, null]),
    ...rows(thresholds, (at) => [
      "thresholds",
      null,
      thresholds.frequency_threshold[at],
      thresholds.entropy_threshold[at],
      thresholds.front[at] ? "yes" : "no",
    ]),
  ];
}

function drawAgreement(place, colours) {
  const { sizes, thresholds } = data.agreement[place];
  const points = tablePoints(thresholds, (at) => settingWords(thresholds, at));
  const bySize = tablePoints(sizes, (at) => `The ${count(sizes.table_size[at])} most frequent tokens`);
  if (!points.length && !bySize.length) {
    return { empty: "Nothing was held out, so agreement was not measured." };
  }
  const front = points
    .filter(({ at }) => thresholds.front[at])
    .sort((one, other) => one.value[0] - other.value[0]);
  const option = styled(colours, agreementWords(place, points, front), {
    grid: { top: 58 },
    legend: { data: ["Thresholds", "Front", "Most frequent tokens"] },
    tooltip: { formatter: ({ data: point }) => tableWords(point) },
    xAxis: axis(colours, "value", "Coverage of held-out occurrences", { axisLabel: { formatter: whole } }),
    yAxis: axis(colours, "value", "Same expert set as the router", {
      nameGap: 42,
      axisLabel: { formatter: whole },
    }),
    visualMap: massHue(colours, points),
    series: agreementSeries(colours, points, front, bySize),
  });
  return {
    panels: [{ option, height: "25rem" }],
    note: "Shade of a point: retained gate mass, the share of the router's weight that the table's experts hold.",
  };
}

function settingWords({ frequency_threshold: over, entropy_threshold: under }, at) {
  return `Frequency over ${count(over[at])}, entropy under ${under[at]} nats`;
}

function massHue(colours, points) {
  const masses = points.map(({ value }) => value[2]).filter((mass) => !isMissing(mass));
  const range = masses.length ? [Math.min(...masses), Math.max(...masses)] : [0, 1];
  // the lowest mass is still a point to be seen
  const faintest = echarts.color.lerp(0.2, [colours.low, colours.high]);
  return hue(colours, range, whole, {
    top: 26,
    seriesIndex: 0,
    dimension: 2,
    inRange: { color: [faintest, colours.high] },
  });
}

function agreementSeries(colours, points, front, bySize) {
  return [
    {
      type: "scatter",
      name: "Thresholds",
      color: colours.high,
      data: points,
      symbolSize: 10,
      itemStyle: { borderColor: colours.edge, borderWidth: 0.7 },
    },
    line("Front", [], colours.orange, { data: front, symbolSize: 4, z: 1 }),
    line("Most frequent tokens", [], colours.green, {
      data: bySize,
      symbol: "diamond",
      symbolSize: 9,
      lineStyle: { type: "dashed" },
    }),
  ];
}

function agreementWords(place, points, front) {
  const best = front.at(-1)?.value;
  const furthest = best
    ? ` The front ends at ${percent(best[0])} coverage with ${percent(best[1])} agreement.`
    : "";
  return `Scatter of coverage against expert set agreement for ${points.length} pairs of thresholds in layer ${data.indices[place]}.${furthest}`;
}

function tablePoints(tables, words) {
  return tables.coverage
    .map((coverage, at) => ({
      at,
      value: [coverage, tables.set_agreement[at], tables.retained_gate_mass[at]],
      words: words(at),
      tokens: tables.table_tokens[at],
    }))
    .filter(({ value }) => !isMissing(value[0]) && !isMissing(value[1]));
}

function tableWords({ value: [coverage, agreement, mass], words, tokens }) {
  return `${words}<br>${count(tokens)} tokens in the table<br>Coverage ${percent(coverage)}<br>Same expert set ${percent(agreement)}<br>Retained gate mass ${percent(mass)}`;
}

function startFastPathFigures() {
  figure("coverage", {
    follows: ["place", "frequency", "entropy"],
    draw: drawCoverage,
    table: (place) => ({
      columns: ["frequency_over", "entropy_under", "eligible_tokens", "eligible_share", "coverage"],
      rows: coverageRows(place),
    }),
  });
  figure("agreement", {
    follows: ["place"],
    draw: drawAgreement,
    table: (place) => ({
      columns: [
        "table_of",
        "table_size",
        "frequency_over",
        "entropy_under",
        "on_front",
        ...AGREEMENT_COLUMNS,
      ],
      rows: agreementRows(place),
    }),
  });
}
