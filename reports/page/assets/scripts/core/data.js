// What the page shows, as Python wrote it; packed numbers are unpacked when first asked for.
// A "place" is a layer's position among the MoE layers: data.indices[place] is its index.
const data = JSON.parse(document.getElementById("data").textContent);

const WIDTHS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f64: Float64Array };
const MISSING = { u8: 0xff, u16: 0xffff, u32: 0xffffffff, f64: NaN };
const unpacked = new WeakMap();

/** Return packed numbers as a Float64Array, missing ones as NaN. */
function numbers(packed) {
  if (!unpacked.has(packed)) unpacked.set(packed, unpack(packed));
  return unpacked.get(packed);
}

function unpack({ type, scale, data: text }) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stored = new WIDTHS[type](bytes.buffer);
  return Float64Array.from(stored, (value) => (value === MISSING[type] ? NaN : value / scale));
}

/** Return row `row` of a matrix of that width. */
function matrixRow(packed, row, width) {
  return numbers(packed).subarray(row * width, (row + 1) * width);
}

/** Return the row of the token table that is a token's, by its id, or undefined. */
const rowOfToken = (() => {
  let rows = null;
  return (id) => {
    rows ??= new Map((data.tokens?.id ?? []).map((each, row) => [each, row]));
    return rows.get(id);
  };
})();
