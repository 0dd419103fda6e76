// Caches of experts, and predictions of what a token will need, by how many experts there is room for.
const LOOKS = {
  lru: ["blue", "circle"],
  lfu: ["orange", "rect"],
  static_train: ["green", "triangle"],
  static_prompt: ["purple", "diamond"],
  previous_token: ["blue", "circle"],
  layer_before: ["orange", "rect"],
  token: ["ink", "emptyCircle"],
  bigram: ["ink", "emptyRect", "dotted"],
  belady: ["grey", "none", "dashed"],
};
const MOST_MARKED = 24;
const IN_A_ROW = 4;

/** Return a line of points [x, y] in the look of its series. */
function curve(colours, name, [colour, symbol, type = "solid"], places, values, parts = {}) {
  return line(name, [], colours[colour], {
    data: places.map((place, at) => [place, values[at]]),
    symbol: places.length > MOST_MARKED ? "none" : symbol,
    symbolSize: 6,
    lineStyle: { type },
    ...parts,
  });
}

function chanceCurve(colours, places, values) {
  return curve(colours, "Chance", ["ink", "none", "dotted"], places, values, {
    lineStyle: { type: "dotted", width: 1.5 },
  });
}

/** Return a panel of shares by a number of experts, or by what `place` puts into words. */
function sharePanel(colours, title, series, { words, xName, most, unit, place = count, height = "20rem" }) {
  const named = series.filter(({ type }) => type === "line").map(({ name }) => name);
  const rows = [named.slice(0, IN_A_ROW), named.slice(IN_A_ROW)].filter((row) => row.length);
  const option = styled(colours, words, {
    legend: null,
    grid: { top: 54 },
    tooltip: {
      trigger: "axis",
      formatter: (found) =>
        [
          `${place(found[0].value[0])} ${unit}`,
          ...found.map(
            ({ marker, seriesName, value }) => `${marker}${escaped(seriesName)} ${percent(value[1])}`,
          ),
        ].join("<br>"),
    },
    xAxis: axis(colours, "value", xName, {
      min: 0,
      max: most,
      minInterval: place === count ? 1 : 0,
      axisLabel: { formatter: place, showMaxLabel: true },
    }),
    yAxis: axis(colours, "value", "", { ...WHOLE_AXIS, axisLabel: { formatter: whole } }),
    series,
  });
  option.legend = rows.map((row, at) => legend(colours, { data: row, top: 20 * at }));
  return { option, title, height };
}

/** Return "at 3 of 8: LRU 44.8%, LFU 43.9%" of the middle size. */
function atMiddle(places, rates, names) {
  const at = Math.max(Math.ceil(places.length / 2) - 1, 0);
  const found = Object.entries(rates).map(([name, values]) => `${names[name]} ${percent(values[at])}`);
  return `at ${count(places[at])} of ${count(places.at(-1))}: ${found.join(", ")}`;
}

function ownCaches(colours, { text, own }) {
  const { slots, rates, chance, best, low, high } = own;
  const { names } = data.cache;
  const series = Object.entries(rates).map(([policy, values]) =>
    curve(colours, names[policy], LOOKS[policy], slots, values),
  );
  series.push(chanceCurve(colours, slots, chance));
  if (low)
    series.push(
      whiskers(
        colours,
        slots.map((size, at) => [size, low[at], high[at]]),
        colours[LOOKS[best][0]],
      ),
    );
  return sharePanel(colours, `Hit rate, a cache for each layer${text}`, series, {
    words: `Hit rate of a cache for each layer${text}, by slots of it, ${atMiddle(slots, rates, names)}.`,
    xName: "Slots of each layer",
    most: slots.at(-1),
    unit: "slots a layer",
  });
}

function sharedCaches(colours, { text, shared }) {
  const { slots, rates, chance, working_set: smallest } = shared;
  const { names } = data.cache;
  const marks =
    smallest && markLines(colours, [{ xAxis: smallest, name: `working set: ${count(smallest)}` }]);
  const series = Object.entries(rates).map(([policy, values]) =>
    curve(
      colours,
      names[policy],
      LOOKS[policy],
      slots,
      values,
      policy === "lru" && marks ? { markLine: marks } : {},
    ),
  );
  series.push(chanceCurve(colours, slots, chance));
  const needed = smallest ? ` LRU hits as often as chance from ${count(smallest)} on.` : "";
  return sharePanel(colours, `Hit rate, one cache for all layers${text}`, series, {
    words: `Hit rate of one cache for all layers${text}, by its slots, ${atMiddle(slots, rates, names)}.${needed}`,
    xName: "Slots of all layers",
    most: slots.at(-1),
    unit: "slots",
  });
}

function drawCaches(_, colours) {
  const { phases, note } = data.cache;
  if (!phases.length) return { empty: "No cache was simulated: there were no tokens." };
  const panels = phases.flatMap((phase) => [ownCaches(colours, phase), sharedCaches(colours, phase)]);
  const sure = phases.every(({ own }) => own.low)
    ? "Whiskers: 95 % intervals over documents, of the policy that gains most."
    : "There are too few documents for intervals.";
  return { panels, note: `${sure} ${note}` };
}

const CACHED = ["lru", "lfu", "static_train", "static_prompt", "belady"];

function cacheTable() {
  const rows = data.cache.phases.flatMap(({ phase, own, shared }) =>
    Object.entries({ "each layer": own, "all layers": shared }).flatMap(
      ([kind, { slots, rates, chance, low, high }]) =>
        slots.map((size, at) => [
          phase,
          kind,
          size,
          ...CACHED.map((policy) => rates[policy]?.[at]),
          chance[at],
          low?.[at],
          high?.[at],
        ]),
    ),
  );
  return { columns: ["phase", "cache", "slots", ...CACHED, "chance", "best_low", "best_high"], rows };
}

function drawPredictions(_, colours) {
  const { phases, names, note } = data.prefetch;
  if (!phases.length) return { empty: "Nothing was predicted: there were no tokens." };
  const panels = phases.map(({ text, budgets, chance, recall }) => {
    const series = Object.entries(recall).map(([name, values]) =>
      curve(colours, names[name], LOOKS[name], budgets, values),
    );
    series.push(chanceCurve(colours, budgets, chance));
    return predictionPanel(
      colours,
      `Recall by predictor${text}`,
      series,
      budgets,
      atMiddle(budgets, recall, names),
    );
  });
  const { text, budgets, chance, horizons } = phases.at(-1);
  const hues = ["blue", "green", "purple", "orange"];
  const series = Object.entries(horizons).map(([tokens, values], at) =>
    curve(colours, `${tokens} before`, [hues[at % 4], LOOKS_AHEAD[at % 4]], budgets, values),
  );
  series.push(chanceCurve(colours, budgets, chance));
  const named = Object.fromEntries(Object.keys(horizons).map((tokens) => [tokens, `${tokens} before`]));
  panels.push(
    predictionPanel(
      colours,
      `Recall by a token so many before${text}`,
      series,
      budgets,
      atMiddle(budgets, horizons, named),
    ),
  );
  return { panels, note };
}

const LOOKS_AHEAD = ["circle", "triangle", "diamond", "rect"];

function predictionPanel(colours, title, series, budgets, found) {
  return sharePanel(colours, title, series, {
    words: `${title}, by experts of a layer that are loaded ahead, ${found}.`,
    xName: "Experts of a layer loaded ahead",
    most: budgets.at(-1),
    unit: "experts a layer",
  });
}

function predictionTable() {
  const predictors = Object.keys(data.prefetch.names);
  const ahead = [...new Set(data.prefetch.phases.flatMap(({ horizons }) => Object.keys(horizons)))].slice(1);
  return {
    columns: [
      "phase",
      "budget",
      ...predictors,
      ...ahead.map((tokens) => `previous_token_${tokens}`),
      "chance",
    ],
    rows: data.prefetch.phases.flatMap(({ phase, budgets, chance, recall, horizons }) =>
      budgets.map((budget, at) => [
        phase,
        budget,
        ...predictors.map((name) => recall[name]?.[at]),
        ...ahead.map((tokens) => horizons[tokens]?.[at]),
        chance[at],
      ]),
    ),
  };
}

function startCacheFigures() {
  figure("cache", { draw: drawCaches, table: cacheTable });
  figure("prefetch", { draw: drawPredictions, table: predictionTable });
}
