// Frequency, entropy and consistency of the tokens of one layer.
const DENSITY_COLUMNS = (data.density?.entropy.length ?? 1) - 1;

/** Return [frequency from, to, entropy from, to, tokens, occurrences] of each filled cell. */
function densityRows(place) {
  const { frequency, entropy, layers } = data.density;
  const { cell, tokens, occurrences } = layers[place];
  return Array.from(numbers(cell), (each, at) => {
    const row = Math.floor(each / DENSITY_COLUMNS);
    const column = each % DENSITY_COLUMNS;
    return [
      frequency[row],
      frequency[row + 1] - 1,
      entropy[column],
      entropy[column + 1],
      numbers(tokens)[at],
      numbers(occurrences)[at],
    ];
  });
}

function drawFrequencyEntropy(place, colours) {
  const rows = densityRows(place);
  const most = largest(rows.map((row) => row[4]));
  const points = tokenRows(place).filter(({ mean_entropy }) => !Number.isNaN(mean_entropy));
  const groups = [
    ["Eligible", true, colours.green],
    ["Not eligible", false, colours.orange],
  ];
  const option = styled(colours, frequencyEntropyWords(place, points), {
    grid: { right: 26 },
    legend: { data: [...groups.map(([name]) => name)] },
    tooltip: { trigger: "item", formatter: ({ data: point }) => pointWords(point) },
    xAxis: axis(colours, "log", "Occurrences of the token", {
      min: 0.7,
      max: data.density.frequency.at(-1) * 1.1,
      axisLabel: { showMinLabel: false, showMaxLabel: false, formatter: count },
    }),
    yAxis: axis(colours, "value", "Mean entropy, nats", { min: 0, nameGap: 34 }),
    series: [
      densitySeries(colours, rows, most),
      ...groups.map(([name, eligible, colour]) => ({
        type: "scatter",
        name,
        color: colour,
        symbolSize: 5,
        itemStyle: { opacity: 0.75 },
        z: 3,
        data: points
          .filter((token) => token.eligible === eligible)
          .map(({ frequency, mean_entropy, literal }) => ({ value: [frequency, mean_entropy], literal })),
      })),
      thresholdLines(colours),
    ],
  });
  return {
    panels: [{ option, key: densityKey(colours, most), renderer: "canvas", height: "27rem" }],
    note: `Points: the ${count(points.length)} most frequent tokens. Dashed: the thresholds of the sliders below.`,
  };
}

function frequencyEntropyWords(place, points) {
  const { tokens, spearman } = data.layers;
  return `Scatter of mean entropy over frequency for ${count(tokens[place])} tokens of layer ${data.indices[place]}, Spearman ${decimal(spearman[place])}; ${count(points.filter(({ eligible }) => eligible).length)} of the ${count(points.length)} most frequent are eligible.`;
}

/** Return the colours of one token and more: those of the shares that can be told from none. */
const densityStops = ({ shares }) => shares.slice(3);

/** Return what the shades say: their scale is logarithmic, its middle the root of the largest number. */
function densityKey(colours, most) {
  const ends = [1, Math.sqrt(most), most].map((tokens) => count(Math.round(tokens)));
  return { stops: densityStops(colours), ends, unit: "distinct tokens in a cell" };
}

function densitySeries(colours, rows, most) {
  const shade = (tokens) =>
    echarts.color.lerp(Math.log(tokens) / Math.log(Math.max(most, 2)), densityStops(colours));
  return {
    type: "custom",
    z: 1,
    clip: true,
    data: rows.map(([from, to, low, high, tokens]) => ({ value: [from, low, to, high, tokens] })),
    encode: { x: [0, 2], y: [1, 3] },
    renderItem(_, api) {
      // a frequency of n takes the axis from n - 1/2 to n + 1/2
      const [left, top] = api.coord([api.value(0) - 0.3, api.value(3)]);
      const [right, bottom] = api.coord([api.value(2) + 0.7, api.value(1)]);
      const shape = { x: left, y: top, width: Math.max(right - left, 1), height: bottom - top };
      return { type: "rect", shape, style: { fill: shade(api.value(4)) } };
    },
  };
}

function pointWords({ value, literal }) {
  if (literal !== undefined)
    return `<code>${escaped(literal)}</code><br>${count(value[0])} occurrences<br>${decimal(value[1])} nats`;
  const [from, low, to, high, tokens] = value;
  const frequencies = from === to ? count(from) : `${count(from)} to ${count(to)}`;
  return `${count(tokens)} distinct token${tokens === 1 ? "" : "s"}<br>${frequencies} occurrences<br>${decimal(low, 2)} to ${decimal(high, 2)} nats`;
}

/** Return a series of nothing but the two thresholds that the reader has set. */
function thresholdLines(colours) {
  const [frequency, entropy] = [data.steps.frequency[state.frequency], data.steps.entropy[state.entropy]];
  const lines = [{ yAxis: entropy, name: `under ${entropy} nats` }];
  if (frequency > 0) lines.push({ xAxis: frequency + 0.5, name: `over ${count(frequency)}` });
  return { type: "scatter", data: [], z: 4, markLine: markLines(colours, lines) };
}

/** Return per entropy bin [from, to, share of distinct tokens, share of occurrences]. */
function entropyShares(place) {
  const { entropy } = data.density;
  const totals = entropy.slice(1).map((high, at) => [entropy[at], high, 0, 0]);
  const rows = densityRows(place);
  for (const [, , low, , tokens, occurrences] of rows) {
    const bin = totals[entropy.indexOf(low)];
    bin[2] += tokens;
    bin[3] += occurrences;
  }
  const [tokens, occurrences] = [2, 3].map((column) => sum(totals.map((row) => row[column])) || 1);
  return totals.map(([low, high, some, times]) => [low, high, some / tokens, times / occurrences]);
}

function drawEntropyDistribution(place, colours) {
  const shares = entropyShares(place);
  const [low, high] = [shares[0][0], shares.at(-1)[1]];
  const stepped = (column) => shares.map((row) => [(row[0] + row[1]) / 2, row[column]]);
  const option = styled(
    colours,
    `Distribution of mean entropy in layer ${data.indices[place]} over distinct tokens and over occurrences, 0 to ${decimal(high, 2)} nats.`,
    {
      tooltip: { trigger: "axis", valueFormatter: (value) => percent(value) },
      xAxis: axis(colours, "value", "Mean entropy, nats", {
        min: low,
        max: high,
        axisLabel: { showMaxLabel: false, formatter: two },
        axisPointer: { label: { formatter: ({ value }) => `${decimal(value, 2)} nats` } },
      }),
      yAxis: axis(colours, "value", "Share", {
        min: 0,
        nameGap: 36,
        axisLabel: { formatter: whole },
      }),
      series: [
        line("Distinct tokens", [], colours.blue, {
          data: stepped(2),
          step: "middle",
          symbol: "none",
          areaStyle: { opacity: 0.3 },
        }),
        line("Occurrences", [], colours.orange, {
          data: stepped(3),
          step: "middle",
          symbol: "none",
          markLine: markLines(colours, [{ xAxis: data.steps.entropy[state.entropy], name: "threshold" }]),
        }),
      ],
    },
  );
  return { panels: [{ option }] };
}

function consistencyRows(place) {
  const { starts, layers } = data.consistency;
  const { tokens, plain, held_out: heldOut, random } = layers[place];
  return starts.map((start, at) => {
    const end = at + 1 < starts.length ? starts[at + 1] - 1 : null;
    const name =
      end === null
        ? `${count(start)} or more`
        : start === end
          ? count(start)
          : `${count(start)} to ${count(end)}`;
    return [name, tokens[at], numbers(plain)[at], numbers(heldOut)[at], numbers(random)[at]];
  });
}

function drawConsistency(place, colours) {
  const rows = consistencyRows(place);
  const column = (at) => rows.map((row) => row[at]);
  const option = styled(
    colours,
    `Mean routing consistency by frequency in layer ${data.indices[place]}, with held-out documents and a random router for comparison.`,
    {
      tooltip: { trigger: "axis", valueFormatter: (value) => decimal(value) },
      xAxis: axis(colours, "category", "Occurrences of the token", {
        data: column(0).map((name) => name.split(" ")[0]),
        axisPointer: { label: { formatter: ({ value }) => `from ${value} occurrences` } },
      }),
      yAxis: axis(colours, "value", "Mean consistency", { min: 0, max: 1, nameGap: 34 }),
      series: [
        line("As counted", column(2), colours.blue),
        line("Held out", column(3), colours.green, { symbol: "diamond", symbolSize: 8 }),
        line("Random router", column(4), colours.grey, { lineStyle: { type: "dashed" } }),
      ],
    },
  );
  return { panels: [{ option }] };
}

function startRoutingFigures() {
  figure("frequency-entropy", {
    follows: ["place", "frequency", "entropy"],
    draw: drawFrequencyEntropy,
    table: (place) => ({
      columns: ["frequency_from", "frequency_to", "entropy_from", "entropy_to", "tokens", "occurrences"],
      rows: densityRows(place),
    }),
  });
  figure("entropy-distribution", {
    follows: ["place", "entropy"],
    draw: drawEntropyDistribution,
    table: (place) => ({
      columns: ["entropy_from", "entropy_to", "share_of_tokens", "share_of_occurrences"],
      rows: entropyShares(place),
    }),
  });
  figure("consistency", {
    follows: ["place"],
    draw: drawConsistency,
    table: (place) => ({
      columns: ["occurrences", "tokens", "consistency", "held_out_consistency", "random_consistency"],
      rows: consistencyRows(place),
    }),
  });
}
