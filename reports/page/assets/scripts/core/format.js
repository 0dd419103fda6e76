// Numbers and tables as text for a reader, and as CSV for a spreadsheet.
const MINUS = "\u2212";
const RHO = "\u03c1";

function isMissing(value) {
  return value === null || value === undefined || Number.isNaN(value);
}

/** Return the number with that many digits, exact ties to the even digit, as in Python. */
function fixed(value, digits) {
  const text = value.toFixed(digits);
  // n + 1/2 units of the last digit is a binary fraction only if this is an odd integer
  const tie = Math.abs((value * 2 ** (digits + 1)) % 2) === 1;
  if (!tie || Number(text.at(-1)) % 2 === 0) return text;
  return (value - (Math.sign(value) * 10 ** -digits) / 4).toFixed(digits);
}

function decimal(value, digits = 3) {
  return isMissing(value) ? "undefined" : fixed(value, digits).replace("-", MINUS);
}

function percent(value, digits = 1) {
  return isMissing(value) ? "undefined" : `${fixed(value * 100, digits)}%`;
}

/** Return the number to three significant digits, however small it is. */
function significant(value) {
  return isMissing(value) ? "undefined" : String(Number(value.toPrecision(3))).replace("-", MINUS);
}

const two = (value) => decimal(value, 2);
const whole = (value) => percent(value, 0);

function count(value) {
  return isMissing(value) ? "undefined" : value.toLocaleString("en");
}

/** Return "between a and b" of the values that are defined. */
function spread(values, words) {
  const defined = values.filter((value) => !isMissing(value));
  if (!defined.length) return "undefined";
  const [least, most] = [Math.min(...defined), Math.max(...defined)].map(words);
  return least === most ? least : `between ${least} and ${most}`;
}

/** Return text with its markup escaped, for tooltips, which the library sets as HTML. */
function escaped(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Return a table, {columns, rows}, as CSV (RFC 4180); each text as `safe` returns it. */
function csv({ columns, rows }, safe = (text) => text) {
  const line = (row) => row.map((value) => csvCell(value, safe)).join(",");
  return [columns, ...rows].map(line).join("\r\n") + "\r\n";
}

const NEGATIVE = /^'*-([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;

/** Return text that no spreadsheet runs as a formula: the rule of warehouse/contents/spreadsheets.py. */
function guarded(text) {
  const formula = /^'*[=+@\t\r\n-]/.test(text) && !NEGATIVE.test(text);
  return formula ? `'${text}` : text;
}

function csvCell(value, safe) {
  if (isMissing(value)) return "";
  if (typeof value !== "string") return String(value);
  const text = safe(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Download a table as CSV when the button is pressed; for a spreadsheet if the box beside it is ticked. */
function offerCsv(button, named) {
  const box = button.parentElement.querySelector(".spreadsheet-safe");
  button.addEventListener("click", () => {
    const [name, table] = named();
    download(name, csv(table, box.checked ? guarded : undefined));
  });
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Return a new element of a class, with children: elements, or text. */
function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
}

/** Return {columns, rows} as a table element; numbers are right-aligned. */
function tableElement({ columns, rows }) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const [place, name] of columns.entries()) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    if (rows.length && typeof rows[0][place] === "string") cell.className = "text";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) {
      const cell = line.insertCell();
      cell.textContent = isMissing(value) ? "" : typeof value === "number" ? shortNumber(value) : value;
      if (typeof value === "string") cell.className = "text";
    }
  }
  return table;
}

function shortNumber(value) {
  return Number.isInteger(value) ? count(value) : decimal(value, 4);
}
