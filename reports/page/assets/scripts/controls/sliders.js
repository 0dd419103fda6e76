// Coverage at any setting of the thresholds, as exact sums over the cells that Python counted.
const totalsOf = new Map();

/**
 * Return a layer's sums: {tokens, occurrences} by setting [frequency * entropies + entropy], the
 * shares of tokens under each entropy, and how many tokens and occurrences there are.
 */
function totals(place) {
  if (!totalsOf.has(place)) totalsOf.set(place, summed(place));
  return totalsOf.get(place);
}

function summed(place) {
  const rows = data.steps.frequency.length;
  const columns = data.steps.entropy.length;
  const counted = data.cells[place];
  const [cell, tokens, occurrences] = [counted.cell, counted.tokens, counted.occurrences].map(numbers);
  // eligible: a row beyond the frequency step and a column up to the entropy step
  const eligible = new Float64Array(rows * columns);
  const covered = new Float64Array(rows * columns);
  const under = new Float64Array(columns);
  cell.forEach((each, at) => {
    const row = Math.floor(each / (columns + 1));
    for (let column = each % (columns + 1); column < columns; column += 1) {
      under[column] += tokens[at];
      for (let step = 0; step < row; step += 1) {
        eligible[step * columns + column] += tokens[at];
        covered[step * columns + column] += occurrences[at];
      }
    }
  });
  return { eligible, covered, under, tokens: sum(tokens), occurrences: sum(occurrences), columns };
}

/** Return what the thresholds of the state, or of a setting, mean for a layer. */
function fastPath(place, { frequency, entropy } = state) {
  const all = totals(place);
  const at = frequency * all.columns + entropy;
  return {
    eligible: all.eligible[at],
    eligibleShare: all.eligible[at] / all.tokens,
    lowEntropyShare: all.under[entropy] / all.tokens,
    coverage: all.covered[at] / all.occurrences,
  };
}

function startSliders() {
  slider("frequency", (value) => count(value));
  slider("entropy", (value) => `${value} nats`);
  document
    .getElementById("reset-thresholds")
    .addEventListener("click", () =>
      choose({ frequency: data.steps.frequency_start, entropy: data.steps.entropy_start }),
    );
  onChange(showNumbers);
  showNumbers();
}

function slider(name, words) {
  const input = document.getElementById(`${name}-threshold`);
  input.max = data.steps[name].length - 1;
  const show = () => {
    const said = words(data.steps[name][state[name]]);
    input.value = state[name];
    input.setAttribute("aria-valuetext", said);
    document.getElementById(`${name}-value`).textContent = said;
  };
  input.addEventListener("input", () => choose({ [name]: Number(input.value) }));
  onChange(show);
  show();
}

function showNumbers() {
  const { eligible, eligibleShare, lowEntropyShare, coverage } = fastPath(state.place);
  const shown = {
    "eligible-tokens": count(eligible),
    "eligible-share": percent(eligibleShare),
    "low-entropy-share": percent(lowEntropyShare),
    "coverage-value": percent(coverage),
  };
  for (const [id, text] of Object.entries(shown)) document.getElementById(id).textContent = text;
}
