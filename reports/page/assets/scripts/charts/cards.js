// Expert cards: what one expert of the shown layer is chosen for, and what of that is chance.
const cardView = { place: null, box: null, list: null, card: null };
const LEAST_SCALE = 0.5;
const AGREED = [
  [0.9, "agree on"],
  [0.6, "mostly agree on"],
  [0.3, "agree a little on"],
  [-1, "do not agree on"],
];

const cardsOf = (place) => data.cards.layers[place];
const times = (value) => `${two(value)}×`;

/** Return row `at` of a table of cards, without its missing entries. */
function entriesOf(packed, at, experts) {
  return packed ? Array.from(matrixRow(packed, at, numbers(packed).length / experts)) : [];
}

function drawCard(place) {
  if (!cardView.box) makeCards();
  const layer = cardsOf(place);
  if (cardView.place !== place) {
    Object.assign(cardView, { place });
    state.card = 0;
    fillExperts(place, layer);
  }
  for (const [at, option] of [...cardView.list.children].entries()) {
    option.setAttribute("aria-selected", String(at === state.card));
    option.tabIndex = at === state.card ? 0 : -1;
  }
  cardView.card.replaceChildren(...cardParts(place, layer, state.card));
  return { placed: cardView.box };
}

function makeCards() {
  cardView.list = make("ul", "experts");
  cardView.list.setAttribute("role", "listbox");
  cardView.card = make("article", "card");
  cardView.card.setAttribute("aria-labelledby", "card-heading");
  cardView.box = make("div", "cards", cardView.list, cardView.card);
  cardView.list.addEventListener("click", ({ target }) => {
    const option = target.closest("li");
    if (option) chooseCard([...cardView.list.children].indexOf(option));
  });
  cardView.list.addEventListener("keydown", (event) => {
    const last = cardView.list.children.length - 1;
    const to = {
      ArrowDown: state.card + 1,
      ArrowRight: state.card + 1,
      ArrowUp: state.card - 1,
      ArrowLeft: state.card - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    chooseCard(Math.min(Math.max(to, 0), last));
    cardView.list.children[state.card].focus();
  });
}

function chooseCard(at) {
  choose({ card: at });
  const option = cardView.list.children[at];
  // within the list alone: the page stays where it is
  cardView.list.scrollTo({
    top: option.offsetTop - cardView.list.clientHeight / 2,
    left: option.offsetLeft - cardView.list.clientWidth / 2,
  });
}

function fillExperts(place, layer) {
  const most = largest(layer.load_ratio);
  cardView.list.setAttribute("aria-label", `Experts of layer ${data.indices[place]}, the busiest first`);
  cardView.list.replaceChildren(
    ...layer.expert.map((expert, at) => {
      const load = layer.load_ratio[at];
      const bar = make("span", "load");
      bar.style.setProperty("--share", most ? (load ?? 0) / most : 0);
      const share = isMissing(load) ? [] : [times(load), make("span", "unseen", " a fair share")];
      const name = make("b", "", make("span", "unseen", "Expert "), expert);
      const option = make("li", "", name, bar, make("span", "", ...share));
      option.setAttribute("role", "option");
      return option;
    }),
  );
  cardView.list.scrollTo(0, 0);
}

function cardParts(place, layer, at) {
  const heading = make("h4", "", `Expert ${layer.expert[at]}`);
  heading.id = "card-heading";
  const facts = make("p", "", loadWords(place, layer, at), halvesWords(layer, at));
  const parts = [tokenPart, domainPart, contextPart, neighbourPart];
  return [heading, facts, make("div", "parts", ...parts.map((part) => part(place, layer, at)).filter(Boolean))];
}

function loadWords(place, layer, at) {
  const fair = 1 / data.layers.num_experts[place];
  return `It computes ${percent(layer.load_share[at])} of the layer's load, where ${percent(fair)} is fair: ${times(layer.load_ratio[at])}. `;
}

function halvesWords(layer, at) {
  if (isMissing(layer.half_tokens)) return "";
  const value = layer.half_correlation[at];
  if (isMissing(value)) return "Too few tokens are frequent in both halves of the documents to say whether these agree on it.";
  const [, words] = AGREED.find(([least]) => value >= least);
  return `The two halves of the documents ${words} the tokens that it is chosen for: correlation ${two(value)} over ${count(layer.half_tokens)} tokens.`;
}

function part(name, title, explained, content) {
  const heading = make("h5", "", title);
  const words = explained ? [make("p", "explained", explained)] : [];
  return make("section", name, heading, ...words, content);
}

/** Return a token as a button that opens its dialog, or as text if the token table has no row of it. */
function tokenElement(id, literal) {
  const row = rowOfToken(id);
  const element = make(row === undefined ? "code" : "button", "token", literal);
  element.title = row === undefined ? `${literal}, which is not among the tokens of this page` : literal;
  if (row !== undefined) {
    element.type = "button";
    element.addEventListener("click", () => openDetail(row, element));
  }
  return element;
}

function tokenPart(_, layer, at) {
  if (!layer.token) return null;
  const lifts = entriesOf(layer.token_lift, at, layer.expert.length);
  const items = entriesOf(layer.token, at, layer.expert.length)
    .map((token, place) => [token, lifts[place]])
    .filter(([token]) => !isMissing(token))
    .map(([token, lift]) =>
      make("li", "", tokenElement(data.cards.tokens.id[token], data.cards.tokens.literal[token]), make("span", "", times(lift))),
    );
  const none = "No token of at least 10 occurrences chooses it more often than others do.";
  return part("of-tokens", "Tokens, by lift", "", items.length ? make("ol", "", ...items) : make("p", "empty", none));
}

/** Return what a card says of each domain, the largest first: its lift, logarithm, z and whether it was tested. */
function domainsOf(layer, at) {
  const [lifts, sizes, found] = ["domain_lift", "domain_z", "discovery"].map((name) =>
    entriesOf(layer[name], at, layer.expert.length),
  );
  return data.cards.domains
    .map((name, place) => {
      const logarithm = Math.log2(lifts[place]);
      return { name, lift: lifts[place], logarithm, z: Math.sign(logarithm) * sizes[place], found: found[place] };
    })
    .filter(({ lift }) => !isMissing(lift));
}

function scaleOf(place) {
  const lifts = Array.from(numbers(cardsOf(place).domain_lift)).filter((lift) => lift > 0);
  return Math.max(LEAST_SCALE, largest(lifts.map((lift) => Math.abs(Math.log2(lift)))));
}

function domainPart(place, layer, at) {
  const scale = scaleOf(place);
  const rows = domainsOf(layer, at).sort((one, other) => other.lift - one.lift);
  if (!rows.length) return part("of-domains", "Domains", "", make("p", "empty", "No token selects it."));
  const table = make("table", "", make("thead", "", domainHead(scale)), make("tbody", "", ...rows.map((row) => domainRow(row, scale))));
  return part("of-domains", "Domains, by log₂ of the lift", "", table);
}

function domainHead(scale) {
  const ends = make("th", "ends", make("span", "", `÷${two(2 ** scale)}`), make("span", "", "1"), make("span", "", times(2 ** scale)));
  ends.setAttribute("aria-label", "Bar");
  const heads = [make("th", "text", "Domain"), ends, make("th", "", "log₂ lift"), make("th", "text", "Chance")];
  for (const head of heads) head.scope = "col";
  return make("tr", "", ...heads);
}

function domainRow({ name, lift, logarithm, found }, scale) {
  const head = make("th", "text", name);
  head.scope = "row";
  const bar = make("span", found === 1 ? "bar" : "bar by-chance");
  bar.classList.add(lift < 1 ? "less" : "more");
  bar.style.setProperty("--share", Math.min(Math.abs(logarithm) / scale, 1));
  const said = found === 1 ? "beyond" : found === 0 ? "within" : "not tested";
  const value = lift > 0 ? `${logarithm > 0 ? "+" : ""}${two(logarithm)}` : "none";
  return make("tr", "", head, make("td", "track", bar), make("td", "", value), make("td", "text", found === 1 ? make("b", "", said) : said));
}

function contextPart(_, layer, at) {
  if (!layer.context) return null;
  const experts = layer.expert.length;
  const samples = entriesOf(layer.context_sample, at, experts);
  const positions = entriesOf(layer.context_position, at, experts);
  const before = entriesOf(layer.context_before, at, experts);
  const words = entriesOf(layer.context, at, experts);
  const width = words.length / samples.length;
  const items = samples
    .map((sample, place) => [sample, place, words.slice(place * width, (place + 1) * width)])
    .filter(([sample]) => !isMissing(sample))
    .map(([sample, place, shown]) => {
      const text = make("p", "words", ...shown.filter((word) => !isMissing(word)).map((word, offset) => contextWord(word, offset === before[place])));
      text.dir = "auto";
      return make("li", "", text, make("span", "where", `sample ${count(sample)}, position ${count(positions[place])}`));
    });
  const none = "No token chose it first.";
  return part("of-contexts", "Its most confident tokens", "", items.length ? make("ol", "", ...items) : make("p", "empty", none));
}

function contextWord(word, isChosen) {
  const element = make(isChosen ? "mark" : "span");
  spell(element, data.cards.words[word]);
  return element;
}

function neighbourPart(place, layer, at) {
  if (data.layers.top_k[place] === 1)
    return part("of-neighbours", "Neighbours", "", make("p", "empty", "This layer chooses one expert for each token."));
  const experts = layer.expert.length;
  const [shares, lifts] = [layer.neighbour_share, layer.neighbour_lift].map((packed) => entriesOf(packed, at, experts));
  const items = entriesOf(layer.neighbour, at, experts)
    .map((expert, order) => [expert, shares[order], lifts[order]])
    .filter(([expert]) => !isMissing(expert))
    .map(([expert, share, lift]) => make("li", "", expertElement(layer, expert), ` with ${percent(share)} of its tokens, ${times(lift)}`));
  const [k, all] = [data.layers.top_k[place], data.layers.num_experts[place]];
  const explained = `Chosen by the same tokens; experts chosen at random would be at ${times((k - 1) / (all - 1) / (k / all))}.`;
  const none = "No other expert is chosen with it 10 times.";
  return part("of-neighbours", "Neighbours, by lift", explained, items.length ? make("ol", "", ...items) : make("p", "empty", none));
}

/** Return an expert as a button that shows its card, or as text if it has none here. */
function expertElement(layer, expert) {
  const at = layer.expert.indexOf(expert);
  if (at < 0) return `Expert ${expert}`;
  const button = make("button", "expert", `Expert ${expert}`);
  button.type = "button";
  button.addEventListener("click", () => {
    chooseCard(at);
    cardView.list.children[at].focus({ preventScroll: true });
  });
  return button;
}

function cardTable(place) {
  const layer = cardsOf(place);
  return {
    columns: ["expert", "load_ratio", "half_correlation", "domain", "log2_lift", "z", "beyond_chance"],
    rows: layer.expert.flatMap((expert, at) =>
      domainsOf(layer, at).map(({ name, lift, logarithm, z, found }) => [
        expert,
        layer.load_ratio[at],
        layer.half_correlation[at],
        name,
        lift > 0 ? logarithm : null,
        z,
        isMissing(found) ? "not tested" : found ? "yes" : "no",
      ]),
    ),
  };
}

function startCards() {
  if (!data.cards) return;
  state.card = 0;
  figure("cards", { follows: ["place", "card"], draw: drawCard, table: cardTable });
}
