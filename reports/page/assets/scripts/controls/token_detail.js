// One token in every layer, in a dialog: Escape closes it and the focus returns to the token.
const detail = { charts: [], token: null };
const IN_DETAIL = [
  ["top_expert", "Top expert", "top expert"],
  ["mean_entropy", "Entropy, nats", "mean entropy"],
  ["mean_confidence", "Confidence"],
  ["routing_consistency", "Consistency", "consistency"],
  ["held_out_consistency", "Held out"],
];
const isTold = ([name]) => name in data.tokens;

function openDetail(token, opener) {
  const row = tokenRow(state.place, token);
  detail.token = token;
  document.getElementById("token-heading").textContent = `Token ${row.literal}`;
  document.getElementById("token-facts").textContent =
    `Id ${row.id}, ${count(row.frequency)} occurrences${row.special ? ", a special token" : ""}. ${whatIsTold()}`;
  // the dialog returns the focus to the element that had it
  opener.focus({ preventScroll: true });
  document.getElementById("token-detail").showModal();
  drawDetail();
  const table = IN_DETAIL.some(isTold) ? [tableElement(detailTable(token))] : [];
  document.querySelector("#token-detail .scroll").replaceChildren(...table);
}

function whatIsTold() {
  const told = IN_DETAIL.filter((each) => each[2] && isTold(each)).map(([, , words]) => words);
  if (!told.length) return "How it was routed in a layer is not told.";
  const last = told.pop();
  return `Each layer's own ${told.length ? `${told.join(", ")} and ` : ""}${last}.`;
}

function detailTable(token) {
  const columns = IN_DETAIL.filter(isTold);
  return {
    columns: ["Layer", ...columns.map(([, words]) => words)],
    rows: data.indices.map((index, place) => {
      const row = tokenRow(place, token);
      return [index, ...columns.map(([name]) => row[name])];
    }),
  };
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
