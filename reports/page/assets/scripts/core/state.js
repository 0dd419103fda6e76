// What the reader has chosen, and what is called when it changes.
const state = {
  place: data.layer ?? 0,
  frequency: data.steps?.frequency_start ?? 0,
  entropy: data.steps?.entropy_start ?? 0,
  passage: 0,
  colouring: null,
  pair: data.pair,
};
const listeners = [];

/** Call `listener(changed)` with the set of names that changed. */
function onChange(listener) {
  listeners.push(listener);
}

function choose(choice) {
  const changed = new Set(Object.keys(choice).filter((name) => state[name] !== choice[name]));
  if (!changed.size) return;
  Object.assign(state, choice);
  for (const listener of listeners) listener(changed);
}
