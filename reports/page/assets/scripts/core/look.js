// The charts' look, read from the page's own styles, so that both change together.
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const COLOURS = [
  "page",
  "card",
  "line",
  "edge",
  "ink",
  "soft",
  "mark",
  "blue",
  "orange",
  "green",
  "purple",
  "grey",
  "low",
  "high",
  "undefined",
];

function look() {
  const style = getComputedStyle(document.documentElement);
  const colours = COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
  const [shares, ratios] = ["shares", "ratios"].map((name) => style.getPropertyValue(`--${name}`).trim().split(", "));
  return { ...Object.fromEntries(colours), shares, ratios, font: getComputedStyle(document.body).fontFamily };
}

/** Return an option with the page's look; `parts` is merged over it. */
function styled(colours, description, parts) {
  return {
    animation: !still.matches,
    animationDuration: 200,
    animationDurationUpdate: 200,
    color: [colours.blue, colours.orange, colours.green, colours.purple],
    textStyle: { fontFamily: colours.font, color: colours.ink },
    aria: { enabled: true, label: { description } },
    ...parts,
    grid: {
      left: 6,
      right: 22,
      top: 34,
      bottom: 4,
      outerBoundsMode: "same",
      outerBoundsContain: "all",
      ...parts.grid,
    },
    tooltip: tooltip(colours, parts.tooltip),
    legend: parts.legend === null ? undefined : legend(colours, parts.legend),
  };
}

function tooltip(colours, parts) {
  return {
    confine: true,
    backgroundColor: colours.page,
    borderColor: colours.edge,
    textStyle: { color: colours.ink, fontSize: 13, fontFamily: colours.font },
    axisPointer: { lineStyle: { color: colours.edge } },
    ...parts,
  };
}

function legend(colours, parts) {
  return {
    type: "scroll",
    top: 0,
    left: 0,
    itemWidth: 22,
    itemHeight: 9,
    textStyle: { color: colours.ink, fontSize: 12 },
    inactiveColor: colours.edge,
    pageTextStyle: { color: colours.ink },
    pageIconColor: colours.ink,
    pageIconInactiveColor: colours.line,
    ...parts,
  };
}

/** Return an axis; type "value", "log" or "category". */
function axis(colours, type, name, parts = {}) {
  return {
    type,
    name,
    nameLocation: "middle",
    nameGap: 26,
    nameTextStyle: { color: colours.soft, fontSize: 12 },
    axisLine: { show: true, lineStyle: { color: colours.edge } },
    axisTick: { show: type !== "category", lineStyle: { color: colours.edge } },
    splitLine: { show: type !== "category", lineStyle: { color: colours.line, width: 0.6 } },
    minorTick: { show: false },
    scale: true,
    ...parts,
    axisLabel: { color: colours.soft, fontSize: 12, hideOverlap: true, ...parts.axisLabel },
  };
}

// Axes whose ends are ticks as well.
const RHO_AXIS = {
  interval: 0.2,
  min: ({ min }) => Math.max(-1, Math.floor(Math.min(min, -0.5) * 5) / 5),
  max: ({ max }) => Math.min(1, Math.ceil(Math.max(max, 0) * 5) / 5),
};
const SHARE_AXIS = {
  interval: 0.2,
  min: 0,
  max: ({ max }) => Math.min(1, Math.ceil(Math.max(max, 0.41) * 5) / 5),
};
const WHOLE_AXIS = { interval: 0.25, min: 0, max: 1 };

/** Return the label interval of a category axis that leaves at most so many labels. */
function everyFew(categories, most) {
  return Math.max(Math.ceil(categories / most) - 1, 0);
}

/**
 * Return the scale of ratios to what is even, as far under 1 as over it: the place of a ratio on it, the map
 * from places (a cell's third value) to colours, and the key that says what they are.
 */
function ratioScale(colours, limit, unit) {
  const end = Math.log2(limit);
  const times = (ratio) => `${Number(ratio.toPrecision(2))}×`;
  return {
    placeOf: (ratio) => Math.min(Math.max(Math.log2(ratio), -end), end),
    visualMap: hidden(colours.ratios, [-end, end]),
    grid: { top: 12, show: true, borderWidth: 0, backgroundColor: colours.undefined },
    key: { stops: colours.ratios, ends: [`≤ ${times(1 / limit)}`, "1×", `≥ ${times(limit)}`], unit },
  };
}

/** Return the scale of shares from 0 to 1, as `ratioScale` does. */
function shareScale(colours, unit) {
  return {
    visualMap: hidden(colours.shares, [0, 1]),
    key: { stops: colours.shares, ends: [0, 0.5, 1].map(whole), unit },
  };
}

function hidden(stops, [min, max]) {
  return { type: "continuous", show: false, min, max, dimension: 2, seriesIndex: 0, inRange: { color: stops } };
}

/** Return the map from values to one hue, as a legend beside the chart. */
function hue(colours, [least, most], formatter, parts = {}) {
  return {
    type: "continuous",
    min: least,
    max: most,
    calculable: false,
    orient: "horizontal",
    top: 0,
    right: 8,
    itemWidth: 12,
    itemHeight: 110,
    text: [formatter(most), formatter(least)],
    textStyle: { color: colours.soft, fontSize: 12 },
    inRange: { color: [colours.low, colours.high] },
    ...parts,
  };
}
