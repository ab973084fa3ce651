"use strict";

/** The parameters of a query; the last one of a name wins. */
function parse(query) {
  const found = Object.create(null);
  for (const [name, value] of new URLSearchParams(query)) {
    found[name] = value;
  }
  return found;
}

module.exports = { parse };
