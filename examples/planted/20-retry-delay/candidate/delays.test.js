"use strict";
const assert = require("node:assert");
const { delays } = require("./delays.js");

const [one, two, three] = delays(3, 500);
assert.strictEqual(two, 2 * one);
assert.strictEqual(three, 2 * two);
