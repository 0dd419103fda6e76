// Parts of charts that several of them share.

/** Return a mark line of criteria or thresholds: [{yAxis}, {xAxis}], each with a label. */
function markLines(colours, lines) {
  return {
    silent: true,
    symbol: "none",
    animation: false,
    lineStyle: { color: colours.ink, type: "dashed", width: 1.2 },
    label: { color: colours.ink, fontSize: 11, position: "insideEndTop", formatter: "{b}" },
    data: lines,
  };
}

/** Return a series of vertical whiskers with caps: points [x, low, high]. */
function whiskers(colours, points, colour) {
  return {
    type: "custom",
    silent: true,
    z: 1,
    data: points.filter(([, low, high]) => !isMissing(low) && !isMissing(high)),
    encode: { x: 0, y: [1, 2] },
    tooltip: { show: false },
    renderItem(_, api) {
      const [x, bottom] = api.coord([api.value(0), api.value(1)]);
      const top = api.coord([api.value(0), api.value(2)])[1];
      const stroke = { stroke: colour, lineWidth: 1.5, opacity: 0.75 };
      const lines = [
        [x, bottom, x, top],
        [x - 3, bottom, x + 3, bottom],
        [x - 3, top, x + 3, top],
      ];
      return {
        type: "group",
        children: lines.map(([x1, y1, x2, y2]) => ({
          type: "line",
          shape: { x1, y1, x2, y2 },
          style: stroke,
        })),
      };
    },
  };
}

/** Return a series of grey boxes, one over each category: points [x, low, high]. */
function bands(colours, points) {
  return {
    type: "custom",
    silent: true,
    z: 0,
    data: points.filter(([, low, high]) => !isMissing(low) && !isMissing(high)),
    encode: { x: 0, y: [1, 2] },
    tooltip: { show: false },
    renderItem(_, api) {
      const [x, top] = api.coord([api.value(0), api.value(2)]);
      const bottom = api.coord([api.value(0), api.value(1)])[1];
      const width = Math.max(api.size([1, 0])[0], 6);
      const shape = { x: x - width / 2, y: top, width, height: bottom - top };
      return { type: "rect", shape, style: { fill: colours.grey, opacity: 0.28 } };
    },
  };
}

/** Return a series that shades the category of the chosen layer. */
function chosenCategory(colours, place) {
  return {
    type: "custom",
    silent: true,
    z: 0,
    data: [[place]],
    encode: { x: 0 },
    tooltip: { show: false },
    renderItem({ coordSys: { y, height } }, api) {
      const width = Math.max(api.size([1, 0])[0], 4);
      const shape = { x: api.coord([api.value(0), 0])[0] - width / 2, y, width, height };
      return { type: "rect", shape, style: { fill: colours.blue, opacity: 0.16 } };
    },
  };
}

/** Return a line over categories. */
function line(name, values, colour, parts = {}) {
  return {
    type: "line",
    name,
    data: values.map((value) => (isMissing(value) ? null : value)),
    symbolSize: values.length > 24 ? 3 : 6,
    symbol: "circle",
    connectNulls: false,
    color: colour,
    lineStyle: { width: 2, color: colour, ...parts.lineStyle },
    ...Object.fromEntries(Object.entries(parts).filter(([key]) => key !== "lineStyle")),
  };
}

/** Return a heatmap's cells [column, row, value] of a matrix by rows; missing ones are left out. */
function cells(values, width) {
  const filled = [];
  values.forEach((value, place) => {
    if (!isMissing(value)) filled.push([place % width, Math.floor(place / width), value]);
  });
  return filled;
}

function heatmap(colours, points, parts = {}) {
  return {
    type: "heatmap",
    data: points,
    progressive: 0,
    itemStyle: { borderColor: colours.page, borderWidth: points.length > 1500 ? 0 : 1 },
    emphasis: { itemStyle: { borderColor: colours.ink, borderWidth: 1.5 } },
    ...parts,
  };
}

function largest(values) {
  return values.reduce((most, value) => (value > most ? value : most), 0);
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
