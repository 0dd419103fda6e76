// The text: how frequencies fall with rank, and what fewer documents or fewer rare tokens change.

function drawZipf(place, colours) {
  const { rank, frequency, lines } = data.zipf;
  if (!rank.length) return { empty: "No token was counted." };
  const tints = [colours.orange, colours.green, colours.purple];
  const option = styled(
    colours,
    `Frequency by rank on logarithmic axes, ${count(frequency[0])} occurrences at rank 1, ${count(rank.at(-1))} ranks.`,
    {
      grid: { top: 26 + 20 * (lines.length + 1) },
      legend: { orient: "vertical", type: "plain" },
      tooltip: { trigger: "axis", valueFormatter: (value) => count(Math.round(value)) },
      xAxis: axis(colours, "log", "Rank", {
        min: 1,
        axisLabel: { formatter: count, showMaxLabel: false },
        axisPointer: { label: { formatter: ({ value }) => `Rank ${count(Math.round(value))}` } },
      }),
      yAxis: axis(colours, "log", "Occurrences", { nameGap: 50, axisLabel: { formatter: count } }),
      series: [
        {
          type: "scatter",
          name: "Tokens",
          symbolSize: 4,
          color: colours.blue,
          data: rank.map((each, at) => [each, frequency[at]]),
        },
        ...lines.map(({ name, frequency: drawn }, at) =>
          line(name, [], tints[at % 3], { data: rank.map((each, of) => [each, drawn[of]]), symbol: "none" }),
        ),
      ],
    },
  );
  return { panels: [{ option, height: "24rem" }], note: data.zipf.note };
}

function drawMinima(place, colours) {
  const { minimum, tokens, spearman } = data.minima[place];
  if (!minimum.length) return { empty: "Not measured for this layer." };
  const option = styled(
    colours,
    `Spearman correlation by the least occurrences of a token in layer ${data.indices[place]}, ${spread(spearman, two)}.`,
    {
      legend: null,
      grid: { top: 14 },
      tooltip: {
        trigger: "axis",
        formatter: ([{ dataIndex: at }]) =>
          `At least ${count(minimum[at])} occurrences<br>${count(tokens[at])} tokens<br>${RHO} ${decimal(spearman[at])}`,
      },
      xAxis: axis(colours, "category", "Least occurrences (tokens left)", {
        nameGap: 40,
        axisLabel: { lineHeight: 16 },
        data: minimum.map((least, at) => `${count(least)}\n(${count(tokens[at])})`),
      }),
      yAxis: axis(colours, "value", `Spearman ${RHO}`, {
        nameGap: 40,
        ...RHO_AXIS,
        axisLabel: { formatter: (value) => decimal(value, 1) },
      }),
      series: [
        line(RHO, spearman, colours.blue, {
          markLine: markLines(colours, [{ yAxis: data.limits.spearman, name: "criterion" }]),
        }),
      ],
    },
  );
  return { panels: [{ option, height: "24rem" }] };
}

const SAMPLE_PANELS = [
  ["spearman", `Spearman ${RHO}`, data.limits.spearman, two, "blue"],
  ["low_entropy_share", "Low-entropy share of tokens", data.limits.low_entropy_share, whole, "orange"],
  ["coverage", "Coverage of occurrences", data.limits.coverage, whole, "green"],
];

function drawSamples(place, colours) {
  const samples = data.samples[place];
  if (!samples.occurrences.length) return { empty: "Not measured for this layer." };
  const panels = SAMPLE_PANELS.map(([name, title, criterion, words, colour]) => {
    const option = styled(
      colours,
      `${title} by occurrences captured, ${spread(samples[name], words)}, the criterion is ${words(criterion)}.`,
      {
        legend: null,
        grid: { top: 14 },
        tooltip: {
          trigger: "axis",
          formatter: ([{ dataIndex: at }]) =>
            `${percent(samples.share[at])} of the documents<br>${count(samples.occurrences[at])} occurrences, ${count(samples.tokens[at])} tokens<br>${title} ${words(samples[name][at])}`,
        },
        xAxis: axis(colours, "category", "Documents (occurrences)", {
          nameGap: 42,
          axisLabel: { lineHeight: 16 },
          data: samples.share.map(
            (share, at) => `${Number((share * 100).toPrecision(3))}%\n(${compact(samples.occurrences[at])})`,
          ),
        }),
        yAxis: axis(colours, "value", "", {
          ...(name === "spearman" ? RHO_AXIS : SHARE_AXIS),
          axisLabel: { formatter: words },
        }),
        series: [
          line(title, samples[name], colours[colour], {
            symbolSize: 6,
            markLine: markLines(colours, [{ yAxis: criterion, name: "criterion" }]),
          }),
        ],
      },
    );
    return { option, title };
  });
  return { panels };
}

const compactNumbers = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function compact(value) {
  return compactNumbers.format(value);
}

function startTextFigures() {
  const of = (names, source) => (place) => ({
    columns: names,
    rows: source[place][names[0]].map((_, at) => names.map((name) => source[place][name][at])),
  });
  figure("zipf", {
    draw: drawZipf,
    table: () => ({
      columns: ["rank", "frequency", ...data.zipf.lines.map(({ name }) => name)],
      rows: data.zipf.rank.map((rank, at) => [
        rank,
        data.zipf.frequency[at],
        ...data.zipf.lines.map(({ frequency }) => frequency[at]),
      ]),
    }),
  });
  figure("minima", {
    follows: ["place"],
    draw: drawMinima,
    table: of(["minimum", "tokens", "spearman"], data.minima),
  });
  figure("samples", {
    follows: ["place"],
    draw: drawSamples,
    table: of(["share", "occurrences", "tokens", "spearman", "low_entropy_share", "coverage"], data.samples),
  });
}
