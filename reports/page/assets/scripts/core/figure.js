// One figure: panels of charts, a note, its data as CSV and, where it is small, as a table.
const LARGEST_TABLE = 300;
const figures = [];

/**
 * Register the figure with that id.
 *
 * draw(place, colours) returns {panels: [{option, title, key, renderer, height, onClick}], note}, {shown, note}
 * of a table that needs no chart, {placed, note} of an element that it keeps, or {empty: why}; table(place) returns {columns, rows}; follows lists what it shows of the state.
 * A page without the figure, since the run's source does not tell enough for it, ignores it.
 */
function figure(stem, { draw, table, follows = [] }) {
  const element = document.getElementById(stem);
  if (!element) return;
  const registered = { stem, element, draw, table, follows, charts: [], waiting: [], stale: false, visible: false };
  offerCsv(element.querySelector(".csv"), () => [fileName(stem, follows), table(state.place)]);
  element.querySelector(".alternative").addEventListener("toggle", () => fillTable(registered));
  figures.push(registered);
}

function fileName(stem, follows) {
  const layer = follows.includes("place") ? `-layer-${data.indices[state.place]}` : "";
  return `${stem}${layer}.csv`;
}

/** Take the room that the figure needs, and draw it if it is in sight: nothing moves when it is drawn later. */
function refresh(registered) {
  registered.stale = false;
  const drawn = registered.draw(state.place, look());
  layOut(registered, registered.element.querySelector(".panels"), drawn);
  const note = registered.element.querySelector(".note");
  note.textContent = drawn.note ?? "";
  note.hidden = !drawn.note;
  const size = drawn.empty ? 0 : registered.table(state.place).rows.length;
  registered.element.querySelector(".actions").hidden = !size;
  registered.element.querySelector(".alternative").hidden = !size || size > LARGEST_TABLE || !!drawn.shown;
  fillTable(registered);
  registered.waiting = drawn.panels ?? [];
  if (registered.visible) paintWaiting(registered);
}

/** Refresh what is in sight at once, and the others one after another while the reader can go on. */
function refreshThose(stale) {
  for (const registered of stale) {
    if (registered.visible) refresh(registered);
    else registered.stale = true;
  }
  setTimeout(refreshNext);
}

function refreshNext() {
  const next = figures.find(({ stale }) => stale);
  if (!next) return;
  refresh(next);
  setTimeout(refreshNext);
}

/** Draw the charts that wait for it. */
function paintWaiting(registered) {
  if (registered.stale) refresh(registered);
  const container = registered.element.querySelector(".panels");
  registered.waiting.forEach((panel, place) => paintPanel(registered, container, panel, place));
  registered.waiting = [];
}

function fillTable(registered) {
  const details = registered.element.querySelector(".alternative");
  if (details.open && !details.hidden) {
    details.querySelector(".scroll").replaceChildren(tableElement(registered.table(state.place)));
  }
}

/** Draw panels into a container; existing charts are kept if the number is the same. */
function showPanels(holder, container, drawn) {
  layOut(holder, container, drawn);
  (drawn.panels ?? []).forEach((panel, place) => paintPanel(holder, container, panel, place));
}

/** Put into a container what needs no chart, or the room of each chart, as high as it will be. */
function layOut(holder, container, { panels = [], shown, placed, empty }) {
  if (placed) {
    if (container.firstChild !== placed) container.replaceChildren(placed);
    return;
  }
  if (empty || shown || holder.charts.length !== panels.length) {
    for (const chart of holder.charts) chart?.dispose();
    holder.charts = panels.map(() => null);
    container.replaceChildren(...panels.map(newPanel));
  }
  container.classList.toggle("several", panels.length > 1);
  if (empty) {
    const words = document.createElement("p");
    words.className = "empty";
    words.textContent = empty;
    container.append(words);
    return;
  }
  if (shown) {
    container.append(scrolling(tableElement(shown), holder.element));
    return;
  }
  panels.forEach(({ height, key, option }, place) => {
    const panel = container.children[place];
    const drawing = panel.querySelector(".drawing");
    if (height) drawing.style.height = height;
    drawing.setAttribute("aria-label", option.aria.label.description);
    if (key) showKey(panel.querySelector(".key"), key);
  });
}

function paintPanel(holder, container, { option, onClick, renderer = "svg" }, place) {
  const drawing = container.children[place].querySelector(".drawing");
  const chart = (holder.charts[place] ??= newChart(drawing, renderer));
  chart.onClick = onClick;
  chart.resize();
  chart.setOption(option, { notMerge: true });
}

/** Return a table in a region that a keyboard can scroll, named as the figure is. */
function scrolling(table, { id }) {
  const region = document.createElement("div");
  region.className = "scroll";
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", `${document.getElementById(`${id}-heading`).textContent}: the table`);
  region.append(table);
  return region;
}

/** Fill in what the colours of a heat map mean: their ends, their middle, and the unit. */
function showKey(element, { stops, ends, unit }) {
  const bar = make("span", "key-bar");
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  element.replaceChildren(make("span", "key-unit", unit), bar, ...ends.map((end) => make("span", "key-end", end)));
}

function newPanel({ title, key }) {
  const drawing = make("div", "drawing");
  drawing.setAttribute("role", "img");
  const above = [...(title ? [make("p", "title", title)] : []), ...(key ? [make("p", "key")] : [])];
  return make("div", "panel", ...above, drawing);
}

function newChart(drawing, renderer) {
  const chart = echarts.init(drawing, null, { renderer });
  chart.getZr().on("click", (event) => clicked(chart, event));
  resizes.observe(drawing);
  return chart;
}

function clicked(chart, { offsetX, offsetY }) {
  if (!chart.onClick || !chart.containPixel("grid", [offsetX, offsetY])) return;
  const [x, y] = chart.convertFromPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [offsetX, offsetY]);
  chart.onClick(Math.round(x), Math.round(y));
}

const resizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = echarts.getInstanceByDom(target);
    if (chart && target.clientWidth && target.clientWidth !== chart.getWidth())
      chart.resize({ animation: { duration: 0 } });
  }
});

const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const registered = figures.find(({ element }) => element === target);
      registered.visible = isIntersecting;
      if (isIntersecting) paintWaiting(registered);
    }
  },
  { rootMargin: "400px" },
);

function redrawAll() {
  for (const registered of figures) refresh(registered);
}

function startFigures() {
  redrawAll();
  for (const { element } of figures) near.observe(element);
  onChange((changed) => {
    refreshThose(figures.filter(({ follows }) => follows.some((name) => changed.has(name))));
  });
  dark.addEventListener("change", redrawAll);
  still.addEventListener("change", redrawAll);
  addEventListener("beforeprint", () => {
    for (const registered of figures) registered.visible = true;
    redrawAll();
  });
}
