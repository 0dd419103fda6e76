// The most frequent tokens: searched, sorted, a page at a time.
const PAGE_ROWS = 100;
const EVERY_COLUMN = [
  ["literal", "Token", "text"],
  ["id", "Id", count],
  ["frequency", "Frequency", count],
  ["mean_entropy", "Entropy", (value) => decimal(value)],
  ["mean_confidence", "Confidence", (value) => decimal(value)],
  ["routing_consistency", "Consistency", (value) => decimal(value)],
  ["held_out_consistency", "Held out", (value) => decimal(value)],
  ["top_expert", "Top expert", count],
  ["eligible", "Eligible", (value) => (value ? "yes" : "no")],
];
// a run's source may not tell some of them; eligible needs the thresholds
const TOKEN_COLUMNS = EVERY_COLUMN.filter(([name]) =>
  name === "eligible" ? data.steps : name in (data.tokens ?? {}),
);
const tokenView = { query: "", sorted: "frequency", descending: true, page: 0, rows: [] };
const rowsOf = { key: "", rows: [] };

/** Return one object per token with its values in a layer and whether it is eligible now. */
function tokenRows(place) {
  const key = `${place} ${state.frequency} ${state.entropy}`;
  if (rowsOf.key !== key)
    Object.assign(rowsOf, { key, rows: data.tokens.id.map((_, token) => tokenRow(place, token)) });
  return rowsOf.rows;
}

function tokenRow(place, token) {
  const { tokens } = data;
  const of = (packed) => (packed ? matrixRow(packed, place, tokens.id.length)[token] : NaN);
  const frequency = numbers(tokens.frequency[tokens.frequency_of[place]])[token];
  return {
    token,
    literal: tokens.literal[token],
    id: tokens.id[token],
    special: numbers(tokens.special)[token] === 1,
    frequency,
    mean_entropy: of(tokens.mean_entropy),
    mean_confidence: of(tokens.mean_confidence),
    routing_consistency: of(tokens.routing_consistency),
    held_out_consistency: of(tokens.held_out_consistency),
    top_expert: of(tokens.top_expert),
    // by the cell that Python counted it in: rounded entropies could cross a threshold
    eligible:
      Boolean(data.steps) &&
      frequency > data.steps.frequency[state.frequency] &&
      of(tokens.column) <= state.entropy,
  };
}

function startTokenTable() {
  const { tokens } = data;
  const listed = tokens.id.length - tokens.others;
  document.getElementById("token-count").textContent =
    tokens.id.length < tokens.distinct
      ? `${count(listed)} (of ${count(tokens.distinct)})`
      : count(tokens.id.length);
  document.getElementById("token-others").textContent =
    tokens.others && tokens.id.length < tokens.distinct ? ` and ${count(tokens.others)} of the texts shown above` : "";
  const head = document.querySelector("#token-table thead tr");
  for (const [name, words, format] of TOKEN_COLUMNS) head.append(sortHeading(name, words, format));
  document
    .getElementById("token-search")
    .addEventListener("input", ({ target }) => showTokens({ query: target.value, page: 0 }));
  document
    .getElementById("previous-page")
    .addEventListener("click", () => showTokens({ page: tokenView.page - 1 }));
  document
    .getElementById("next-page")
    .addEventListener("click", () => showTokens({ page: tokenView.page + 1 }));
  offerCsv(document.getElementById("tokens-csv"), () => [
    `tokens-layer-${data.indices[state.place]}.csv`,
    tokenCsv(),
  ]);
  document.querySelector("#token-table tbody").addEventListener("click", ({ target }) => {
    const row = target.closest("tr");
    if (row) openDetail(Number(row.dataset.token), row.querySelector("button"));
  });
  onChange(() => showTokens({}));
  showTokens({});
}

function sortHeading(name, words, format) {
  const cell = document.createElement("th");
  cell.scope = "col";
  cell.dataset.column = name;
  if (format === "text") cell.className = "text";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words;
  button.addEventListener("click", () => {
    const same = tokenView.sorted === name;
    showTokens({
      sorted: name,
      descending: same ? !tokenView.descending : format !== "text" && name !== "id",
      page: 0,
    });
  });
  cell.append(button);
  return cell;
}

function showTokens(change) {
  Object.assign(tokenView, change);
  const { sorted, descending } = tokenView;
  tokenView.rows = matching(tokenRows(state.place), tokenView.query).sort(compareBy(sorted, descending));
  const pages = Math.max(Math.ceil(tokenView.rows.length / PAGE_ROWS), 1);
  tokenView.page = Math.min(Math.max(tokenView.page, 0), pages - 1);
  const from = tokenView.page * PAGE_ROWS;
  document
    .querySelector("#token-table tbody")
    .replaceChildren(...tokenView.rows.slice(from, from + PAGE_ROWS).map(tokenLine));
  for (const cell of document.querySelectorAll("#token-table th")) {
    if (cell.dataset.column === sorted)
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  document.getElementById("token-matches").textContent = tokenView.query
    ? `${count(tokenView.rows.length)} token${tokenView.rows.length === 1 ? "" : "s"} match`
    : "";
  document.getElementById("page-number").textContent = `Page ${tokenView.page + 1} of ${pages}`;
  document.getElementById("previous-page").disabled = tokenView.page === 0;
  document.getElementById("next-page").disabled = tokenView.page === pages - 1;
}

/** Return the rows whose literal or id holds the words, in any case. */
function matching(rows, query) {
  const wanted = query.toLowerCase();
  if (!wanted) return [...rows];
  return rows.filter(
    ({ literal, id }) => literal.toLowerCase().includes(wanted) || String(id).includes(wanted),
  );
}

/** Return an order by a column; missing values come last in both directions. */
function compareBy(name, descending) {
  const sign = descending ? -1 : 1;
  return (one, other) => {
    const [first, second] = [one[name], other[name]];
    if (isMissing(first) || isMissing(second)) return isMissing(first) - isMissing(second);
    if (first === second) return one.token - other.token;
    return first < second ? -sign : sign;
  };
}

function tokenLine(row) {
  const line = document.createElement("tr");
  line.dataset.token = row.token;
  const head = document.createElement("th");
  head.scope = "row";
  head.className = "text";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "token";
  button.textContent = row.literal;
  button.title = row.literal;
  head.append(button);
  if (row.special) head.append(specialMark());
  line.append(head);
  for (const [name, , format] of TOKEN_COLUMNS.slice(1)) {
    const cell = line.insertCell();
    cell.textContent = isMissing(row[name]) ? "–" : format(row[name]);
  }
  return line;
}

function specialMark() {
  const mark = document.createElement("span");
  mark.className = "special";
  mark.textContent = "special";
  return mark;
}

function tokenCsv() {
  const names = TOKEN_COLUMNS.map(([name]) => name);
  const rows = tokenView.rows.map((row) =>
    names.map((name) => (name === "eligible" ? (row.eligible ? "yes" : "no") : row[name])),
  );
  return { columns: names, rows };
}
