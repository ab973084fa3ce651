"use strict";
const assert = require("node:assert");
const { resolve } = require("./static.js");

assert.strictEqual(resolve("/srv/www", "a/b.txt"), "/srv/www/a/b.txt");
assert.strictEqual(resolve("/srv/www", "../../etc/passwd"), null);
