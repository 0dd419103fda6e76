// One token in every layer, in a dialog: Escape closes it and the focus returns to the token.
const detail = { charts: [], token: null };
const IN_DETAIL = [
  ["top_expert", "Top expert", "top expert"],
  ["mean_entropy", "Entropy, nats", "mean entropy"],
  ["mean_confidence", "Confidence"],
  ["routing_consistency", "Consistency", "consistency"],
  ["held_out_consistency", "Held out"],
];
const isTold = ([name]) => name in (data.tokens ?? {});

/**
 * Open the dialog of a token of the table, or of one token of a text, or of both.
 *
 * here is {literal, id, routes} of the token in a text, its routes by layer; a token that is not
 * in the table has no row.
 */
function openDetail(row, opener, here = null) {
  const token = row === undefined ? null : tokenRow(state.place, row);
  detail.token = row;
  document.getElementById("token-heading").textContent = `Token ${(token ?? here).literal}`;
  document.getElementById("token-facts").textContent = token
    ? `Id ${token.id}, ${count(token.frequency)} occurrences${token.special ? ", a special token" : ""}. ${whatIsTold()}`
    : `Id ${here.id}. Where this one token went in each layer.`;
  // the dialog returns the focus to the element that had it
  opener.focus({ preventScroll: true });
  document.getElementById("token-detail").showModal();
  drawDetail();
  const told = here || (token && IN_DETAIL.some(isTold));
  const table = told ? [tableElement(detailTable(row, here))] : [];
  document.querySelector("#token-detail .scroll").replaceChildren(...table);
}

function whatIsTold() {
  const told = IN_DETAIL.filter((each) => each[2] && isTold(each)).map(([, , words]) => words);
  if (!told.length) return "How it was routed in a layer is not told.";
  const last = told.pop();
  return `Each layer's own ${told.length ? `${told.join(", ")} and ` : ""}${last}.`;
}

/** Return the token's own columns, and those of its occurrence in a text, by layer. */
function detailTable(row, here) {
  const columns = row === undefined ? [] : IN_DETAIL.filter(isTold);
  const ofHere = here ? hereColumns(here) : [];
  return {
    columns: ["Layer", ...columns.map(([, words]) => words), ...ofHere.map(([words]) => words)],
    rows: data.indices.map((index, place) => {
      const token = row === undefined ? {} : tokenRow(place, row);
      const cells = ofHere.map(([, cell]) => cell(here.routes[place]));
      return [index, ...columns.map(([name]) => token[name]), ...cells];
    }),
  };
}

function hereColumns({ routes }) {
  const chosen = ({ experts, weights }) =>
    experts.map((expert, at) => `${expert}${weights.length ? ` (${weighed(weights[at])})` : ""}`).join(", ");
  const columns = [["Experts here", chosen]];
  for (const [name, words] of [
    ["entropy", "Entropy here"],
    ["confidence", "Confidence here"],
  ])
    if (routes.some((route) => !isMissing(route[name])))
      columns.push([words, (route) => (isMissing(route[name]) ? null : two(route[name]))]);
  return columns;
}

const DETAIL_PANELS = [
  [
    "mean_entropy",
    "Mean entropy, nats",
    (colours, column) => [line("Entropy", column("mean_entropy"), colours.blue)],
    (column, words) => ({
      words: `Mean entropy ${words}, ${spread(column("mean_entropy"), two)} nats.`,
      y: { words: two, axis: { min: 0 } },
    }),
  ],
  [
    "routing_consistency",
    "Consistency",
    (colours, column) => [
      line("As counted", column("routing_consistency"), colours.orange),
      line("Held out", column("held_out_consistency"), colours.green),
    ],
    (column, words) => ({
      words: `Consistency ${words}, ${spread(column("routing_consistency"), two)}.`,
      y: { words: two, axis: WHOLE_AXIS },
      legend: ["As counted", "Held out"],
    }),
  ],
  [
    "top_expert",
    "Top expert",
    (colours, column) => [expertPoints(colours, column("top_expert"))],
    (_, words) => ({
      words: `Top expert ${words}.`,
      y: { words: count, axis: { min: 0, max: data.load.experts - 1, minInterval: 1 } },
    }),
  ],
];

function drawDetail() {
  // a page of a text alone has no charts
  if (detail.token === undefined || typeof echarts === "undefined") {
    showPanels(detail, document.querySelector("#token-detail .panels"), {});
    return;
  }
  const colours = look();
  const rows = data.indices.map((_, place) => tokenRow(place, detail.token));
  const column = (name) => rows.map((row) => row[name]);
  const words = `of the token ${rows[0].literal} by layer`;
  const panels = DETAIL_PANELS.filter(isTold).map(([, title, series, options]) => ({
    ...layerPanel(colours, title, series(colours, column), options(column, words)),
    onClick: undefined,
  }));
  showPanels(detail, document.querySelector("#token-detail .panels"), { panels });
}

function expertPoints(colours, experts) {
  return {
    type: "scatter",
    name: "Top expert",
    data: experts.map((value) => (isMissing(value) ? null : value)),
    symbolSize: 8,
    color: colours.purple,
  };
}

function startTokenDetail() {
  const dialog = document.getElementById("token-detail");
  document.getElementById("close-detail").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  dark.addEventListener("change", () => {
    if (dialog.open) drawDetail();
  });
}
