// How many experts text needs: of a token, of a batch, to keep when pruned, to fine-tune.
const RULES = {
  weight: {
    name: "By weight",
    look: ["blue", "circle"],
    words: (threshold) => `weights below ${threshold} dropped`,
  },
  entropy: {
    name: "By entropy",
    look: ["orange", "rect"],
    words: (threshold) => `first choice alone below ${threshold} ln E`,
  },
};

function drawAdaptiveK(_, colours) {
  const { rules, all_experts: all, empty } = data["adaptive-k"];
  if (empty) return { empty };
  const known = Object.entries(rules ?? {});
  if (!known.length) return { empty: "No token has weights." };
  const series = known.map(([rule, { thresholds, experts, retained }]) => {
    const points = experts.map((number, at) => [number, retained[at], thresholds[at]]);
    points.sort(([one], [other]) => one - other);
    return curve(colours, RULES[rule].name, RULES[rule].look, [], [], { data: [...points, [all, 1, null]] });
  });
  const least = Math.min(...known.flatMap(([, { retained }]) => retained));
  const ends = known.map(([rule, { experts, retained }]) => {
    const fewest = experts.indexOf(Math.min(...experts));
    return `${RULES[rule].name.toLowerCase()} down to ${two(experts[fewest])} with ${percent(retained[fewest])}`;
  });
  const option = styled(
    colours,
    `Share of the gate mass kept, by experts of a layer that a token runs, ${two(all)} without a rule: ${ends.join(", ")}.`,
    {
      legend: { data: series.map(({ name }) => name) },
      tooltip: {
        trigger: "item",
        formatter: ({ marker, value: [number, kept, threshold], seriesIndex: at }) =>
          [
            `${marker}${isMissing(threshold) ? "nothing dropped" : RULES[known[at][0]].words(threshold)}`,
            `${two(number)} experts, ${percent(kept)} of the gate mass`,
          ].join("<br>"),
      },
      xAxis: axis(colours, "value", "Experts of a layer that a token runs"),
      yAxis: axis(colours, "value", "", {
        ...WHOLE_AXIS,
        min: Math.floor(least * 4) / 4,
        axisLabel: { formatter: whole },
      }),
      series,
    },
  );
  return { panels: [{ option, title: "Gate mass kept", height: "20rem" }] };
}

function adaptiveTable() {
  return {
    columns: ["rule", "threshold", "experts", "retained_gate_mass"],
    rows: Object.entries(data["adaptive-k"].rules ?? {}).flatMap(
      ([rule, { thresholds, experts, retained }]) =>
        thresholds.map((threshold, at) => [rule, threshold, experts[at], retained[at]]),
    ),
  };
}

const BATCHES = {
  tokens: ["Consecutive tokens", "Tokens of a batch"],
  sequences: ["One token of each sample", "Samples of a batch"],
};
const PHASE_LOOKS = { prompt: ["blue", "circle"], generated: ["orange", "rect"] };

function drawBatches(_, colours) {
  const { kinds, num_experts: all } = data["batch-experts"];
  const known = Object.entries(kinds).filter(([, phases]) => phases.length);
  if (!known.length) return { empty: "No text is long enough for a batch of two tokens." };
  const panels = known.map(([kind, phases]) => {
    const [title, xName] = BATCHES[kind];
    const longest = phases.reduce((most, each) => (each.sizes.length > most.sizes.length ? each : most));
    const series = phases.map(({ phase, name, sizes, experts }) =>
      curve(colours, phases.length > 1 ? name : "Text", PHASE_LOOKS[phase], sizes.map(String), experts),
    );
    series.push(chanceCurve(colours, longest.sizes.map(String), longest.chance));
    const ends = phases.map(
      ({ name, sizes, experts, chance }) =>
        `${name}: ${count(sizes.at(-1))} select ${two(experts.at(-1))}, at random ${two(chance.at(-1))}`,
    );
    const option = styled(
      colours,
      `Distinct experts of a layer that a batch selects, of ${count(all)}, ${title.toLowerCase()}. ${ends.join("; ")}.`,
      {
        legend: { data: series.map(({ name }) => name) },
        tooltip: { trigger: "axis", valueFormatter: two },
        xAxis: axis(colours, "category", xName, { data: longest.sizes.map(String) }),
        yAxis: axis(colours, "value", "", { min: 0, max: all, axisLabel: { formatter: count } }),
        series,
      },
    );
    return { option, title, height: "20rem" };
  });
  return { panels };
}

function batchTable() {
  return {
    columns: ["batch_of", "phase", "size", "experts", "at_random"],
    rows: Object.entries(data["batch-experts"].kinds).flatMap(([kind, phases]) =>
      phases.flatMap(({ phase, sizes, experts, chance }) =>
        sizes.map((size, at) => [kind, phase, size, experts[at], chance[at]]),
      ),
    ),
  };
}

const MEASURE_LOOKS = {
  selections: ["blue", "circle"],
  gate_mass: ["orange", "rect"],
  reap: ["green", "triangle"],
};

function drawKeepSets(_, colours) {
  const { panels, names } = data["keep-sets"];
  if (!panels.length) return { empty: "The text has no part to compare with all of it." };
  return {
    panels: panels.map(({ keep_share: share, chance, measures }) => {
      const title = `${whole(share)} of a layer's experts kept`;
      const series = [];
      for (const [measure, { text_shares: parts, jaccard, halves }] of Object.entries(measures)) {
        const [colour, symbol] = MEASURE_LOOKS[measure];
        series.push(curve(colours, nameOf(names[measure]), [colour, symbol], parts, jaccard));
        if (halves) series.push(halfMark(colours, nameOf(names[measure]), [colour, symbol], halves));
      }
      series.push(chanceCurve(colours, [0, 1], [chance, chance]));
      const found = Object.entries(measures).map(
        ([measure, { text_shares: parts, jaccard }]) =>
          `${names[measure]} ${two(jaccard[0])} with ${percent(parts[0])} of the text`,
      );
      return sharePanel(colours, title, series, {
        words: `${title}: Jaccard index with what all text keeps, by share of the text: ${found.join(", ")}; of random choices ${two(chance)}.`,
        xName: "Share of the text",
        most: 1,
        unit: "of the text",
        place: whole,
        height: "18rem",
      });
    }),
    note: panels.some(({ measures }) => Object.values(measures).some(({ halves }) => halves))
      ? "Hollow: the second half of the text with the first. Chance: two random choices."
      : "Chance: two random choices.",
  };
}

function nameOf(words) {
  return words[0].toUpperCase() + words.slice(1);
}

/** Return a hollow mark of what the second half of the text has in common with the first. */
function halfMark(colours, name, [colour, symbol], point) {
  return {
    type: "scatter",
    name: `${name}, the two halves`,
    data: [point],
    symbol,
    symbolSize: 12,
    itemStyle: { color: "transparent", borderColor: colours[colour], borderWidth: 2 },
  };
}

function keepSetTable() {
  return {
    columns: ["keep_share", "measure", "compared", "text_share", "jaccard", "chance"],
    rows: data["keep-sets"].panels.flatMap(({ keep_share: share, chance, measures }) =>
      Object.entries(measures).flatMap(([measure, { text_shares: parts, jaccard, halves }]) => [
        ...parts.map((part, at) => [share, measure, "with all text", part, jaccard[at], chance]),
        ...(halves ? [[share, measure, "two halves", ...halves, chance]] : []),
      ]),
    ),
  };
}

function drawTuning() {
  const { rows, choices, even } = data.tuning;
  if (!rows.length) return { empty: "The run has no tokens." };
  const ids = rows.length > 1 ? ", fct_domain_expert for each domain" : "";
  const told = rows.map(({ text, tokens, trained }) => [text, tokens, ...trained.map(trainedWords)]);
  told.push(["if all experts were selected alike", null, ...even.map((number) => two(number))]);
  return {
    shown: { columns: ["text", "tokens", ...choices], rows: told },
    note: `Experts of a layer: mean, and in brackets the fewest and most of a layer. A text of few tokens seems to need fewer experts than it does. Their ids: gatehouse export --to esft for all text by token share up to 0.2${ids}.`,
  };
}

function trainedWords(found) {
  if (!found) return null;
  const [mean, fewest, most] = found;
  return fewest === most ? two(mean) : `${two(mean)} (${fewest} to ${most})`;
}

function tuningTable() {
  const { rows, choices } = data.tuning;
  return {
    columns: ["text", "tokens", "choice", "mean_experts", "fewest", "most"],
    rows: rows.flatMap(({ text, tokens, trained }) =>
      trained.flatMap((found, at) => (found ? [[text, tokens, choices[at], ...found]] : [])),
    ),
  };
}

function startNeededExpertFigures() {
  figure("adaptive-k", { draw: drawAdaptiveK, table: adaptiveTable });
  figure("batch-experts", { draw: drawBatches, table: batchTable });
  figure("keep-sets", { draw: drawKeepSets, table: keepSetTable });
  figure("tuning", { draw: drawTuning, table: tuningTable });
}
