"use strict";
const assert = require("node:assert");
const { mask } = require("./mask.js");

assert.strictEqual(mask("to ann@example.org today"), "to ***@example.org today");
assert.strictEqual(mask("nobody"), "nobody");
