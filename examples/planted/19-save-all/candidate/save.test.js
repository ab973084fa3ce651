"use strict";
const assert = require("node:assert");
const { saveAll } = require("./save.js");

const saved = [];
saveAll([1, 2, 3], async (record) => saved.push(record)).then((count) => {
  assert.strictEqual(count, 3);
  assert.deepStrictEqual(saved, [1, 2, 3]);
});
