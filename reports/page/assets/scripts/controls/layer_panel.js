// A small chart over the layers, in which a click chooses one.
/** Return a panel over the layers: series of lines, whiskers and bands with one y axis. */
function layerPanel(colours, title, series, { words, y = {}, legend: named, lines = [] }) {
  const option = styled(colours, words, {
    grid: { top: named ? 26 : 12 },
    legend: named ? { data: named } : null,
    tooltip: { trigger: "axis", valueFormatter: y.words },
    xAxis: axis(colours, "category", "", {
      data: data.indices,
      nameGap: 0,
      axisPointer: { label: { formatter: ({ value }) => `Layer ${value}` } },
    }),
    yAxis: axis(colours, "value", "", { splitNumber: 4, ...y.axis, axisLabel: { formatter: y.words } }),
    series: [
      ...(data.indices.length > 1 ? [chosenCategory(colours, state.place)] : []),
      ...series,
      criterionLines(colours, lines),
    ],
  });
  return {
    option,
    title,
    onClick: (place) => choose({ place: Math.min(Math.max(place, 0), data.indices.length - 1) }),
  };
}

function criterionLines(colours, lines) {
  const nothing = data.indices.map(() => null);
  return {
    type: "line",
    data: nothing,
    silent: true,
    tooltip: { show: false },
    markLine: lines.length ? markLines(colours, lines) : undefined,
  };
}

function shareWords(value) {
  return percent(value, value < 0.1 && value > 0 ? 1 : 0);
}
