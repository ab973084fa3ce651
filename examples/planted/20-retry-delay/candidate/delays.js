"use strict";

/** The delays between tries, for setTimeout. */
function delays(tries, first) {
  return Array.from({ length: tries }, (_, index) => first * 2 ** index);
}

module.exports = { delays };
