"use strict";
const path = require("node:path");

/** The file of a name below root; null for anything outside. */
function resolve(root, name) {
  const file = path.resolve(root, "." + path.sep + name);
  return file.startsWith(path.resolve(root)) ? file : null;
}

module.exports = { resolve };
