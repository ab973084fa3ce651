"use strict";

/** Compound interest, in whole cents. */
function grow(cents, rate, years) {
  return Math.round(cents * (1 + rate * years));
}

module.exports = { grow };
