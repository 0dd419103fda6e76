// One token in every layer, in a dialog: Escape closes it and the focus returns to the token.
const detail = { charts: [], token: null };

function openDetail(token, opener) {
  const row = tokenRow(state.place, token);
  detail.token = token;
  document.getElementById("token-heading").textContent = `Token ${row.literal}`;
  document.getElementById("token-facts").textContent =
    `Id ${row.id}, ${count(row.frequency)} occurrences${row.special ? ", a special token" : ""}. Each layer's own top expert, mean entropy and consistency.`;
  // the dialog returns the focus to the element that had it
  opener.focus({ preventScroll: true });
  document.getElementById("token-detail").showModal();
  drawDetail();
  document.querySelector("#token-detail .scroll").replaceChildren(tableElement(detailTable(token)));
}

function detailTable(token) {
  return {
    columns: ["Layer", "Top expert", "Entropy, nats", "Confidence", "Consistency", "Held out"],
    rows: data.indices.map((index, place) => {
      const row = tokenRow(place, token);
      return [
        index,
        row.top_expert,
        row.mean_entropy,
        row.mean_confidence,
        row.routing_consistency,
        row.held_out_consistency,
      ];
    }),
  };
}

function drawDetail() {
  const colours = look();
  const rows = data.indices.map((_, place) => tokenRow(place, detail.token));
  const column = (name) => rows.map((row) => row[name]);
  const words = `of the token ${rows[0].literal} by layer`;
  const panels = [
    layerPanel(colours, "Mean entropy, nats", [line("Entropy", column("mean_entropy"), colours.blue)], {
      words: `Mean entropy ${words}, ${spread(column("mean_entropy"), two)} nats.`,
      y: { words: two, axis: { min: 0 } },
    }),
    layerPanel(
      colours,
      "Consistency",
      [
        line("As counted", column("routing_consistency"), colours.orange),
        line("Held out", column("held_out_consistency"), colours.green),
      ],
      {
        words: `Consistency ${words}, ${spread(column("routing_consistency"), two)}.`,
        y: { words: two, axis: WHOLE_AXIS },
        legend: ["As counted", "Held out"],
      },
    ),
    layerPanel(colours, "Top expert", [expertPoints(colours, column("top_expert"))], {
      words: `Top expert ${words}.`,
      y: { words: count, axis: { min: 0, max: data.load.experts - 1, minInterval: 1 } },
    }),
  ].map((panel) => ({ ...panel, onClick: undefined }));
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
