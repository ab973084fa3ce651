"use strict";
const assert = require("node:assert");
const { grow } = require("./interest.js");

assert.strictEqual(grow(100000, 0.05, 1), 105000);
assert.strictEqual(grow(100000, 0.05, 10), 162889);
