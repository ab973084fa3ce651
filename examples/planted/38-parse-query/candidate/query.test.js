"use strict";
const assert = require("node:assert");
const { parse } = require("./query.js");

const query = parse("a=1&b=2&a=3");
assert.strictEqual(query.a, "3");
assert.strictEqual(query.b, "2");
