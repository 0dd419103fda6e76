// The text itself: passages, every token coloured by what the router did with it.
const view = { passage: null, box: null, text: null, legend: null, tip: null, words: [], start: 0, current: 0 };
const RAMP = 0.85;
const SHADES = 0.4;
const MOST_IN_LEGEND = 12;
const AGREEMENTS = [
  ["same", "the table has the same set"],
  ["first", "only the first expert is the same"],
  ["other", "another first expert"],
  ["unknown", "not in the table"],
];
const GLYPHS = { "\n": "⏎", "\t": "⇥", "\r": "␍", "\u007f": "␡" };
// what steers a text or has no width: its number is shown in its place
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029\u00a0\ufeff]/u;

/** Return what the router did with a token, by its place among all that are shown. */
function routeOf(place, at) {
  const layer = data.text.layers[place];
  const list = (packed) => (packed ? Array.from(matrixRow(packed, at, layer.top_k)) : []);
  const one = (packed) => (packed ? numbers(packed)[at] : NaN);
  const experts = list(layer.chosen);
  return {
    experts: isMissing(experts[0]) ? [] : experts,
    weights: list(layer.weights),
    entropy: one(layer.entropy),
    confidence: one(layer.confidence),
    shared: one(layer.shared) / layer.top_k,
    agreement: agreementOf(one(layer.shared) === layer.top_k, one(layer.first), one(layer.shared)),
  };
}

function agreementOf(same, first, shared) {
  if (isMissing(shared)) return "unknown";
  return same ? "same" : first === 1 ? "first" : "other";
}

function wordAt(at) {
  return numbers(data.text.word)[at];
}

/** Return the row of the token table that is a word's, or undefined. */
function tableRow(word) {
  return rowOfToken(data.text.id[word]);
}

/** Return the scheme of colours: words(route) of a token, value(route) and its range where it is a ramp. */
function scheme(place) {
  const layer = data.text.layers[place];
  return {
    expert: { words: ({ experts }) => (experts.length ? `expert ${experts[0]}` : "not routed") },
    entropy: ramp("entropy", range(layer.entropy), (value) => `${two(value)} nats`),
    confidence: ramp("confidence", range(layer.confidence), two),
    consistency: {
      ...ramp("shared", [0, 1], whole),
      words: ({ shared }) => (isMissing(shared) ? "no usual set" : `${whole(shared)} of its usual set`),
    },
    agreement: { words: ({ agreement }) => AGREEMENTS.find(([name]) => name === agreement)[1] },
  }[state.colouring];
}

function ramp(name, ends, format) {
  return { words: (route) => `${name} ${format(route[name])}`, value: (route) => route[name], ends, format };
}

/** Return the least and the greatest of a layer's numbers, over all passages. */
function range(packed) {
  const found = packed ? numbers(packed).filter((value) => !isMissing(value)) : [];
  return found.length ? [Math.min(...found), Math.max(...found)] : [0, 1];
}

/** Return the hue of an expert, and how much of it: those of one hue differ in shade. */
function hueOf(place, expert) {
  const hues = numbers(data.text.layers[place].hue);
  const alike = [...hues.keys()].filter((other) => hues[other] === hues[expert]);
  const share = alike.length > 1 ? alike.indexOf(expert) / (alike.length - 1) : 0;
  return [hues[expert], 1 - SHADES * share];
}

function paint(element, place, route, { value, ends }) {
  element.className = element.className.replace(/\b(of-expert|of-ramp|agrees-\w+)\b/g, "").trim();
  element.style.removeProperty("--tint");
  if (state.colouring === "agreement") element.classList.add(`agrees-${route.agreement}`);
  else if (value) {
    const share = (value(route) - ends[0]) / (ends[1] - ends[0] || 1);
    if (isMissing(share)) element.classList.add("agrees-unknown");
    else setTint(element, "of-ramp", "--ramp", RAMP * share);
  } else if (route.experts.length) {
    const [hue, strength] = hueOf(place, route.experts[0]);
    setTint(element, "of-expert", `--hue-${hue}`, strength);
  }
}

function setTint(element, name, colour, strength) {
  element.classList.add(name);
  element.style.setProperty("--tint", `var(${colour})`);
  element.style.setProperty("--strength", `${Math.round(100 * strength)}%`);
}

/** Fill an element with a token's text, with marks for what cannot be seen. */
function spell(element, text) {
  if (text === "") element.append(glyph("∅"));
  for (const character of text) {
    if (character === " ") element.append(glyph("·"));
    else if (character in GLYPHS) element.append(glyph(GLYPHS[character]));
    else if (UNSEEN.test(character)) element.append(glyph(numberOf(character), "code"));
    else element.append(character);
    if (character === "\n") element.append("\n");
  }
}

function numberOf(character) {
  const code = character.codePointAt(0);
  return code < 32 ? String.fromCodePoint(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

function glyph(text, kind = "faint") {
  const mark = document.createElement("span");
  mark.className = `glyph ${kind}`;
  mark.textContent = text;
  return mark;
}

function drawPassage(place) {
  if (!view.box) makeBox();
  if (view.passage !== state.passage) fillPassage();
  const colours = scheme(place);
  for (const [offset, element] of view.words.entries()) {
    const route = routeOf(place, view.start + offset);
    paint(element, place, route, colours);
    const said = offset >= generatedFrom() ? ", generated" : "";
    element.setAttribute("aria-label", `${data.text.literal[wordAt(view.start + offset)]}, ${colours.words(route)}${said}`);
  }
  drawLegend(place, colours);
  hideTip();
  return { placed: view.box, note: noteOfPassage() };
}

function makeBox() {
  view.box = make("div", "passage");
  view.legend = make("ul", "legend");
  view.text = make("p", "words");
  view.text.dir = "auto";
  view.text.setAttribute("role", "group");
  view.tip = make("div", "tip");
  view.tip.id = "passage-tip";
  view.tip.setAttribute("role", "tooltip");
  view.tip.hidden = true;
  view.box.append(view.legend, view.text, view.tip);
  listenToWords();
}

function fillPassage() {
  view.passage = state.passage;
  view.start = data.text.passages.slice(0, state.passage).reduce((total, { shown }) => total + shown, 0);
  view.current = 0;
  const { shown, name, sample_id: sample } = data.text.passages[state.passage];
  view.text.setAttribute("aria-label", `Tokens of ${name ?? `sample ${sample}`}`);
  view.words = Array.from({ length: shown }, (_, offset) => newWord(offset));
  view.text.replaceChildren(...view.words);
  const from = generatedFrom();
  if (from < shown) view.words[from].before(generatedMark());
}

/** Return the offset of the passage's first token that the model wrote. */
function generatedFrom() {
  const { prompt_tokens: prompt, first } = data.text.passages[state.passage];
  return Math.max(prompt - first, 0);
}

function generatedMark() {
  const mark = document.createElement("span");
  mark.className = "generated-from";
  mark.textContent = "generated:";
  return mark;
}

function newWord(offset) {
  const word = wordAt(view.start + offset);
  const element = document.createElement("span");
  element.className = "word";
  if (offset >= generatedFrom()) element.classList.add("generated");
  if (numbers(data.text.special)[word] === 1) element.classList.add("special-token");
  element.setAttribute("role", "button");
  element.setAttribute("aria-haspopup", "dialog");
  element.tabIndex = offset === 0 ? 0 : -1;
  element.dataset.offset = offset;
  spell(element, data.text.text[word]);
  return element;
}

function noteOfPassage() {
  const { sample_id: sample, split, tokens, first, shown } = data.text.passages[state.passage];
  const part = shown < tokens ? `tokens ${count(first)} to ${count(first + shown - 1)} of ${count(tokens)}` : `all ${count(tokens)} tokens`;
  const where = sample === null ? "" : `Sample ${count(sample)}${split ? ` (${split})` : ""}: ${part}. `;
  const { experts } = data.text.layers[state.place];
  const hues = state.colouring === "expert" && experts > 8 ? " Experts of one hue are often chosen together." : "";
  return `${where}${data.text.rule}${hues}`;
}

function drawLegend(place, colours) {
  const routes = view.words.map((_, offset) => routeOf(place, view.start + offset));
  const items = colours.value ? rampItems(colours, routes) : groupItems(place, routes, colours);
  view.legend.replaceChildren(...items);
}

function rampItems({ ends, format, value }, routes) {
  const found = routes.map(value).filter((each) => !isMissing(each));
  const bar = document.createElement("span");
  bar.className = "ramp";
  const item = document.createElement("li");
  item.append(format(ends[0]), bar, format(ends[1]));
  const mean = document.createElement("li");
  mean.textContent = found.length ? `mean ${format(sum(found) / found.length)}` : "not known here";
  return [item, mean];
}

function groupItems(place, routes, colours) {
  const of = state.colouring === "agreement" ? ({ agreement }) => agreement : ({ experts }) => experts[0];
  const groups = new Map();
  for (const route of routes) {
    const key = of(route);
    if (isMissing(key)) continue;
    groups.set(key, { route, tokens: (groups.get(key)?.tokens ?? 0) + 1 });
  }
  const largestFirst = [...groups].sort(([a, { tokens: x }], [b, { tokens: y }]) => y - x || (a < b ? -1 : 1));
  const items = largestFirst.slice(0, MOST_IN_LEGEND).map(([key, group]) => groupItem(place, key, group, colours));
  const others = largestFirst.length - items.length;
  if (others > 0) {
    const rest = document.createElement("li");
    rest.textContent = `and ${count(others)} more`;
    items.push(rest);
  }
  return items;
}

function groupItem(place, key, { route, tokens }, colours) {
  const item = document.createElement("li");
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  paint(swatch, place, route, colours);
  const name = Object.assign(document.createElement("span"), { className: "unseen", textContent: "expert " });
  swatch.append(...(typeof key === "number" ? [name, key] : ["a"]));
  const words = document.createElement("span");
  words.textContent = `${typeof key === "number" ? "" : `${AGREEMENTS.find(([name]) => name === key)[1]}, `}${count(tokens)} token${tokens === 1 ? "" : "s"}`;
  item.append(swatch, " ", words);
  return item;
}

/** Return lines on what the router did with a token in the shown layer. */
function tipLines(offset) {
  const at = view.start + offset;
  const word = wordAt(at);
  const { experts, weights, entropy, confidence, agreement } = routeOf(state.place, at);
  const layer = data.text.layers[state.place];
  const position = data.text.passages[state.passage].first + offset;
  const generated = offset >= generatedFrom() ? ", generated" : "";
  const lines = [`${data.text.literal[word]} (id ${data.text.id[word]}), position ${count(position)}${generated}`];
  if (!experts.length) return [...lines, "Not routed in this layer"];
  const chosen = experts.map((expert, at) => `${expert}${weights.length ? ` (${weighed(weights[at])})` : ""}`);
  lines.push(`Expert${experts.length === 1 ? "" : "s"} ${chosen.join(", ")}`);
  if (!isMissing(entropy)) lines.push(`Entropy ${two(entropy)} nats, confidence ${two(confidence)}`);
  const row = tableRow(word);
  if (row !== undefined) lines.push(...usualLine(tokenRow(state.place, row)));
  if (layer.shared) lines.push(`Lookup table: ${AGREEMENTS.find(([name]) => name === agreement)[1]}`);
  return lines;
}

function weighed(weight) {
  return weight === 0 ? "did not run" : two(weight);
}

function usualLine({ top_expert: expert, routing_consistency: share, frequency }) {
  if (isMissing(expert)) return [];
  const times = `${count(frequency)} occurrence${frequency === 1 ? "" : "s"}`;
  return [`Usually expert ${expert}, ${whole(share)} of ${times}`];
}

function showTip(offset) {
  const word = view.words[offset];
  const [first, ...others] = tipLines(offset).map((text, line) => {
    const element = document.createElement(line ? "span" : "b");
    element.textContent = text;
    return element;
  });
  view.tip.replaceChildren(first, ...others);
  view.tip.hidden = false;
  for (const described of view.text.querySelectorAll("[aria-describedby]")) described.removeAttribute("aria-describedby");
  word.setAttribute("aria-describedby", view.tip.id);
  const around = view.box.getBoundingClientRect();
  const box = word.getClientRects()[0] ?? word.getBoundingClientRect();
  const left = Math.min(box.left - around.left, around.width - view.tip.offsetWidth);
  view.tip.style.left = `${Math.max(left, 0)}px`;
  view.tip.style.top = `${box.bottom - around.top + 4}px`;
}

function hideTip() {
  view.tip.hidden = true;
}

const offsetOf = (target) => {
  const word = target.closest?.(".word");
  return word ? Number(word.dataset.offset) : null;
};

function listenToWords() {
  view.box.addEventListener("mouseover", ({ target }) => {
    const offset = offsetOf(target);
    if (offset !== null) showTip(offset);
  });
  view.box.addEventListener("mouseleave", hideTip);
  view.text.addEventListener("focusin", ({ target }) => {
    const offset = offsetOf(target);
    if (offset === null) return;
    moveTabStop(offset);
    if (target.matches(":focus-visible")) showTip(offset);
  });
  view.text.addEventListener("focusout", hideTip);
  view.text.addEventListener("click", ({ target }) => openWord(offsetOf(target)));
  view.text.addEventListener("keydown", moveByKey);
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") hideTip();
  });
}

function moveTabStop(offset) {
  view.words[view.current].tabIndex = -1;
  view.current = offset;
  view.words[offset].tabIndex = 0;
}

function moveByKey(event) {
  const offset = offsetOf(event.target);
  if (offset === null || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === " ") openWord(offset);
  else {
    const to = goal(event.key, offset);
    if (to === null) return;
    view.words[to].focus();
  }
  event.preventDefault();
}

/** Return the offset that a key leads to, or null for any other key. */
function goal(key, offset) {
  const last = view.words.length - 1;
  const forwards = getComputedStyle(view.text).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  if (key === "Home") return 0;
  if (key === "End") return last;
  if (key === "ArrowLeft" || key === "ArrowRight")
    return Math.min(Math.max(offset + (key === forwards ? 1 : -1), 0), last);
  if (key === "ArrowUp" || key === "ArrowDown") return inLine(offset, key === "ArrowUp" ? -1 : 1);
  return null;
}

/** Return the offset of the nearest word in the line before or after. */
function inLine(offset, by) {
  const boxes = view.words.map((word) => word.getClientRects()[0]);
  const { left, top } = boxes[offset];
  const further = [...boxes.keys()].filter((at) => by * (boxes[at].top - top) > 4);
  if (!further.length) return offset;
  const nearest = Math.min(...further.map((at) => by * (boxes[at].top - top)));
  const line = further.filter((at) => by * (boxes[at].top - top) < nearest + 4);
  return line.reduce((best, at) => (Math.abs(boxes[at].left - left) < Math.abs(boxes[best].left - left) ? at : best));
}

function openWord(offset) {
  if (offset === null) return;
  const at = view.start + offset;
  moveTabStop(offset);
  hideTip();
  openDetail(tableRow(wordAt(at)), view.words[offset], {
    literal: data.text.literal[wordAt(at)],
    id: data.text.id[wordAt(at)],
    routes: data.indices.map((_, place) => routeOf(place, at)),
  });
}

function passageTable(place) {
  const { first } = data.text.passages[state.passage];
  const layer = data.text.layers[place];
  const told = [
    ["weights", layer.weights, ({ weights }) => weights.join(" ")],
    ["entropy", layer.entropy, ({ entropy }) => entropy],
    ["confidence", layer.confidence, ({ confidence }) => confidence],
    ["lookup_table", layer.shared, ({ agreement }) => agreement],
  ].filter(([, packed]) => packed);
  return {
    columns: ["position", "token", "id", "experts", ...told.map(([name]) => name)],
    rows: view.words.map((_, offset) => {
      const at = view.start + offset;
      const route = routeOf(place, at);
      const word = wordAt(at);
      const cells = told.map(([, , cell]) => cell(route));
      return [first + offset, data.text.literal[word], data.text.id[word], route.experts.join(" "), ...cells];
    }),
  };
}

function startPassages() {
  if (!data.text) return;
  const [passage, colours] = ["passage", "colouring"].map((id) => document.getElementById(id));
  passage.addEventListener("change", () => choose({ passage: Number(passage.value) }));
  colours.addEventListener("change", () => choose({ colouring: colours.value }));
  choose({ passage: Number(passage.value), colouring: colours.value });
  figure("passages", { follows: ["place", "passage", "colouring"], draw: drawPassage, table: passageTable });
}
