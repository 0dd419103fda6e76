// What policies that overrule the routers cost the model.
const POLICY_LOOKS = [
  ["blue", "circle"],
  ["orange", "rect"],
  ["green", "triangle"],
  ["purple", "diamond"],
  ["ink", "roundRect"],
  ["blue", "pin"],
];
const CONTROL_LOOKS = ["circle", "rect", "diamond"];
const HEADROOM = 1.12;

/** Return a cost in nats with its sign. */
function nats(value) {
  return isMissing(value) ? "undefined" : `${value < 0 ? MINUS : "+"}${fixed(Math.abs(value), 4)}`;
}

function policyById() {
  return new Map(data["replay-cost"].policies.map((policy) => [policy.policy_id, policy]));
}

function policyWords({ policy, control, ...found }) {
  const { delta_nll: delta, delta_nll_low: low, delta_nll_high: high } = found;
  const interval = isMissing(low) ? "" : ` (95 % ${nats(low)} to ${nats(high)})`;
  return [
    `${escaped(policy)}${control ? ", control" : ""}`,
    `\u0394NLL ${nats(delta)}${interval}`,
    `Perplexity \u00d7 ${decimal(found.perplexity_ratio, 4)}`,
    `Covered ${percent(found.coverage)}, same top-1 token ${percent(found.same_top)}`,
    `Experts a token and layer ${two(found.experts)}`,
  ].join("<br>");
}

/** Return a point of a policy; one beyond the scale stands at the end of it. */
function policyPoint(policy, place, beyond, top) {
  const value = [place, beyond ? top : policy.delta_nll];
  return beyond ? { value, policy, symbol: "triangle", symbolSize: 11 } : { value, policy };
}

function policyCurve(colours, curve, number, policies, top) {
  const [colour, symbol] = curve.control
    ? ["grey", CONTROL_LOOKS[number % CONTROL_LOOKS.length]]
    : POLICY_LOOKS[number % POLICY_LOOKS.length];
  const points = curve.policy_ids.map((id, at) =>
    policyPoint(policies.get(id), curve.places[at], curve.beyond[at], top),
  );
  const drawn = line(policyCurveName(curve, policies), [], colours[colour], {
    data: points,
    symbol,
    symbolSize: 8,
    lineStyle: { type: curve.control ? "dashed" : "solid" },
  });
  const ends = points
    .filter((_, at) => !curve.beyond[at])
    .map(({ value, policy }) => [value[0], policy.delta_nll_low, policy.delta_nll_high]);
  return [drawn, whiskers(colours, ends, colours[colour])];
}

function policyCurveName({ name, policy_ids: ids, beyond }, policies) {
  if (!beyond.some(Boolean)) return name;
  const costs = ids.filter((_, at) => beyond[at]).map((id) => policies.get(id).delta_nll);
  return `${name}: off the scale, ${spread(costs, nats)}`;
}

const REPLAY_AXES = {
  tables: { min: 0, max: 1, axisLabel: { formatter: whole } },
  dropped: { boundaryGap: ["6%", "6%"], axisLabel: { formatter: two, showMinLabel: false, showMaxLabel: false } },
  layers: {
    minInterval: 1,
    min: ({ min }) => min,
    max: ({ max }) => max,
    axisLabel: { formatter: count },
  },
  masked: {
    minInterval: 1,
    min: ({ min }) => Math.max(min - 1, 0),
    max: ({ max }) => max + 1,
    axisLabel: { formatter: count },
  },
};

function policyPanel(colours, { stem, title, axis: xName, least, most, curves }) {
  const policies = policyById();
  const top = most * HEADROOM;
  const chosen = curves.filter(({ control }) => !control);
  const controls = curves.filter(({ control }) => control);
  const series = [chosen, controls].flatMap((kind) =>
    kind.flatMap((curve, number) => policyCurve(colours, curve, number, policies, top)),
  );
  series[0].markLine = markLines(colours, [
    { yAxis: data["replay-cost"].target, name: "perplexity + 1 %" },
  ]);
  const names = series.filter(({ type }) => type === "line").map(({ name }) => name);
  const rows = [];
  for (let at = 0; at < names.length; at += 2) rows.push(names.slice(at, at + 2));
  const option = styled(colours, replayWords(title, chosen, policies), {
    legend: null,
    grid: { top: 20 * rows.length + 16 },
    tooltip: { formatter: ({ data: point }) => policyWords(point.policy) },
    xAxis: axis(colours, "value", xName, REPLAY_AXES[stem]),
    yAxis: axis(colours, "value", "\u0394NLL, nats a token", {
      nameGap: 50,
      min: Math.min(least * HEADROOM, -0.04 * most),
      max: top,
      axisLabel: { formatter: significant, showMaxLabel: false, showMinLabel: false },
    }),
    series,
  });
  option.legend = rows.map((row, at) => legend(colours, { data: row, top: 20 * at }));
  return { option, title, height: "25rem" };
}

function replayWords(title, chosen, policies) {
  const found = chosen.map(({ name, policy_ids: ids }) => {
    const costs = ids.map((id) => policies.get(id).delta_nll);
    return `${name} ${spread(costs, nats)}`;
  });
  return `${title}: nats a token by which policies raise the loss, ${found.join(", ")}.`;
}

function drawReplayCost(_, colours) {
  const { panels, note } = data["replay-cost"];
  if (!panels.length) return { empty: "Only controls were replayed." };
  return { panels: panels.map((panel) => policyPanel(colours, panel)), note };
}

function replayCostTable() {
  const { policies } = data["replay-cost"];
  const columns = Object.keys(policies[0]);
  return {
    columns,
    rows: policies.map((policy) =>
      columns.map((name) => (name === "control" ? (policy[name] ? "yes" : "no") : policy[name])),
    ),
  };
}

function drawReplayAgreement(place, colours) {
  const { tables } = data["replay-agreement"];
  const names = [...new Set(tables.map(({ name }) => name))];
  const points = tables.flatMap((table) =>
    data.indices.map((_, at) => ({ table, at, value: [table.foretold[at], table.measured[at]] })),
  );
  const known = points.filter(({ value }) => value.every((share) => !isMissing(share)));
  if (!known.length) return { empty: "No table was used on this text, so none agreed with the router." };
  const least = Math.min(...known.flatMap(({ value }) => value));
  const interval = least < 0.6 ? 0.2 : 0.1;
  // the ends are ticks
  const start = Math.min(Math.floor(least * 5) / 5, 0.8);
  const series = names.map((name, number) => {
    const [colour, symbol] = POLICY_LOOKS[number % POLICY_LOOKS.length];
    return {
      type: "scatter",
      name,
      color: colours[colour],
      symbol,
      data: known
        .filter(({ table }) => table.name === name)
        .map((point) => ({ ...point, ...(point.at === place ? CHOSEN_LAYER : OTHER_LAYER) })),
    };
  });
  series.push(
    line("As foretold", [], colours.ink, {
      data: [
        [start, start],
        [1, 1],
      ],
      symbol: "none",
      silent: true,
      lineStyle: { type: "dotted", width: 1.5 },
    }),
  );
  const shareAxis = { interval, min: start, max: 1, axisLabel: { formatter: whole } };
  const option = styled(colours, agreementInWords(place, known), {
    legend: { data: [...names, "As foretold"] },
    tooltip: { formatter: ({ data: point }) => agreementWordsOf(point) },
    xAxis: axis(colours, "value", "Same expert set, foretold", shareAxis),
    yAxis: axis(colours, "value", "Same expert set, measured", { nameGap: 46, ...shareAxis }),
    series,
  });
  return {
    panels: [{ option, height: "25rem" }],
    note:
      "Foretold is of all held-out text with the model as it is; measured is of the replayed documents, " +
      "where the layers before have already been overruled, and a table has the experts of the greatest mean weight.",
  };
}

const CHOSEN_LAYER = { symbolSize: 11 };
const OTHER_LAYER = { symbolSize: 7, itemStyle: { opacity: 0.35 } };

function agreementInWords(place, known) {
  const own = known.filter(({ at }) => at === place);
  const off = own.map(({ value: [foretold, measured] }) => measured - foretold);
  const found = own.length ? `, measured minus foretold ${spread(off, two)}` : "";
  return `Agreement of tables with the router in layer ${data.indices[place]}${found}.`;
}

function agreementWordsOf({ table, at, value: [foretold, measured] }) {
  return [
    escaped(table.policy),
    `Layer ${data.indices[at]}, covered ${percent(table.coverage[at])}`,
    `Foretold ${percent(foretold)}, measured ${percent(measured)}`,
  ].join("<br>");
}

function replayAgreementTable() {
  return {
    columns: ["policy", "layer", "coverage", "foretold", "measured"],
    rows: data["replay-agreement"].tables.flatMap(({ policy, coverage, foretold, measured }) =>
      data.indices.map((index, at) => [policy, index, coverage[at], foretold[at], measured[at]]),
    ),
  };
}

function startReplayFigures() {
  figure("replay-cost", { draw: drawReplayCost, table: replayCostTable });
  figure("replay-agreement", { draw: drawReplayAgreement, table: replayAgreementTable, follows: ["place"] });
}
